"""Where a run computes, and that the arithmetic it chooses is right."""

import pytest
import torch

from genre_utils import device
from genre_utils.models.wav2vec import load_backbone

MODEL = torch.nn.Sequential(torch.nn.Conv1d(32, 32, 8, groups=4), torch.nn.Linear(8, 8))


@pytest.mark.parametrize(("fastest", "asked", "used"), [("bf16", None, True), ("fp32", None, False), ("fp32", True, True)])
def test_bfloat16_is_used_where_the_hardware_has_it_unless_told_otherwise(monkeypatch, fastest, asked, used):
    monkeypatch.setattr(device, "precision_of", lambda *_: fastest)
    with device.autocast(MODEL, asked):
        assert torch.is_autocast_enabled("cpu") is used


@pytest.mark.parametrize(("native", "wrong", "chosen"), [(True, (), "bf16"), (True, (32, 8, 4, 8), "fp32"), (False, (), "fp32")])
def test_a_processor_computes_in_bfloat16_if_it_has_it_and_gets_the_models_layers_right(monkeypatch, native, wrong, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(device, "bf16_error", lambda *shape: 1.2 if shape == wrong else 0.003)
    assert device.precision_of("cpu", MODEL) == chosen
    assert device.precision_of("cpu") == ("bf16" if native else "fp32"), "without a model there is nothing to get wrong"


def test_the_chosen_arithmetic_gives_the_states_of_float32():
    backbone = load_backbone("shipped")
    sound = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = backbone.hidden_states(sound)
        with device.autocast(backbone):
            chosen = backbone.hidden_states(sound)
    for ours, right in zip(chosen, exact, strict=True):
        assert (ours.float() - right).norm() < 0.05 * right.norm()

"""Where a run computes, and that the arithmetic it chooses is right."""

import pytest
import torch

from genre_utils import device
from genre_utils.models.wav2vec import load_backbone


@pytest.mark.parametrize(("fastest", "asked", "used"), [("bf16", None, True), ("fp32", None, False), ("fp32", True, True)])
def test_bfloat16_is_used_where_the_hardware_has_it_unless_told_otherwise(monkeypatch, fastest, asked, used):
    monkeypatch.setattr(device, "precision_of", lambda _: fastest)
    with device.autocast(torch.device("cpu"), asked):
        assert torch.is_autocast_enabled("cpu") is used


@pytest.mark.parametrize(("native", "error", "chosen"), [(True, 0.003, "bf16"), (True, 1.2, "fp32"), (False, 0.003, "fp32")])
def test_a_processor_computes_in_bfloat16_if_it_has_it_and_gets_it_right(monkeypatch, native, error, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(device, "bf16_error", lambda: error)
    assert device.precision_of("cpu") == chosen


def test_the_chosen_arithmetic_gives_the_states_of_float32():
    backbone = load_backbone("shipped")
    sound = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = backbone.hidden_states(sound)
        with device.autocast("cpu"):
            chosen = backbone.hidden_states(sound)
    for ours, right in zip(chosen, exact, strict=True):
        assert (ours.float() - right).norm() < 0.05 * right.norm()

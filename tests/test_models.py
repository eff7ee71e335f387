"""The study's CNN, and wav2vec 2.0 as a backbone with heads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_wav2vec import TINY
from transformers import Wav2Vec2ForPreTraining, Wav2Vec2Model

from genre_utils.errors import CheckpointError, GenreError
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.wav2vec import (
    Backbone,
    GenreHead,
    GenreWav2Vec,
    HeadClassifier,
    load_backbone,
    pool_states,
    random_backbone,
    save_backbone,
    small_config,
    trainable_parameters,
)

LIVELY = TINY | {"hidden_dropout": 0.3, "layerdrop": 0.3, "mask_time_prob": 0.4}


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a tiny pre-trained wav2vec 2.0, as pretrain() leaves it."""
    torch.manual_seed(0)
    return save_backbone(Wav2Vec2ForPreTraining(small_config(**LIVELY)), tmp_path / "tiny")


def test_the_network_of_the_study_has_654282_parameters():
    assert sum(p.numel() for p in GenreCNN().parameters()) == 654_282


def test_the_head_of_the_study_has_598282_parameters_and_may_pool_first():
    head = GenreHead(13, 2 * 768, head="study").eval()
    assert sum(p.numel() for p in head.parameters()) == 598_282
    frames = torch.randn(3, 50, 768)
    states = 12 * [torch.randn_like(frames)] + [frames]
    first, activation, last = head.classify
    framewise = last(activation(first(frames).mean(dim=1)))
    torch.testing.assert_close(head(pool_states(states)), framewise, atol=1e-5, rtol=1e-4)


@settings(deadline=None, max_examples=12)
@given(frames=st.integers(16, 400), clips=st.integers(1, 3))
def test_any_number_of_frames_gives_ten_scores_a_clip(frames, clips):
    out = GenreCNN().eval()(torch.rand(clips, 1, 128, frames))
    assert out["logits"].shape == (clips, 10) and "loss" not in out


def test_the_cnn_computes_blocks_of_conv_norm_relu_pool():
    """The first block, by hand, on an image that only the first channel answers to."""
    model = GenreCNN().eval()
    conv, norm = model.blocks[0][0], model.blocks[0][1]
    x = torch.rand(2, 1, 32, 48)
    by_hand = torch.nn.functional.max_pool2d(norm(conv(x)).relu(), 2)
    torch.testing.assert_close(model.blocks[0](x), by_hand)
    assert model.blocks(x).shape == (2, 256, 2, 3)
    assert [block[0].out_channels for block in model.blocks] == [32, 64, 128, 256]
    assert {block[4].p for block in model.blocks} == {0.25}


def test_cnn_loss_is_the_cross_entropy_of_its_scores():
    model, x, y = GenreCNN().eval(), torch.rand(3, 1, 128, 64), torch.tensor([0, 4, 9])
    out = model(x, y)
    expected = -out["logits"].log_softmax(1)[torch.arange(3), y].mean()
    torch.testing.assert_close(out["loss"], expected)


def test_backbone_states_have_a_layer_more_than_blocks_and_50_frames_a_second():
    backbone = random_backbone(0)
    states = backbone.hidden_states(torch.randn(2, 16_000))
    assert len(states) == backbone.num_layers + 1
    assert {tuple(s.shape) for s in states} == {(2, 49, backbone.hidden_size)}
    assert backbone.num_frames(16_000) == 49 and backbone.rate_hz == 16_000


def test_no_state_is_missing_in_training_of_a_backbone_that_leaves_out_blocks_at_random():
    """The base models of the library do, one block in ten: a training then failed at some step."""
    model = Wav2Vec2Model(small_config(**TINY, layerdrop=1.0))
    net = GenreWav2Vec(Backbone(model, "dropping"), 3).train()
    assert len(net.backbone.hidden_states(torch.randn(2, 8_000))) == net.backbone.num_layers + 1
    net(torch.randn(2, 8_000), torch.tensor([0, 1]))["loss"].backward()


def test_backbone_states_do_not_depend_on_loudness_or_offset():
    backbone, wave = random_backbone(0), torch.randn(1, 8000)
    for a, b in zip(backbone.hidden_states(wave), backbone.hidden_states(0.01 * wave + 3), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_silence_gives_finite_states():
    assert all(s.isfinite().all() for s in random_backbone(0).hidden_states(torch.zeros(1, 8000)))


def test_too_short_an_excerpt_is_refused():
    with pytest.raises(GenreError, match="too short"):
        random_backbone(0).hidden_states(torch.randn(1, 200))


def test_random_backbones_differ_by_seed_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    prints = [random_backbone(seed).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(before, torch.get_rng_state())


def test_a_backbone_is_read_back_from_its_folder(checkpoint):
    library = Wav2Vec2ForPreTraining(small_config(**LIVELY))
    library.load_state_dict(load_file(checkpoint / "model.safetensors"))
    backbone = load_backbone(str(checkpoint))
    wave = torch.randn(1, 8000)
    wave = (wave - wave.mean()) / wave.std(unbiased=False)
    theirs = library.eval()(wave, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(backbone.hidden_states(wave)[-1], theirs, atol=1e-5, rtol=1e-4)
    assert not backbone.training


def test_what_decides_a_training_does_not_name_the_folder_of_its_backbone(checkpoint):
    """Or a checkout that was moved would train again what is finished."""
    model = GenreWav2Vec(load_backbone(str(checkpoint)), 2)
    assert model.backbone.model.config._name_or_path == str(checkpoint)
    assert str(checkpoint) not in str(model.settings)


def test_loading_prints_nothing(checkpoint, capfd):
    load_backbone(str(checkpoint))
    assert capfd.readouterr() == ("", "")


def test_half_precision_weights_load_as_single(checkpoint):
    library = Wav2Vec2ForPreTraining(small_config(**LIVELY)).half()
    save_backbone(library, checkpoint)
    assert {p.dtype for p in load_backbone(str(checkpoint)).parameters()} == {torch.float32}


def test_the_shipped_backbone_loads_and_is_not_random():
    try:
        backbone = load_backbone("shipped")
    except CheckpointError as error:
        pytest.skip(f"no backbone is shipped yet: {error}")
    assert backbone.fingerprint != random_backbone(0).fingerprint
    assert trainable_parameters(backbone)["total"] == trainable_parameters(random_backbone(0))["total"]


def test_a_backbone_of_another_shape_is_refused_by_name(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(CheckpointError, match="of one architecture") as caught:
        load_backbone(str(checkpoint))
    assert str(checkpoint) in str(caught.value)


def test_a_backbone_that_lacks_layers_is_refused_by_name(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match="it lacks .* of the weights"):
        load_backbone(str(checkpoint))


def test_corrupt_and_missing_backbones_are_refused_by_name(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot load a backbone from .*tiny"):
        load_backbone(str(checkpoint))
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot load a backbone from .*tiny"):
        load_backbone(str(checkpoint))


def test_pooled_states_are_mean_and_deviation_over_time():
    states = tuple(torch.randn(2, 30, 5) for _ in range(3))
    pooled = pool_states(states)
    assert pooled.shape == (2, 3, 10)
    np.testing.assert_allclose(pooled[1, 2, :5], states[2][1].numpy().mean(0), atol=1e-6)
    np.testing.assert_allclose(pooled[1, 2, 5:], states[2][1].numpy().std(0), atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "mlp", "weighted"])
@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_a_head_trained_on_cached_states_scores_the_same_on_its_backbone(head, pooling):
    model = GenreWav2Vec(random_backbone(0), 4, head, pooling).eval()
    alone = HeadClassifier(
        model.backbone.num_layers + 1, 2 * model.backbone.hidden_size, 4, head, pooling=pooling
    )
    alone.head.load_state_dict(model.head.state_dict())
    waves = torch.randn(3, 8000)
    with torch.no_grad():
        cached = pool_states(model.backbone.hidden_states(waves))
        torch.testing.assert_close(alone.eval()(cached)["logits"], model(waves)["logits"])


def test_layer_weights_are_shares():
    head = HeadClassifier(5, 8, head="weighted").head
    torch.testing.assert_close(head.layer_weights, torch.full((5,), 0.2))
    assert HeadClassifier(5, 8, head="linear").head.layer_weights is None


def test_only_the_last_layer_matters_to_the_linear_head_and_all_to_the_weighted():
    a = torch.randn(4, 3, 8)
    b = torch.cat([torch.randn(4, 2, 8), a[:, 2:]], dim=1)
    linear, weighted = (
        HeadClassifier(3, 8, head="linear").eval(),
        HeadClassifier(3, 8, head="weighted").eval(),
    )
    assert torch.equal(linear(a)["logits"], linear(b)["logits"])
    assert not torch.equal(weighted(a)["logits"], weighted(b)["logits"])


def test_unknown_heads_and_parts_are_refused():
    with pytest.raises(GenreError, match="head is one of"):
        HeadClassifier(3, 8, head="deep")
    with pytest.raises(GenreError, match="freeze takes"):
        GenreWav2Vec(random_backbone(0)).freeze("head")


def tiny_model() -> GenreWav2Vec:
    torch.manual_seed(0)
    return GenreWav2Vec(Backbone(Wav2Vec2ForPreTraining(small_config(**LIVELY)).wav2vec2, "tiny"), 3)


def step(model: GenreWav2Vec) -> dict[str, bool]:
    """Which parameters one training step moves."""
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    model.train()(torch.randn(4, 8000), torch.tensor([0, 1, 2, 0]))["loss"].backward()
    optimiser.step()
    return {name: not torch.equal(before[name], tensor) for name, tensor in model.named_parameters()}


def test_a_frozen_backbone_neither_moves_nor_trembles():
    model = tiny_model().freeze("backbone").train()
    wave = torch.randn(2, 8000)
    first = model.backbone.hidden_states(wave)[-1]
    assert torch.equal(first, model.backbone.hidden_states(wave)[-1])  # no dropout, layer drop or masking
    moved = step(model)
    assert not any(changed for name, changed in moved.items() if name.startswith("backbone."))
    assert any(changed for name, changed in moved.items() if name.startswith("head."))
    assert torch.equal(first, model.backbone.hidden_states(wave)[-1])


def test_a_thawed_backbone_trembles_in_training():
    model, wave = tiny_model().freeze(None).train(), torch.randn(2, 8000)
    assert not torch.equal(model.backbone.hidden_states(wave)[-1], model.backbone.hidden_states(wave)[-1])


def test_freezing_the_encoder_leaves_the_transformer_trainable():
    moved = step(tiny_model().freeze("encoder"))
    encoder = {name: changed for name, changed in moved.items() if ".feature_extractor." in name}
    assert encoder and not any(encoder.values())
    assert any(changed for name, changed in moved.items() if ".encoder.layers." in name)


def test_thawing_undoes_freezing():
    model = tiny_model()
    everything = trainable_parameters(model)
    assert trainable_parameters(model.freeze("backbone"))["backbone"] == 0
    assert 0 < trainable_parameters(model.freeze("encoder"))["backbone"] < everything["backbone"]
    assert trainable_parameters(model.freeze(None)) == everything
    moved = step(model)
    assert any(changed for name, changed in moved.items() if ".feature_extractor." in name)


def test_trainable_parameters_add_up():
    counts = trainable_parameters(tiny_model())
    assert counts["total"] == counts["backbone"] + counts["head"]
    assert trainable_parameters(GenreCNN())["total"] == 654_282


def test_a_saved_backbone_can_be_read_by_everybody(checkpoint):
    files = {path.name: path.stat().st_mode & 0o777 for path in checkpoint.iterdir()}
    assert files["model.safetensors"] == files["config.json"]

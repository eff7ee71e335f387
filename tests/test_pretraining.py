"""Contrastive pre-training: the library's loss, honest negatives, and a loop that survives interruption."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2ForPreTraining

from genre_utils.errors import CheckpointError, GenreError
from genre_utils.models.pretraining import (
    COLUMNS,
    RATE_HZ,
    Auxiliary,
    Objective,
    contrastive_terms,
    pretrain,
    rate_at,
    sample_mask,
    sample_negatives,
    sample_windows,
    temperature_at,
    validate,
)
from genre_utils.models.wav2vec import load_backbone, small_config

TINY = {
    "conv_dim": (16,) * 7,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_codevectors_per_group": 8,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
}


@pytest.fixture(scope="module")
def tones() -> np.ndarray:
    """Twelve clips of a second, each of changing tones: int16 at 16 kHz."""
    rng, time_s = np.random.default_rng(0), np.arange(16_000) / 16_000
    pitch_hz = rng.choice([220, 330, 440, 660, 880], (12, 8)).repeat(2000, axis=1)
    return (8000 * np.sin(2 * np.pi * pitch_hz * time_s) + 200 * rng.standard_normal((12, 16_000))).astype(
        np.int16
    )


#: Plain wav2vec 2.0 and the same with both further tasks.
PLAIN, MORE = Objective(num_negatives=6), Objective(num_negatives=6, mel_weight=2.0, clip_weight=1.0)


def run(waves, folder, objective=PLAIN, **changes):
    options = {
        "steps": 6,
        "batch_size": 4,
        "window_s": 0.8,
        "log_every": 1,
        "save_every": 2,
        "progress": False,
    }
    config = small_config(**TINY, num_negatives=6)
    return pretrain(waves, folder, config=config, objective=objective, **(options | changes))


@pytest.mark.parametrize("variant", [{}, {"feat_extract_norm": "layer", "do_stable_layer_norm": True}])
def test_loss_is_the_librarys_own_per_masked_frame(variant):
    torch.manual_seed(0)
    model = Wav2Vec2ForPreTraining(small_config(**TINY, **variant)).eval()
    rng = np.random.default_rng(0)
    mask = sample_mask(rng, 3, 49, Objective())
    negatives = torch.from_numpy(sample_negatives(rng, mask, Objective()))
    mask, waves = torch.from_numpy(mask), torch.randn(3, 16_000)
    theirs = model(waves, mask_time_indices=mask, sampled_negative_indices=negatives)
    ours = contrastive_terms(model, waves, mask, negatives)
    torch.testing.assert_close(ours["loss"], theirs.loss / mask.sum(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        ours["contrastive"], theirs.contrastive_loss / mask.sum(), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(ours["perplexity"], theirs.codevector_perplexity)


def test_accuracy_counts_the_frames_whose_true_latent_wins():
    torch.manual_seed(0)
    model = Wav2Vec2ForPreTraining(small_config(**TINY)).eval()
    rng = np.random.default_rng(0)
    objective = Objective(num_negatives=5)
    mask = sample_mask(rng, 2, 49, objective)
    negatives = sample_negatives(rng, mask, objective)
    mask, negatives, waves = torch.from_numpy(mask), torch.from_numpy(negatives), torch.randn(2, 16_000)
    out = model(waves, mask_time_indices=mask)
    says, target = out.projected_states, out.projected_quantized_states
    flat, wins = target.flatten(0, 1), []
    for clip, frame in torch.nonzero(mask):
        cosine = [torch.cosine_similarity(says[clip, frame], flat[i], dim=0) for i in negatives[clip, frame]]
        same = [torch.equal(flat[i], target[clip, frame]) for i in negatives[clip, frame]]
        own = torch.cosine_similarity(says[clip, frame], target[clip, frame], dim=0)
        wins.append(all(s or own > c for c, s in zip(cosine, same, strict=True)))
    accuracy = float(contrastive_terms(model, waves, mask, negatives)["accuracy"])
    assert accuracy == pytest.approx(np.mean(wins), abs=0.03)  # a tie may fall either way


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), clips=st.integers(1, 6), share=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_negatives_are_masked_frames_of_the_promised_clips_and_never_oneself(seed, clips, share):
    rng, objective = np.random.default_rng(seed), Objective(num_negatives=8, cross_clip=share, mask_length=5)
    mask = sample_mask(rng, clips, 40, objective)
    negatives = sample_negatives(rng, mask, objective)
    assert negatives.shape == (clips, 40, 8)
    clip, frame = np.nonzero(mask)
    chosen = negatives[clip, frame]
    assert mask.reshape(-1)[chosen].all()
    assert (chosen != (clip * 40 + frame)[:, None]).all()
    elsewhere = (chosen // 40 != clip[:, None]).mean(axis=1)
    np.testing.assert_allclose(elsewhere, share if clips > 1 else 0.0)


def test_every_other_masked_frame_can_be_drawn():
    mask = np.zeros((2, 10), dtype=bool)
    mask[0, 2:6], mask[1, 5:8] = True, True
    negatives = sample_negatives(np.random.default_rng(0), mask, Objective(num_negatives=400, cross_clip=0.5))
    assert set(negatives[0, 3]) == {2, 4, 5, 15, 16, 17}


def test_masks_are_whole_spans_and_cover_about_half():
    mask = sample_mask(np.random.default_rng(0), 200, 149, Objective())
    assert 0.42 < mask.mean() < 0.52
    edges = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))), axis=1)
    assert (np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]).min() >= 10


def test_excerpts_have_zero_mean_and_unit_variance_and_silence_stays_silent(tones):
    batch = sample_windows(np.random.default_rng(0), tones, 6, 8000)
    torch.testing.assert_close(batch.mean(1), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(batch.std(1), torch.ones(6), atol=1e-3, rtol=0)
    assert not sample_windows(np.random.default_rng(0), np.zeros((2, 9000), np.int16), 2, 8000).any()


def test_schedules_start_peak_and_end_where_they_should():
    rates = [rate_at(step, steps=100, peak=1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.125) and max(rates) == rates[7] == 1.0 and rates[-1] < 0.03
    assert all(a >= b for a, b in pairwise(rates[7:]))
    assert temperature_at(0, steps=100) == 2.0
    assert temperature_at(70, steps=100) == pytest.approx(0.5) == temperature_at(99, steps=100)


def test_pretraining_lowers_the_loss_on_held_out_clips(tones, tmp_path):
    short = run(tones[:8], tmp_path / "a", steps=1, val_waves=tones[8:])
    long = run(tones[:8], tmp_path / "b", steps=120, save_every=120, learning_rate=5e-3)
    score = {"samples": 12_800, "objective": Objective(num_negatives=6), "batch_size": 4, "batches": 3}
    before, after = validate(short, tones[8:], **score), validate(long, tones[8:], **score)
    assert after["contrastive"] < before["contrastive"] - 0.1
    assert after["accuracy"] > before["accuracy"] + 0.05
    assert after["perplexity"] > 8  # not because the codebooks collapsed, which lowers the loss too


def interrupt(model):
    """A probe that is cut short, after the last step before a checkpoint."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(("objective", "window_s"), [(PLAIN, 0.8), (MORE, 0.5)])
def test_an_interrupted_pretraining_ends_bit_for_bit_as_if_it_had_not_been(tones, tmp_path, objective, window_s):
    options = {"val_waves": tones, "objective": objective, "window_s": window_s}
    whole = run(tones, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "cut", **options, probe=interrupt, probe_every=4)
    resumed = run(tones, tmp_path / "cut", **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    curves = [list(csv.DictReader((tmp_path / name / "curve.csv").open())) for name in ("whole", "cut")]
    assert [row["step"] for row in curves[0]] == ["1", "2", "3", "4", "5", "6"]
    assert [row["loss"] for row in curves[0]] == [row["loss"] for row in curves[1]]
    assert tuple(curves[0][0]) == COLUMNS
    assert bool(curves[0][1]["val_log_mel"]) == bool(curves[0][1]["val_same_clip"]) == (objective is MORE)


def test_a_checkpoint_of_other_settings_or_damaged_is_refused(tones, tmp_path):
    run(tones, tmp_path)
    with pytest.raises(CheckpointError, match="other settings or data.*resume=False"):
        run(tones, tmp_path, learning_rate=1e-4)
    run(tones, tmp_path, learning_rate=1e-4, resume=False)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged.*delete it"):
        run(tones, tmp_path)


def test_the_backbone_that_is_shipped_is_the_one_that_was_trained(tones, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "workflow")
    from pretrain import ship

    model = run(tones, tmp_path / "run")
    with pytest.raises(CheckpointError, match="no finished pre-training"):
        ship(tmp_path, tmp_path / "nothing")
    folder = ship(tmp_path / "run", tmp_path / "backbone")
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "curve.csv"}
    backbone = load_backbone(str(folder))
    for name, tensor in model.wav2vec2.state_dict().items():
        torch.testing.assert_close(backbone.model.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)


def test_clips_shorter_than_the_excerpt_are_refused(tones, tmp_path):
    with pytest.raises(GenreError, match="at least 3"):
        run(tones, tmp_path, window_s=3.0)


def test_the_probe_is_asked_when_promised_and_changes_nothing(tones, tmp_path):
    asked = []

    def probe(model):
        assert not model.training
        torch.rand(3)  # a probe may draw random numbers
        asked.append(model)
        return 0.25

    watched = run(tones, tmp_path / "watched", probe=probe, probe_every=4)
    alone = run(tones, tmp_path / "alone")
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), alone.parameters(), strict=True))
    rows = list(csv.DictReader((tmp_path / "watched" / "curve.csv").open()))
    assert [row["step"] for row in rows if row["probe"]] == ["4", "6"] and len(asked) == 2


def test_paired_excerpts_are_of_one_clip_and_do_not_overlap():
    ramps = (np.arange(20_000) + 1)[None] * np.array([[1], [-1]])  # value = position, sign = clip
    batch = sample_windows(np.random.default_rng(0), ramps.astype(np.float64), 4, 4000, pairs=True)
    rising = batch[:, -1] > batch[:, 0]
    assert rising[0] == rising[1] and rising[2] == rising[3] and rising[0] != rising[2]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        twice = sample_windows(rng, np.arange(9000, dtype=np.float64)[None] ** 2, 2, 4000, pairs=True)
        # Of a parabola, the later excerpt is the straighter one: its middle lies nearer to the line of its ends.
        bend = twice[:, 2000] - (twice[:, 0] + twice[:, -1]) / 2
        assert abs(bend[0]) > abs(bend[1])


def test_the_log_mel_task_asks_for_the_frame_that_the_state_belongs_to():
    """A click is loudest in the frame whose 400 samples have it in their middle."""
    waves = torch.zeros(1, RATE_HZ)
    frame = 20
    waves[0, 320 * frame + 200] = 100.0
    task = Auxiliary(MORE, 32, torch.randn(4, RATE_HZ), 49)
    bands = task._log_mel(waves, 49)
    assert bands.shape == (1, 49, 64)
    assert int(bands.mean(-1).argmax()) == frame


def test_states_that_hold_the_answers_solve_the_further_tasks():
    torch.manual_seed(0)
    waves = torch.randn(4, RATE_HZ)
    waves[2:] = waves[2:].cumsum(1) / 30  # two clips that sound different, two excerpts each
    task = Auxiliary(MORE, 64, waves, 49)
    mask = torch.rand(4, 49) < 0.5
    states = (task._log_mel(waves, 49) - task.mean) / task.spread
    with torch.no_grad():
        task.read_mel.weight.copy_(torch.eye(64)), task.read_mel.bias.zero_()
        solved = task(states, waves, mask)
        guessed = task(torch.zeros_like(states), waves, mask)
    assert solved["log_mel"] == 0 and solved["same_clip"] == 1
    assert guessed["log_mel"] == pytest.approx(1, abs=0.1)
    assert solved["auxiliary"] < guessed["auxiliary"]


def test_excerpts_that_leave_no_room_for_a_partner_are_refused(tones, tmp_path):
    with pytest.raises(GenreError, match="room for two excerpts of 0.8 s.*clip_weight to 0"):
        run(tones, tmp_path, MORE, window_s=0.8)
    with pytest.raises(GenreError, match="even batch.*not batch_size 3"):
        run(tones, tmp_path, MORE, window_s=0.4, batch_size=3)

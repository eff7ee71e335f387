"""Mel-spectrograms, statistics and the pooled states."""

import os
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genre_utils import features
from genre_utils.audio import load_audio
from genre_utils.corpora import Clip, Corpus
from genre_utils.features import FEATURE_NAMES, clip_statistics, mel_unit
from genre_utils.profiles import PROFILES


@pytest.fixture(scope="module")
def wave():
    return librosa.chirp(fmin=80, fmax=9_000, sr=22_050, duration=3).astype("float32") * 0.5 + (
        np.random.default_rng(0).standard_normal(3 * 22_050).astype("float32") * 0.05
    )


def small_corpus(folder: Path, n: int = 3, seconds: float = 1.0) -> Corpus:
    clips = []
    for i in range(n):
        path = folder / f"blues.{i:05d}.wav"
        sf.write(path, 0.3 * np.random.default_rng(i).standard_normal(round(seconds * 22_050)), 22_050)
        clips.append(Clip(path.stem, path, "blues"))
    return Corpus("small", folder, tuple(clips), seconds)


# --- features of one clip


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float32, (4, 7), elements=st.floats(-80, 0, width=32)))
def test_what_the_cnn_sees_is_within_zero_and_one(db):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "mel_db", lambda *_: db)
        unit = mel_unit(None)
    assert unit.dtype == np.float32
    assert unit.min() >= 0
    assert unit.max() <= 1
    if db.max() > db.min():
        assert (unit.min(), unit.max()) == (0, 1)


def test_a_gtzan_clip_of_30_s_has_1292_frames():
    assert features.MEL.frames(30 * 22_050) == 1292


def test_the_fast_separation_equals_librosas(wave):
    harmonic, percussive = features.harmonic_percussive(wave)
    expected = librosa.effects.hpss(wave)
    np.testing.assert_allclose(harmonic, expected[0], atol=1e-6)
    np.testing.assert_allclose(percussive, expected[1], atol=1e-6)


def test_statistics_are_57_finite_numbers_even_of_a_tenth_of_a_second(wave):
    assert len(set(FEATURE_NAMES)) == 57
    for part in (wave, wave[:2205]):
        values = clip_statistics(part, 22_050)
        assert values.shape == (57,)
        assert np.isfinite(values).all()


def test_zero_crossings_and_centroid_of_a_tone_are_what_theory_says():
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(22_050 * 2) / 22_050).astype("float32")
    values = dict(zip(FEATURE_NAMES, clip_statistics(tone, 22_050), strict=True))
    assert values["zero_crossing_rate_mean"] == pytest.approx(2 * 1_000 / 22_050, rel=0.03)
    assert values["spectral_centroid_mean"] == pytest.approx(1_000, rel=0.05)
    assert values["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


@pytest.mark.skipif(
    not (os.environ.get("GTZAN_MINI_DIR") and os.environ.get("GTZAN_FEATURES_CSV")),
    reason="set GTZAN_MINI_DIR and GTZAN_FEATURES_CSV to compare with the public feature table",
)
def test_statistics_reproduce_the_public_feature_table():
    table = pd.read_csv(os.environ["GTZAN_FEATURES_CSV"]).set_index("filename")
    names = [name for name in FEATURE_NAMES if name != "tempo"]  # tempo jumps between octaves
    spread = table[names].std()
    for clip in ("blues.00000", "metal.00003", "jazz.00004"):
        wave, rate_hz = load_audio(Path(os.environ["GTZAN_MINI_DIR"]) / clip.split(".")[0] / f"{clip}.wav")
        ours = pd.Series(clip_statistics(wave, rate_hz), FEATURE_NAMES)
        difference = ((ours[names] - table.loc[f"{clip}.au", names].astype(float)) / spread).abs()
        assert difference.max() < 0.03
        assert difference.median() < 1e-5


# --- features of a corpus


def test_mels_waves_and_statistics_have_their_shapes(tmp_path):
    corpus = small_corpus(tmp_path)
    profile = replace(PROFILES["mini"], clip_s=1.0)
    ids = corpus.ids[::-1]
    mel = features.mels(corpus, ids, profile, progress=False)
    assert (mel.shape, mel.dtype) == ((3, 1, 128, 44), np.float32)
    heard = features.waves(corpus, iter(ids), profile, progress=False)
    assert (heard.shape, heard.dtype) == ((3, 16_000), np.float32)
    table = features.statistics(corpus, ids, profile, progress=False)
    assert table.shape == (3, 57)
    wave, _ = load_audio(corpus[ids[0]].path)
    np.testing.assert_array_equal(mel[0, 0], mel_unit(wave))
    np.testing.assert_array_equal(table[0], clip_statistics(wave, 22_050))
    wave, _ = load_audio(corpus[ids[0]].path, rate_hz=16_000)
    np.testing.assert_allclose(heard[0], np.clip(wave, -1, 1), atol=2e-5)


def test_a_second_call_reads_the_cache_and_a_changed_file_does_not(tmp_path, monkeypatch):
    corpus = small_corpus(tmp_path)
    profile = replace(PROFILES["mini"], clip_s=1.0)
    first = features.mels(corpus, corpus.ids, profile, progress=False)
    monkeypatch.setattr(features, "mel_unit", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(features.mels(corpus, corpus.ids, profile, progress=False), first)
    monkeypatch.undo()
    sf.write(corpus.clips[0].path, 0.1 * np.sin(np.arange(22_051)), 22_050)
    second = features.mels(corpus, corpus.ids, profile, progress=False)
    assert not np.array_equal(second[0], first[0])
    np.testing.assert_array_equal(second[1:], first[1:])


def test_a_damaged_entry_of_a_cache_that_may_only_be_read_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_UTILS_HOME", str(tmp_path))
    corpus, profile = small_corpus(tmp_path), replace(PROFILES["mini"], clip_s=1.0)
    first = features.mels(corpus, corpus.ids, profile, progress=False)
    entry = min(features.Cache().folder.rglob("*.npy"))
    entry.write_bytes(entry.read_bytes()[:-1_000] + bytes(1_000))
    monkeypatch.setattr("genre_utils.cache.write_whole", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.warns(UserWarning, match="damaged|may only be read"):
        again = features.mels(corpus, corpus.ids, profile, progress=False)
    np.testing.assert_array_equal(again, first)


def test_short_clips_are_repeated_and_long_ones_cut():
    np.testing.assert_array_equal(features.fit_length(np.arange(3), 8), [0, 1, 2, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(features.fit_length(np.arange(9), 4), [0, 1, 2, 3])


def test_many_clips_are_computed_by_several_processes_in_order(tmp_path, monkeypatch):
    corpus = small_corpus(tmp_path, n=50, seconds=0.2)
    monkeypatch.setattr(features, "cores", lambda: 2)
    made = features.waves(corpus, corpus.ids, replace(PROFILES["mini"], clip_s=0.2), 8_000, progress=False)
    alone = [load_audio(clip.path, rate_hz=8_000)[0] for clip in corpus]
    np.testing.assert_allclose(made, np.clip(alone, -1, 1), atol=2e-5)


def test_the_first_clip_is_computed_here_so_that_one_process_alone_writes_numbas_cache(monkeypatch):
    def who(number):  # in here, so that the workers need not import this file
        return number, os.getpid()

    monkeypatch.setattr(features, "cores", lambda: 2)
    made = list(features._parallel(who, [(number,) for number in range(50)]))
    assert [number for number, _ in made] == list(range(50))
    assert [process == os.getpid() for _, process in made] == [True] + [False] * 49


# --- pooled states


class Stub(torch.nn.Module):
    """Two 'layers' that are known functions of the samples: frames of 10, and their double."""

    num_layers, hidden_size, rate_hz = 1, 10, 100

    def __init__(self, fingerprint):
        super().__init__()
        self.fingerprint, self.seen = fingerprint, 0

    def hidden_states(self, waves):
        self.seen += len(waves)
        frames = waves.reshape(len(waves), -1, 10)
        return frames, 2 * frames


@pytest.mark.parametrize("window_s", [None, 0.5, 2.0])
def test_states_are_pooled_over_the_whole_clip_whatever_the_window(window_s):
    waves = np.random.default_rng(1).standard_normal((5, 100)).astype("float32")
    backbone = Stub(f"stub {window_s}")
    states = features.frozen_states(backbone, waves, window_s=window_s, progress=False)
    assert states.shape == (5, 2, 20)
    frames = waves.reshape(5, 10, 10)
    expected = np.concatenate([frames.mean(1), frames.std(1)], axis=1)
    np.testing.assert_allclose(states[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(states[:, 1], 2 * expected, atol=1e-5)


def test_each_clip_is_heard_once_and_another_backbone_hears_it_again():
    waves = np.random.default_rng(2).standard_normal((6, 100)).astype("float32")
    backbone = Stub("first")
    whole = features.frozen_states(backbone, waves[:4], progress=False)
    assert backbone.seen == 4
    more = features.frozen_states(backbone, waves[::-1], progress=False)
    assert backbone.seen == 6
    np.testing.assert_array_equal(more[::-1][:4], whole)
    other = Stub("second")
    features.frozen_states(other, waves, progress=False)
    assert other.seen == 6

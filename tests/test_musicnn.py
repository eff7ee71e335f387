"""MusiCNN: the published weights, the published tags."""

import os
from pathlib import Path

import musicnn_wheel
import numpy as np
import pytest
import torch
import torchaudio

from genre_utils.audio import load_audio
from genre_utils.errors import CheckpointError
from genre_utils.models import musicnn

#: What librosa resampled with in 2019: resampy's "kaiser_best" of that time.
OF_2019 = {"resampling_method": "sinc_interp_kaiser", "lowpass_filter_width": 64, "rolloff": 0.9475937167399596,
           "beta": 14.769656459379492}  # fmt: skip
#: A second, between the windows of the published tags, as librosa counts it in frames.
A_SECOND = 61


def test_the_shipped_weights_are_the_published_ones():
    try:
        published = musicnn_wheel.weights()
    except musicnn_wheel.CannotGet as error:
        pytest.skip(f"the wheel musicnn 0.1.0 cannot be had here: {error}")
    shipped = musicnn.load_musicnn()
    assert sum(weight.numel() for weight in shipped.parameters()) == 787_159
    assert all(torch.equal(tensor, published[name]) for name, tensor in shipped.state_dict().items())


def test_its_tags_of_real_clips_are_the_published_ones():
    folder, table = os.environ.get("GTZAN_MINI_DIR"), os.environ.get("GTZAN_FEATURES_CSV", "")
    archive = Path(table).parent / "gtzan_musicnn_taggrams.npz"
    if not folder or not archive.is_file():
        pytest.skip("needs GTZAN_MINI_DIR, and the published tags beside the table that GTZAN_FEATURES_CSV names")
    gaps = []
    with np.load(archive) as published:
        for clip, mean, deviation in zip(published["ids"], published["mean"], published["std"], strict=True):
            path = Path(folder) / clip.split(".")[0] / f"{clip}.wav"
            if path.is_file():
                wave, rate_hz = load_audio(path)
                wave = torchaudio.functional.resample(torch.from_numpy(wave), rate_hz, musicnn.RATE_HZ, **OF_2019)
                tags = musicnn.hear(wave.numpy(), A_SECOND)["tags"]
                gaps.append(max(np.abs(tags.mean(axis=0) - mean).max(), np.abs(tags.std(axis=0) - deviation).max()))
            if len(gaps) == 4:
                break
    assert len(gaps) == 4 and max(gaps) < 0.01


def test_layers_have_their_sizes_and_a_short_wave_is_repeated():
    wave = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    for seconds, windows in ((0.5, 1), (7.0, 2)):
        heard = musicnn.hear(np.resize(wave, round(seconds * 16_000)))
        assert {name: array.shape for name, array in heard.items()} == {n: (windows, k) for n, k in musicnn.LAYERS.items()}
    assert 0 <= heard["tags"].min() and heard["tags"].max() <= 1


def test_damaged_weights_are_named(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(musicnn, "package_data", lambda *parts: tmp_path / parts[-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        musicnn.load_musicnn.__wrapped__()

"""Clips per second of one CNN training epoch: ours against the study's own way of feeding the same network.

The study's data loader decodes a clip and computes its librosa mel-spectrogram each time the clip is asked for,
in every epoch, and trains in float32. Ours computes the spectrograms once (the cache), and feeds the network
windows of them, in the precision and memory layout that suit the machine. Both read whole clips here, so that
the network does the same work on both sides.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import replace

import librosa
import numpy as np
import torch
import typer
from torch import nn

from genre_utils.chapter import device_line
from genre_utils.corpora import load_corpus
from genre_utils.device import default_device
from genre_utils.features import mels
from genre_utils.models.cnn import GenreCNN
from genre_utils.profiles import PROFILES
from genre_utils.splits import make_split
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet


class EveryItemEveryEpoch(torch.utils.data.Dataset):
    """Decode and transform in ``__getitem__``, as the study's loader does."""

    def __init__(self, corpus, ids):
        self.paths, self.labels = [corpus[i].path for i in ids], corpus.labels(ids)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        wave, rate_hz = librosa.load(self.paths[index], sr=22_050)
        db = librosa.power_to_db(librosa.feature.melspectrogram(y=wave, sr=rate_hz, n_mels=128), ref=np.max)
        return torch.from_numpy((db - db.min()) / (db.max() - db.min() + 1e-8))[None].float(), self.labels[index]


def main(clips: int = 160, epochs: int = 3, profile: str = "mini") -> None:
    """Time `epochs` epochs over `clips` clips of `profile` both ways."""
    print(device_line())
    p, device = PROFILES[profile], default_device()
    corpus = load_corpus(p)
    ids = list(np.random.default_rng(0).permutation(make_split(corpus, p).train)[:clips])
    y = corpus.labels(ids)

    set_seed(0)
    model, batch = GenreCNN().to(device), p.cnn.batch_size
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(EveryItemEveryEpoch(corpus, ids), batch, shuffle=True)
    started = time.perf_counter()
    for _ in range(epochs):
        for x, target in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x.to(device))["logits"], target.to(device)).backward()
            optimiser.step()
    study_s = time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENRE_UTILS_HOME"] = folder  # an empty cache: the spectrograms are computed inside the clock
        set_seed(0)
        started = time.perf_counter()
        x = mels(corpus, ids, p, progress=False)
        features_s = time.perf_counter() - started
        few = WindowSet(x[:10], y[:10])
        training = replace(p.cnn, epochs=epochs, patience=epochs)
        result = fit(GenreCNN(), WindowSet(x, y, train=True), few, training, seed=0, out_dir=folder, progress=False)
        ours_s = time.perf_counter() - started

    seen = epochs * clips
    print(f"{epochs} epochs of {clips} whole clips of {p.clip_s:g} s, precision {result.precision}")
    print(f"the study's way: {seen / study_s:6.1f} clips/s ({study_s:.1f} s)")
    print(f"ours:            {seen / ours_s:6.1f} clips/s ({ours_s:.1f} s, {features_s:.1f} s of it the spectrograms)")
    print(f"ratio: {study_s / ours_s:.1f} x, and {study_s / (ours_s - features_s):.1f} x once the spectrograms are cached")
    print(json.dumps({"study_clips_s": seen / study_s, "ours_clips_s": seen / ours_s, "cached_clips_s": seen / (ours_s - features_s)}))


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    typer.run(main)

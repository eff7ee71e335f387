"""Head-only training: frozen states cached once per clip, against recomputing the backbone in every epoch.

Both sides see the same clips and train the same linear head for the same number of epochs; the recomputing
side is what `Trainer` does when the frozen backbone is simply part of the model.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch
import typer

from genre_utils.chapter import device_line
from genre_utils.corpora import load_corpus
from genre_utils.features import frozen_states, waves
from genre_utils.models.wav2vec import GenreWav2Vec, HeadClassifier, load_backbone
from genre_utils.profiles import PROFILES
from genre_utils.splits import make_split
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet, predict_clips


def main(epochs: int = 12, clips: int = 359) -> None:
    """Time both ways on `clips` training clips for `epochs` epochs."""
    print(device_line())
    p = PROFILES["mini"]
    corpus = load_corpus(p)
    split = make_split(corpus, p)
    train = list(np.random.default_rng(0).permutation(split.train)[:clips])
    audio = {name: waves(corpus, ids, p) for name, ids in (("train", train), ("val", split.val), ("test", split.test))}
    y = {name: corpus.labels(ids) for name, ids in (("train", train), ("val", split.val), ("test", split.test))}
    training = replace(p.head_only, epochs=epochs, patience=epochs)
    backbone = load_backbone("shipped")

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENRE_UTILS_HOME"] = folder  # an empty cache: the states are computed inside the clock
        started = time.perf_counter()
        states = {name: frozen_states(backbone, audio[name], progress=False) for name in ("train", "val")}
        set_seed(0)
        head = HeadClassifier(backbone.num_layers + 1, 2 * backbone.hidden_size, head="linear")
        fit(head, WindowSet(states["train"], y["train"], train=True), WindowSet(states["val"], y["val"]), training,
            seed=0, out_dir=f"{folder}/cached", progress=False)
        cached_s = time.perf_counter() - started
        states["test"] = frozen_states(backbone, audio["test"], progress=False)
        cached = (predict_clips(head, states["test"]).argmax(1) == y["test"]).mean()

        started = time.perf_counter()
        set_seed(0)
        model = GenreWav2Vec(backbone, head="linear", pooling="mean+std").freeze("backbone")
        fit(model, WindowSet(audio["train"], y["train"], train=True), WindowSet(audio["val"], y["val"]), training,
            seed=0, out_dir=f"{folder}/again", progress=False)
        again_s = time.perf_counter() - started
        again = (predict_clips(model, audio["test"], batch_size=8).argmax(1) == y["test"]).mean()

    print(f"{epochs} epochs of {clips} clips (validation of {len(split.val)} clips after each)")
    print(f"cached once:            {cached_s:7.1f} s, test accuracy {cached:.3f}")
    print(f"recomputed every epoch: {again_s:7.1f} s, test accuracy {again:.3f}")
    print(f"ratio: {again_s / cached_s:.1f} x")


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    typer.run(main)

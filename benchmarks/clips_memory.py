"""Memory of one epoch of training on 100 and on 1000 clips of 30 s: clips read from disk, and all of them held in memory.

Every setting runs in a process of its own, so that each has its own peak. The clips are noise: only their size matters.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import typer

SAMPLES = 30 * 16_000


def _measure(folder: Path, clips: int, held: bool) -> float:
    import torch

    from genre_utils.cache import Rows
    from genre_utils.models.wav2vec import GenreWav2Vec, load_backbone
    from genre_utils.profiles import Training
    from genre_utils.training import fit
    from genre_utils.windows import WindowSet

    torch.set_num_threads(1)
    waves = Rows([partial(np.load, folder / f"{i}.npy", mmap_mode="r") for i in range(clips)], (SAMPLES,), 1 / 32767)
    waves, labels = np.asarray(waves) if held else waves, np.arange(clips) % 10
    model = GenreWav2Vec(load_backbone()).freeze("encoder")
    training = Training(epochs=1, batch_size=8, learning_rate=1e-4, window_s=0.5)
    sets = WindowSet(waves, labels, 8_000, train=True), WindowSet(waves[:20], labels[:20], 8_000, most=1)
    with tempfile.TemporaryDirectory() as out:
        fit(model, *sets, training, seed=0, out_dir=out, progress=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(only: str = "") -> None:
    """Peak memory of four processes: 100 and 1000 clips, from disk and held in memory."""
    if only:
        folder, clips, held = json.loads(only)
        typer.echo(_measure(Path(folder), clips, held))
        return
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i in range(1000):
            np.save(Path(folder, f"{i}.npy"), rng.integers(-9_000, 9_000, SAMPLES, dtype=np.int16))
        for held in (False, True):
            peaks = []
            for clips in (100, 1000):
                call = [sys.executable, __file__, "--only", json.dumps([folder, clips, held])]
                peaks.append(float(subprocess.run(call, capture_output=True, text=True, check=True).stdout))
            where = "held in memory" if held else "read from disk"
            typer.echo(f"{where}: {peaks[0]:,.0f} MB with 100 clips, {peaks[1]:,.0f} MB with 1000 ({peaks[1] / peaks[0]:.2f} x)")


if __name__ == "__main__":
    typer.run(main)

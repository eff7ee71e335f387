"""Pre-training steps a second of the small backbone, and what share of the processor's arithmetic they use.

The time of a step is the difference of a long and a short run, so that starting up does not count. The share
(model-FLOPs utilisation) needs the peak of the hardware, which only you know: ``--peak-tflops 989`` for an H100 in bfloat16.
"""

from __future__ import annotations

import os
import tempfile
import time

import numpy as np
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2ForPreTraining

from genre_utils.chapter import device_line
from genre_utils.models.pretraining import Objective, pretrain
from genre_utils.models.wav2vec import small_config


def main(steps: int = 40, batch: int = 12, window_s: float = 2.0, peak_tflops: float = 0.0) -> None:
    """Time `steps` steps with the contrastive task alone, and with the two weak tasks beside it."""
    print(device_line())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    waves = (3000 * np.random.default_rng(0).standard_normal((64, 160_000))).astype(np.int16)

    def seconds(count: int, objective: Objective) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            pretrain(waves, folder, steps=count, batch_size=batch, window_s=window_s, objective=objective, device=device,
                     save_every=10 * count, log_every=10 * count, progress=False)  # fmt: skip
            return time.perf_counter() - started

    model = Wav2Vec2ForPreTraining(small_config())
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(batch, round(16_000 * window_s))).projected_states.sum().backward()
    tflop = counter.get_total_flops() / 1e12

    for name, weights in {"contrastive": {}, "with both weak tasks": {"mel_weight": 2.0, "clip_weight": 1.0}}.items():
        objective = Objective(cross_clip=0.5, **weights)
        seconds(2, objective)
        step_s = (seconds(steps + 5, objective) - seconds(5, objective)) / steps
        used = f", {100 * tflop / step_s / peak_tflops:.1f} % of the peak" if peak_tflops else ""
        print(f"{name}: {1 / step_s:.2f} steps/s of {batch} x {window_s:g} s, {tflop / step_s:.3f} TFLOP/s{used}")


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    typer.run(main)

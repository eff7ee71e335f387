"""Memory and time of one fine-tuning step: what freezing the CNN encoder and gradient checkpointing save.

Every setting runs in a process of its own, so that each has its own peak. On a CPU the peak is that of the process
above what it held before the step; on a GPU it is what torch allocated.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import torch
import typer
from transformers import Wav2Vec2Config, Wav2Vec2Model

from genre_utils.chapter import device_line
from genre_utils.device import default_device
from genre_utils.models.wav2vec import Backbone, GenreWav2Vec, load_backbone

#: Name of a setting -> what is frozen, and whether activations are computed again in the backward pass.
SETTINGS = {
    "everything trained": (None, False),
    "CNN encoder frozen": ("encoder", False),
    "CNN encoder frozen, checkpointing": ("encoder", True),
    "head only": ("backbone", False),
}


def _peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measure(name: str, backbone: str, batch: int, seconds: float) -> dict:
    frozen, again = SETTINGS[name]
    device = default_device()
    torch.manual_seed(0)
    encoder = load_backbone(backbone) if backbone != "base" else Backbone(Wav2Vec2Model(Wav2Vec2Config()), "base")
    if again:
        encoder.model.gradient_checkpointing_enable()
    model = GenreWav2Vec(encoder, head="study").freeze(frozen).to(device).train()
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-5, fused=True)
    waves, labels = torch.randn(batch, round(16_000 * seconds), device=device), torch.arange(batch, device=device) % 10
    before = _peak_mb(device)
    for _ in range(2):
        started = time.perf_counter()
        loss = model(waves, labels)["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss = float(loss.detach())  # also waits for a GPU
    return {"peak_mb": _peak_mb(device) - before, "seconds": time.perf_counter() - started, "loss": loss}


def main(backbone: str = "base", batch: int = 4, seconds: float = 5.0, only: str = "") -> None:
    """Two steps in each setting; `backbone` is "base" (random weights, 95 million) or what load_backbone takes."""
    if only:
        print(json.dumps(_measure(only, backbone, batch, seconds)))
        return
    print(device_line())
    print(f"one step of {batch} x {seconds:g} s, backbone {backbone}, float32")
    for name in SETTINGS:
        command = [sys.executable, __file__, f"--only={name}", f"--backbone={backbone}", f"--batch={batch}"]
        done = subprocess.run([*command, f"--seconds={seconds}"], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        print(f"{name:34s} {found['peak_mb']:7.0f} MB  {found['seconds']:6.2f} s a step")


if __name__ == "__main__":
    typer.run(main)

"""A fine-tuning step of ours against one of fairseq's own model: equal weights, head, batch and precision.

Run it with the Python of the environment that has fairseq (README.md beside this file says how). Steps of the two
take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import typer
from fairseq import checkpoint_utils
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
from omegaconf import OmegaConf
from torch import nn

from genre_utils.chapter import device_line
from genre_utils.models.fairseq import load_fairseq
from genre_utils.models.wav2vec import Backbone, GenreHead, GenreWav2Vec


class TheirClassifier(nn.Module):
    """fairseq's encoder under the study's head."""

    def __init__(self, encoder: Wav2Vec2Model, head: GenreHead):
        super().__init__()
        self.encoder, self.head = encoder, head.classify

    def forward(self, waves, labels):
        states = self.encoder.extract_features(waves, padding_mask=None, mask=False)["x"]
        return nn.functional.cross_entropy(self.head(states.mean(dim=1)).float(), labels)


def main(steps: int = 4, batch: int = 4, seconds: float = 5.0, layers: int = 12) -> None:
    """Time `steps` steps of each model (the base layout, `layers` blocks) after one to warm up."""
    print(device_line())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    quiet = {"dropout": 0.0, "attention_dropout": 0.0, "encoder_layerdrop": 0.0, "feature_grad_mult": 0.0}
    cfg = OmegaConf.structured(Wav2Vec2Config(quantize_targets=True, final_dim=256, encoder_layers=layers, **quiet))
    encoder = Wav2Vec2Model.build_model(cfg)
    with tempfile.TemporaryDirectory() as folder:
        settings = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True) | {"_name": "wav2vec2"}
        path = Path(folder) / "random.pt"
        checkpoint_utils.torch_persistent_save({"cfg": {"model": settings}, "model": encoder.state_dict()}, str(path))
        same = load_fairseq(path).wav2vec2
        same.config.apply_spec_augment = False  # as fairseq's mask=False below
        ours = GenreWav2Vec(Backbone(same, "fairseq"), head="study").freeze("encoder")
    theirs = TheirClassifier(encoder, ours.head)
    waves = torch.randn(batch, round(16_000 * seconds), device=device)
    waves = (waves - waves.mean(1, keepdim=True)) / waves.std(1, unbiased=False, keepdim=True)
    labels = torch.arange(batch, device=device) % 10
    models = {"ours": ours.to(device).train(), "fairseq": theirs.to(device).train()}

    found = {}
    for precision in ("fp32", "bf16"):
        took, losses = {name: [] for name in models}, {}
        optimisers = {name: torch.optim.AdamW(m.parameters(), lr=0.0, fused=True) for name, m in models.items()}
        for step in range(steps + 1):
            for name, model in models.items():
                started = time.perf_counter()
                with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                    loss = model(waves, labels)["loss"] if name == "ours" else model(waves, labels)
                loss.backward()
                optimisers[name].step()
                optimisers[name].zero_grad()
                losses[name] = float(loss.detach())  # also waits for a GPU
                if step:
                    took[name].append(time.perf_counter() - started)
        median = {name: float(np.median(times)) for name, times in took.items()}
        print(
            f"{precision}: ours {median['ours']:.3f} s, fairseq {median['fairseq']:.3f} s a step of {batch} x {seconds:g} s; "
            f"ratio {median['fairseq'] / median['ours']:.2f} x; losses {losses['ours']:.4f} and {losses['fairseq']:.4f}"
        )
        found[precision] = {name: {"step_s": median[name], "loss": losses[name]} for name in models}
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    typer.run(main)

"""Run inside the environment of fairseq: build a small random wav2vec 2.0, save it as fairseq does, run it.

Usage: python fairseq_reference.py FOLDER. Writes, for the base and the large layout, ``<layout>-cfg.pt`` and
``<layout>-args.pt`` (new and old header) and ``<layout>.npz`` (waves, features of every layer).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from fairseq import checkpoint_utils
from fairseq.logging import metrics
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
from omegaconf import OmegaConf

SMALL = {
    "encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 4,
    "conv_feature_layers": "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] + [(32,2,2)]", "conv_pos": 16,
    "conv_pos_groups": 4, "latent_vars": 20, "latent_groups": 2, "latent_dim": 24, "final_dim": 24,
    "quantize_targets": True,
}  # fmt: skip
LAYOUTS = {"base": {}, "large": {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}}


def main(folder: Path) -> None:
    for layout, changes in LAYOUTS.items():
        torch.manual_seed(0)
        cfg = OmegaConf.structured(Wav2Vec2Config(**SMALL, **changes))
        model = Wav2Vec2Model.build_model(cfg).eval()
        with torch.no_grad():  # norms and biases start at one and zero: move them, or a mix-up would not show
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        waves = torch.randn(2, 8_000)
        waves = (waves - waves.mean(1, keepdim=True)) / waves.std(1, unbiased=False, keepdim=True)
        with torch.no_grad():
            out = model.extract_features(waves, padding_mask=None, mask=False)
        layers = [states[0].transpose(0, 1).numpy() for states in out["layer_results"]]
        np.savez(folder / f"{layout}.npz", waves=waves, last=out["x"].numpy(), layers=np.stack(layers))

        settings = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        rest = {
            "model": model.state_dict(),
            "criterion": {},
            "optimizer_history": [{"criterion_name": "Wav2vecCriterion", "optimizer_name": "FP16Optimizer"}],
            "task_state": {},
            "extra_state": {"metrics": metrics.state_dict(), "previous_training_time": 1.0, "val_loss": 2.0},
        }
        new = {"args": None, "cfg": {"model": settings | {"_name": "wav2vec2"}, "task": {"normalize": True}}}
        old = {"args": argparse.Namespace(arch="wav2vec2", **settings)}
        for header, name in ((new, "cfg"), (old, "args")):
            checkpoint_utils.torch_persistent_save(header | rest, str(folder / f"{layout}-{name}.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

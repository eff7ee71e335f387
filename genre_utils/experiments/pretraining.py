"""Make the shipped backbone again: its music, a probe to watch it by, and the copy into the package."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.corpora import load_corpus
from genre_utils.errors import CheckpointError
from genre_utils.features import waves
from genre_utils.models.pretraining import CURVE, RATE_HZ
from genre_utils.models.probe import fit_probe
from genre_utils.models.wav2vec import Backbone, pool_states, save_backbone
from genre_utils.paths import package_data
from genre_utils.profiles import PROFILES
from genre_utils.splits import make_split


def genre_probe(seconds: float = 3.0) -> Callable[[Wav2Vec2ForPreTraining], float]:
    """A probe to watch a pre-training by: genres of the profile mini, from the middle `seconds` of each clip.

    A linear classifier on the pooled states (mean and deviation over time) of each layer learns from the training
    clips and is scored on the validation clips; the result is the mean over the layers. Test clips stay out of it.
    """
    profile = PROFILES["mini"]
    corpus = load_corpus(profile)
    split = make_split(corpus, profile)
    parts = {part: getattr(split, part) for part in ("train", "val")}
    heard, y = {}, {part: corpus.labels(ids) for part, ids in parts.items()}
    for part, ids in parts.items():
        whole = waves(corpus, ids, profile, RATE_HZ)
        start = (whole.shape[1] - round(seconds * RATE_HZ)) // 2
        heard[part] = torch.from_numpy(whole[:, start : start + round(seconds * RATE_HZ)].copy())

    @torch.inference_mode()
    def pooled(backbone: Backbone, clips: torch.Tensor) -> np.ndarray:
        device = backbone.model.device
        states = [pool_states(backbone.hidden_states(batch.to(device))).cpu() for batch in clips.split(16)]
        return torch.cat(states).numpy()

    def probe(model: Wav2Vec2ForPreTraining) -> float:
        states = {part: pooled(Backbone(model.wav2vec2, "probed"), clips) for part, clips in heard.items()}
        layers = range(states["train"].shape[1])
        scores = [fit_probe(states["train"][:, i], y["train"], states["val"][:, i], y["val"])[1] for i in layers]
        return float(np.mean(scores))

    return probe


def ship(run_dir: Path | str, folder: Path | str | None = None, card: str | None = None) -> Path:
    """Copy a finished pre-training into the package: half-precision weights, configuration, curve,
    model card.

    Parameters
    ----------
    run_dir : path
        What :func:`pretrain` wrote.
    folder : path, optional
        ``genre_utils/data/backbone`` by default.
    card : str, optional
        Text of ``README.md``; an existing card is kept if this is None.

    Returns
    -------
    Path
        The folder, which ``load_backbone("shipped")`` reads.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "model.safetensors").is_file():
        raise CheckpointError(
            f"{run_dir} holds no finished pre-training: run pretrain() to its last step first"
        )
    folder = Path(folder) if folder else package_data("backbone")
    folder.mkdir(parents=True, exist_ok=True)
    config = Wav2Vec2Config.from_pretrained(run_dir)
    model = Wav2Vec2ForPreTraining(config)
    model.load_state_dict(load_file(run_dir / "model.safetensors"))
    save_backbone(model.half(), folder)
    shutil.copyfile(run_dir / CURVE, folder / CURVE)
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")
    return folder

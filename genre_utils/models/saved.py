"""Trained models on disk: weights as safetensors beside a description, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from genre_utils.errors import CheckpointError
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.wav2vec import GenreWav2Vec, HeadClassifier, write_weights
from genre_utils.paths import WEIGHTS, write_whole

CONFIG = "config.json"
ARCHITECTURES = {cls.__name__: cls for cls in (GenreCNN, HeadClassifier, GenreWav2Vec)}


def write_json(path: Path, content: dict) -> None:
    write_whole(path, json.dumps(content, indent=1).encode())


def read_json(path: Path) -> dict:
    """The object in a file; an empty one if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save_model(model: nn.Module, folder: Path | str, meta: dict | None = None) -> Path:
    """Write ``model.safetensors`` and ``config.json`` (architecture, settings, `meta`), for :func:`load_model`.

    `meta` is anything JSON can hold: the genres, the window, the profile.
    """
    folder = Path(folder)
    write_weights(folder / WEIGHTS, model)
    about = {"architecture": type(model).__name__, "settings": model.settings, "meta": meta or {}}
    write_json(folder / CONFIG, about)
    return folder


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}): train the model again, or copy the file again"
        ) from error


def load_model(folder: Path | str) -> nn.Module:
    """The model that :func:`save_model` wrote to `folder`, in eval mode, with its ``meta`` as an attribute.

    Raises
    ------
    CheckpointError
        If a file is missing or corrupt, or the weights belong to another architecture; the message names the
        file and says what to do.
    """
    folder = Path(folder)
    about = read_json(folder / CONFIG)
    name = about.get("architecture")
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{folder / CONFIG} is missing or describes no model of this book: "
            "run the chapter that trains it, or point to the folder that save_model wrote"
        )
    weights = read_weights(folder / WEIGHTS)
    try:
        cls = ARCHITECTURES[name]
        model = getattr(cls, "from_settings", lambda settings: cls(**settings))(about["settings"])
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        first = [line.strip() for line in str(error).splitlines() if line.strip()][:2]
        raise CheckpointError(
            f"{folder / WEIGHTS} holds weights of another architecture than the {name} that {CONFIG} describes "
            f"({' '.join(first)[:200]}): copy both files from one training, or train it again"
        ) from error
    model.meta = about.get("meta", {})
    return model.eval()

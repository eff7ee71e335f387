"""Where the weights of a backbone come from: the package, a folder, the Hub, or a fairseq file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import errors, list_repo_files, snapshot_download, utils
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging as library_logging

from genre_utils.errors import CheckpointError
from genre_utils.hub import reason, refusal
from genre_utils.models.fairseq import load_fairseq
from genre_utils.paths import package_data


@contextmanager
def quiet_library() -> Iterator[None]:
    """Keep transformers' loading bars and reports off the page; what matters in them is checked and raised."""
    level, bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(level)
        if bars:
            library_logging.enable_progress_bar()


def _encoder(folder: Path, name: str) -> PreTrainedModel:
    """The raw-audio encoder in a folder, which errors call `name`, in float32 whatever it was stored in; no code of the
    folder runs."""
    options = {"dtype": torch.float32, "output_loading_info": True, "local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_library():
            model, info = AutoModel.from_pretrained(folder, **options)
    except Exception as error:  # the library raises many kinds for missing, corrupt and mismatched files
        raise CheckpointError(
            f"cannot load a backbone from {name}: {reason(error)} "
            "Check that it is a folder with config.json and model.safetensors of one architecture, or a Hub name "
            "that can be reached; backbone 'shipped' always works offline."
        ) from error
    # A checkpoint may lack the vector of masked frames: only masking in training uses it.
    if missing := sorted(key for key in info["missing_keys"] if key.split(".")[-1] != "masked_spec_embed"):
        raise CheckpointError(
            f"{name} is a checkpoint of another architecture: it lacks {len(missing)} of the weights that its "
            f"config.json describes (for example {missing[0]}). Download or export it again."
        )
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        raise CheckpointError(
            f"{name} holds a {type(model).__name__}, which is no raw-audio encoder: "
            "choose a wav2vec 2.0, HuBERT, WavLM or data2vec-audio checkpoint"
        )
    return model


def _cached(repo: str, revision: str | None) -> Path | None:
    """The complete copy of `repo` in the Hub's cache on this machine, or None."""
    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        return None
    weights = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    return folder if (folder / "config.json").is_file() and weights else None


def _hub_folder(repo: str, revision: str | None) -> Path:
    """Configuration and weights of a Hub model, from the cache or else downloaded with a progress bar.

    A download that was cut is resumed by the next call. Of safetensors and older weights, only the former are fetched.
    """
    if (cached := _cached(repo, revision)) is not None:
        return cached
    where = repo + (f" at revision {revision}" if revision else "")
    hidden = utils.are_progress_bars_disabled()
    utils.enable_progress_bars()  # chapters have switched them off together with those of loading
    try:
        files = list_repo_files(repo, revision=revision)
        weights = [file for file in files if re.fullmatch(r"model[\w.-]*\.safetensors(\.index\.json)?", file)]
        weights = weights or [f for f in files if re.fullmatch(r"pytorch_model[\w.-]*\.bin(\.index\.json)?", f)]
        if weights and "config.json" in files:
            return Path(snapshot_download(repo, revision=revision, allow_patterns=["config.json", *weights]))
    except Exception as error:
        otherwise = "give a folder; backbone 'shipped' always works offline"
        raise CheckpointError(f"{where} {refusal(error, otherwise)}") from error
    finally:
        if hidden:
            utils.disable_progress_bars()
    raise CheckpointError(f"{where} on the Hub holds no config.json with model.safetensors or pytorch_model.bin")


def _locate(name: str, revision: str | None) -> Path:
    """The folder or fairseq file that `name` means, downloaded if need be."""
    if name == "shipped":
        folder = package_data("backbone")
        if not (folder / "model.safetensors").is_file():
            raise CheckpointError(
                f"{folder / 'model.safetensors'} is missing: reinstall the package, or make it again with "
                "python workflow/pretrain.py --ship"
            )
        return folder
    path = Path(name).expanduser()
    if path.is_dir() or path.suffix == ".pt":
        return path
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return _hub_folder(name, revision)
    raise CheckpointError(
        f"no backbone {name!r}: give 'shipped', a folder, a fairseq file (.pt), or a Hub name such as "
        "facebook/wav2vec2-base"
    )


def load_encoder(name: str, revision: str | None = None) -> PreTrainedModel:
    """The raw-audio encoder that `name` means; see :func:`genre_utils.models.wav2vec.load_backbone`."""
    path = _locate(name, revision)
    return load_fairseq(path).wav2vec2 if path.suffix == ".pt" else _encoder(path, name)

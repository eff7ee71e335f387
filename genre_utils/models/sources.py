"""Where the weights of a backbone come from: the package, a folder, the Hub, or a fairseq file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedModel,
    Wav2Vec2ForPreTraining,
)
from transformers.utils import logging as library_logging

from genre_utils.device import default_device
from genre_utils.errors import CheckpointError
from genre_utils.models.fairseq import load_fairseq
from genre_utils.paths import package_data

#: Names of weights a checkpoint may lack: only masking in training uses them.
OPTIONAL_WEIGHTS = {"masked_spec_embed"}


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


def from_folder(folder: Path | str, name: str | None = None) -> PreTrainedModel:
    """The raw-audio encoder in a folder with ``config.json`` and weights, in float32.

    Safetensors are preferred; a ``pytorch_model.bin`` is read with ``weights_only``; no code of the folder runs.

    Parameters
    ----------
    folder : path
    name : str, optional
        What errors call it; the folder by default.

    Raises
    ------
    CheckpointError
        If weights are missing or corrupt, belong to another architecture, or are those of no audio encoder.
    """
    name = name or str(folder)
    # On CPUs the backward pass of plain attention is faster in bfloat16 than that of the fused one.
    options = {} if default_device() == "cuda" else {"attn_implementation": "eager"}
    # The library would keep half-precision weights as they are, and give the dtype on with the configuration.
    options["dtype"] = torch.float32
    try:
        with quiet_library():
            model, info = AutoModel.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, trust_remote_code=False, **options
            )
    except Exception as error:  # the library raises many kinds for missing, corrupt and mismatched files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"cannot load a backbone from {name}: {reason} "
            "Check that it is a folder with config.json and model.safetensors of one architecture, or a Hub name "
            "that can be reached; backbone 'shipped' always works offline."
        ) from error
    missing = sorted(k for k in info["missing_keys"] if k.split(".")[-1] not in OPTIONAL_WEIGHTS)
    if missing:
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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    weights = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    return folder if (folder / "config.json").is_file() and weights else None


@contextmanager
def _shown_bars() -> Iterator[None]:
    """Show the Hub's progress bars, which chapters have switched off together with those of loading."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hidden = are_progress_bars_disabled()
    enable_progress_bars()
    try:
        yield
    finally:
        if hidden:
            disable_progress_bars()


def hub_folder(repo: str, revision: str | None = None) -> Path:
    """Configuration and weights of a Hub model, from the cache or else downloaded with a progress bar.

    What is in the Hub's cache is used without asking the Hub. A download that was cut is resumed by the next
    call. If a repository holds safetensors, nothing else is downloaded.

    Parameters
    ----------
    repo : str
        ``owner/name``.
    revision : str, optional
        Commit, branch or tag; the main branch by default.

    Raises
    ------
    CheckpointError
        If the Hub cannot be reached, does not know the model or the revision, or does not let you have it.
    """
    from huggingface_hub import errors, list_repo_files, snapshot_download

    if (cached := _cached(repo, revision)) is not None:
        return cached
    where = repo + (f" at revision {revision}" if revision else "")
    try:
        files = list_repo_files(repo, revision=revision)
        weights = [file for file in files if re.fullmatch(r"model[\w.-]*\.safetensors(\.index\.json)?", file)]
        weights = weights or [f for f in files if re.fullmatch(r"pytorch_model[\w.-]*\.bin(\.index\.json)?", f)]
        if not weights or "config.json" not in files:
            raise CheckpointError(f"{where} on the Hub holds no config.json with model.safetensors or pytorch_model.bin")
        with _shown_bars():
            return Path(snapshot_download(repo, revision=revision, allow_patterns=["config.json", *weights]))
    except errors.GatedRepoError as error:
        reason = "is gated: accept its terms on the Hub and log in with `hf auth login`"
        raise CheckpointError(f"{where} {reason}") from error
    except errors.RepositoryNotFoundError as error:  # the Hub answers 401 to strangers who ask for unknown names
        reason = "is not known to the Hub, or is private: check the name, or log in with `hf auth login`"
        raise CheckpointError(f"{where} {reason}") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{where}: the Hub knows the model but not this revision") from error
    except CheckpointError:
        raise
    except Exception as error:  # offline mode, time-outs, broken connections, full disks: many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"cannot load a backbone from {where}: the Hub could not be reached or broke off ({reason}). Run it again "
            "(what has arrived is kept), or give a folder; backbone 'shipped' always works offline."
        ) from error


def _locate(name: str, revision: str | None) -> Path:
    """The folder or fairseq file that `name` means, downloaded if need be."""
    if name == "shipped":
        folder = package_data("backbone")
        if not (folder / "model.safetensors").is_file():
            raise CheckpointError(
                f"{folder / 'model.safetensors'} is missing: reinstall the package, or make it again with "
                "python -m genre_utils pretrain --ship"
            )
        return folder
    path = Path(name).expanduser()
    if path.is_dir() or path.suffix == ".pt":
        return path
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return hub_folder(name, revision)
    raise CheckpointError(
        f"no backbone {name!r}: give 'shipped', a folder, a fairseq file (.pt), or a Hub name such as facebook/wav2vec2-base"
    )


def load_encoder(name: str, revision: str | None = None) -> PreTrainedModel:
    """The raw-audio encoder that `name` means; see :func:`genre_utils.models.wav2vec.load_backbone`."""
    path = _locate(name, revision)
    return load_fairseq(path).wav2vec2 if path.suffix == ".pt" else from_folder(path, name)


def load_pretraining_model(name: str, revision: str | None = None) -> Wav2Vec2ForPreTraining | None:
    """The wav2vec 2.0 that `name` means with its quantiser, in float32; None if it comes without one.

    HuBERT, WavLM and data2vec-audio never had one, and not every checkpoint does.
    """
    path = _locate(name, revision)
    if path.suffix == ".pt":
        return load_fairseq(path)
    if AutoConfig.from_pretrained(path, local_files_only=True).model_type != "wav2vec2":
        return None
    with quiet_library():
        model, info = Wav2Vec2ForPreTraining.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    complete = all(key.split(".")[-1] in OPTIONAL_WEIGHTS for key in info["missing_keys"])
    return model.eval() if complete else None

"""Read fairseq's wav2vec 2.0 checkpoints (``wav2vec_small.pt`` and its kin) without fairseq.

A ``.pt`` file of fairseq is a pickle: it could run any code when it is opened. Here it is opened with
``weights_only`` and one harmless class more, the old header's; anything else in it is refused, not executed.
"""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.errors import CheckpointError

#: fairseq's names (regular expressions) -> the library's, tried in this order.
RENAMES = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"wav2vec2.feature_extractor.conv_layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2(?:\.1)?\.", r"wav2vec2.feature_extractor.conv_layers.\1.layer_norm."),
    (r"post_extract_proj\.", "wav2vec2.feature_projection.projection."),
    (r"layer_norm\.", "wav2vec2.feature_projection.layer_norm."),
    (r"mask_emb$", "wav2vec2.masked_spec_embed"),
    (r"encoder\.pos_conv\.0\.weight_g$", "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v$", "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.pos_conv\.0\.", "wav2vec2.encoder.pos_conv_embed.conv."),
    (r"encoder\.layer_norm\.", "wav2vec2.encoder.layer_norm."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"wav2vec2.encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.self_attn\.", r"wav2vec2.encoder.layers.\1.attention."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"wav2vec2.encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"wav2vec2.encoder.layers.\1.feed_forward.output_dense."),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"wav2vec2.encoder.layers.\1.final_layer_norm."),
    (r"quantizer\.vars$", "quantizer.codevectors"),
    (r"(quantizer\.weight_proj|project_q)\.", r"\1."),
    (r"final_proj\.", "project_hid."),
)


def _read(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Settings of the model and its weights, under fairseq's names."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: give the path of a fairseq checkpoint (.pt)")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError) as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if named is None:
            raise CheckpointError(
                f"{path} is damaged or no PyTorch file ({type(error).__name__}): download it again"
            ) from error
        raise CheckpointError(
            f"{path} is refused: it wants to load {named[1]}, which is not on the list of harmless classes, and "
            "opening it could run code. If you trust its source, load it with fairseq and save only its 'cfg' "
            "(as plain dictionaries) and 'model'."
        ) from error
    saved = saved if isinstance(saved, dict) else {}
    header = _header(saved, path)
    weights = saved.get("model")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} holds no weights under 'model': it is no checkpoint of fairseq")
    if any(str(name).startswith("w2v_encoder.") for name in weights):
        raise CheckpointError(
            f"{path} is a fine-tuned fairseq model: this book reads the pre-training ones, such as wav2vec_small.pt"
        )
    return header, weights


def _header(saved: dict, path: Path) -> dict:
    """The model's settings: a Namespace under ``args`` (until 2020) or nested dictionaries under ``cfg`` (since)."""
    cfg, args = saved.get("cfg"), saved.get("args")
    if isinstance(cfg, dict) and isinstance(cfg.get("model"), dict):
        header = cfg["model"]
    elif isinstance(args, argparse.Namespace):
        header = vars(args)
    else:
        raise CheckpointError(f"{path} has neither an 'args' nor a 'cfg' header: it is no checkpoint of fairseq")
    name = header.get("_name") or header.get("arch")
    if name != "wav2vec2":
        raise CheckpointError(f"{path} holds the fairseq model {name!r}: this book reads 'wav2vec2' only")
    return header


def conv_layers(text: str) -> list[tuple[int, int, int]]:
    """The (width, kernel, stride) of each convolution, from ``"[(512, 10, 5)] + [(512, 3, 2)] * 4"`` and the like.

    fairseq runs that as Python; here lists of numbers, sums and repeats are understood, else it is a CheckpointError.
    """
    some, dense = r"\[((?:\(\d+,\d+,\d+\),?)+)\](?:\*(\d+))?", re.sub(r"\s", "", str(text))
    if not re.fullmatch(rf"{some}(?:\+{some})*", dense):
        raise CheckpointError(f"the convolutions of the fairseq model cannot be read: {text!r}")
    layers = []
    for listed, times in re.findall(some, dense):
        layers += [tuple(map(int, one)) for one in re.findall(r"(\d+),(\d+),(\d+)", listed)] * int(times or 1)
    return layers


#: fairseq's settings -> the library's. What a header leaves out has the same default in both, but for DIFFERENT.
SETTINGS = {
    "encoder_embed_dim": "hidden_size", "encoder_layers": "num_hidden_layers", "activation_fn": "hidden_act",
    "encoder_attention_heads": "num_attention_heads", "encoder_ffn_embed_dim": "intermediate_size",
    "dropout": "hidden_dropout", "attention_dropout": "attention_dropout", "activation_dropout": "activation_dropout",
    "encoder_layerdrop": "layerdrop", "dropout_input": "feat_proj_dropout", "conv_bias": "conv_bias",
    "dropout_features": "feat_quantizer_dropout", "layer_norm_first": "do_stable_layer_norm",
    "conv_pos": "num_conv_pos_embeddings", "conv_pos_groups": "num_conv_pos_embedding_groups",
    "latent_vars": "num_codevectors_per_group", "latent_groups": "num_codevector_groups",
    "num_negatives": "num_negatives", "logit_temp": "contrastive_logits_temperature",
}  # fmt: skip
DIFFERENT = {"activation_dropout": 0.0, "encoder_layerdrop": 0.0, "quantize_targets": False}
#: Variants that the library's wav2vec 2.0 does not have: settings that must be as here.
FIXED = {"quantize_targets": True, "quantize_input": False, "target_glu": False, "quantizer_depth": 1,
         "pos_conv_depth": 1, "layer_type": "transformer"}  # fmt: skip


def _config(header: dict) -> Wav2Vec2Config:
    """The library's configuration of the network that a fairseq header describes."""
    said = DIFFERENT | {key: value for key, value in header.items() if value is not None}
    for key, value in FIXED.items():
        if said.get(key, value) != value:
            raise CheckpointError(f"fairseq's {key} = {said[key]!r} is a variant that cannot be read (only {value!r})")
    norms, mode = {"default": "group", "layer_norm": "layer"}, said.get("extractor_mode", "default")
    if mode not in norms:
        raise CheckpointError(f"fairseq's extractor_mode {mode!r} is unknown")
    config = Wav2Vec2Config(**{ours: said[theirs] for theirs, ours in SETTINGS.items() if theirs in said})
    config.feat_extract_norm = norms[mode]
    config.proj_codevector_dim = said.get("final_dim") or config.hidden_size
    config.codevector_dim = said.get("latent_dim") or config.proj_codevector_dim
    if "conv_feature_layers" in said:
        layers = zip(*conv_layers(said["conv_feature_layers"]), strict=True)
        config.conv_dim, config.conv_kernel, config.conv_stride = layers
        config.num_feat_extract_layers = len(config.conv_dim)
    return config


def _rename(name: str) -> str:
    """The library's name of a weight that fairseq calls `name`."""
    for pattern, replacement in RENAMES:
        new, count = re.subn("^" + pattern, replacement, name)
        if count:
            return new
    raise CheckpointError(f"the fairseq checkpoint holds a weight this book does not know: {name}")


def load_fairseq(path: Path | str) -> Wav2Vec2ForPreTraining:
    """The pre-training model in a fairseq checkpoint, as the library's, in eval mode.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, holds classes that are not known to be harmless, is no wav2vec 2.0 or a
        variant that the library does not have, or its weights are others than its header says.
    """
    path = Path(path)
    header, weights = _read(path)
    try:
        model = Wav2Vec2ForPreTraining(_config(header))
        found = {_rename(name): tensor.float() for name, tensor in weights.items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a setting of another kind, or two that contradict each other: the library raises many kinds
        raise CheckpointError(f"{path}: its header describes no network that can be built ({error})") from error
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise CheckpointError(
            f"{path} is damaged: its weights do not fit the network its header describes ({' '.join(lines)[:200]})"
        ) from error
    return model.eval()

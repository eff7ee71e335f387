"""Read fairseq's wav2vec 2.0 checkpoints (``wav2vec_small.pt`` and its kin) without fairseq.

A ``.pt`` file of fairseq is a pickle: it could run any code when it is opened. Here it is opened with
``weights_only`` and a short list of harmless classes; anything else in it is refused, not executed.
"""

from __future__ import annotations

import argparse
import ast
import operator
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.errors import CheckpointError

#: What a checkpoint may hold besides tensors, numbers, strings and containers: the old header's class.
ALLOWED = [argparse.Namespace]

#: fairseq's names -> the library's, tried in this order; ``N`` stands for a layer's number.
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
    (r"quantizer\.weight_proj\.", "quantizer.weight_proj."),
    (r"project_q\.", "project_q."),
    (r"final_proj\.", "project_hid."),
)


def read_checkpoint(path: Path | str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings of the model and its weights, under fairseq's names.

    Parameters
    ----------
    path : path
        A ``.pt`` file as fairseq saves it: with an ``args`` header (a Namespace, until 2020) or a ``cfg``
        header (nested dictionaries, since).

    Returns
    -------
    (dict, dict of tensors)

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds classes that are not on the list of harmless ones, or
        is no wav2vec 2.0.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: give the path of a fairseq checkpoint (.pt)")
    try:
        with torch.serialization.safe_globals(ALLOWED):
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise CheckpointError(f"{path} is damaged or no PyTorch file: download it again") from error
        raise CheckpointError(
            f"{path} is refused: it wants to load {named[1]}, which is not on the list of harmless classes, and "
            "opening it could run code. If you trust its source, load it with fairseq and save only its 'cfg' "
            "(as plain dictionaries) and 'model'."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no PyTorch file ({type(error).__name__}): download it again") from error
    header = _header(saved, path)
    weights = saved.get("model")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} holds no weights under 'model': it is no checkpoint of fairseq")
    if any(name.startswith("w2v_encoder.") for name in weights):
        raise CheckpointError(
            f"{path} is a fine-tuned fairseq model: this book reads the pre-training ones, such as wav2vec_small.pt"
        )
    return header, weights


def _header(saved: object, path: Path) -> dict[str, Any]:
    cfg = saved.get("cfg") if isinstance(saved, dict) else None
    args = saved.get("args") if isinstance(saved, dict) else None
    if isinstance(cfg, dict) and isinstance(cfg.get("model"), dict):
        header = cfg["model"]
        name = header.get("_name") or header.get("arch")
    elif isinstance(args, argparse.Namespace):
        header = vars(args)
        name = header.get("arch")
    else:
        raise CheckpointError(f"{path} has neither an 'args' nor a 'cfg' header: it is no checkpoint of fairseq")
    if name != "wav2vec2":
        raise CheckpointError(f"{path} holds the fairseq model {name!r}: this book reads 'wav2vec2' only")
    return header


def conv_layers(text: str) -> list[tuple[int, int, int]]:
    """The (width, kernel, stride) of each convolution, from fairseq's own notation.

    fairseq evaluates ``"[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"`` as Python code; here only lists
    of numbers, sums and repeats are understood.

    Raises
    ------
    CheckpointError
        If the text says anything else.
    """
    operations = {ast.Add: operator.add, ast.Mult: operator.mul}

    def value(node: ast.AST):
        if isinstance(node, ast.BinOp) and type(node.op) in operations:
            return operations[type(node.op)](value(node.left), value(node.right))
        return ast.literal_eval(node)

    try:
        layers = value(ast.parse(text, mode="eval").body)
        layers = [tuple(int(number) for number in layer) for layer in layers]
        if not layers or any(len(layer) != 3 for layer in layers):
            raise ValueError(text)
    except (SyntaxError, ValueError, TypeError) as error:
        raise CheckpointError(f"the convolutions of the fairseq model cannot be read: {text!r}") from error
    return layers


#: The values of fairseq's wav2vec2 model when a header leaves them out.
DEFAULTS = {
    "extractor_mode": "default", "encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12, "activation_fn": "gelu", "dropout": 0.1, "attention_dropout": 0.1,
    "activation_dropout": 0.0, "encoder_layerdrop": 0.0, "dropout_input": 0.0, "dropout_features": 0.0,
    "final_dim": 0, "layer_norm_first": False, "conv_bias": False, "logit_temp": 0.1, "quantize_targets": False,
    "quantize_input": False, "target_glu": False, "quantizer_depth": 1, "pos_conv_depth": 1, "latent_vars": 320,
    "latent_groups": 2, "latent_dim": 0, "num_negatives": 100, "conv_pos": 128, "conv_pos_groups": 16,
    "conv_feature_layers": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
}  # fmt: skip


def to_config(header: dict[str, Any]) -> Wav2Vec2Config:
    """The library's configuration of the network that a fairseq header describes.

    Raises
    ------
    CheckpointError
        For variants that the library's wav2vec 2.0 does not have.
    """
    said = DEFAULTS | {key: value for key, value in header.items() if value is not None}
    other = {"quantize_input": False, "target_glu": False, "quantizer_depth": 1, "pos_conv_depth": 1,
             "layer_type": "transformer"}  # fmt: skip
    for key, value in other.items():
        if said.get(key, value) != value:
            raise CheckpointError(f"fairseq's {key} = {said[key]!r} is a variant this book cannot read (it reads {value!r})")
    if not said["quantize_targets"]:
        raise CheckpointError("the fairseq model has no quantiser (quantize_targets is off): this book reads those with one")
    if said["extractor_mode"] not in ("default", "layer_norm"):
        raise CheckpointError(f"fairseq's extractor_mode {said['extractor_mode']!r} is unknown")
    widths, kernels, strides = zip(*conv_layers(said["conv_feature_layers"]), strict=True)
    final = said["final_dim"] or said["encoder_embed_dim"]
    return Wav2Vec2Config(
        hidden_size=said["encoder_embed_dim"],
        num_hidden_layers=said["encoder_layers"],
        num_attention_heads=said["encoder_attention_heads"],
        intermediate_size=said["encoder_ffn_embed_dim"],
        hidden_act=str(said["activation_fn"]),
        hidden_dropout=said["dropout"],
        attention_dropout=said["attention_dropout"],
        activation_dropout=said["activation_dropout"],
        layerdrop=said["encoder_layerdrop"],
        feat_proj_dropout=said["dropout_input"],
        feat_quantizer_dropout=said["dropout_features"],
        feat_extract_norm="group" if said["extractor_mode"] == "default" else "layer",
        do_stable_layer_norm=bool(said["layer_norm_first"]),
        conv_dim=widths,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=bool(said["conv_bias"]),
        num_conv_pos_embeddings=said["conv_pos"],
        num_conv_pos_embedding_groups=said["conv_pos_groups"],
        num_codevectors_per_group=said["latent_vars"],
        num_codevector_groups=said["latent_groups"],
        codevector_dim=said["latent_dim"] or final,
        proj_codevector_dim=final,
        num_negatives=said["num_negatives"],
        contrastive_logits_temperature=said["logit_temp"],
    )


def rename(name: str) -> str:
    """The library's name of a weight that fairseq calls `name`; CheckpointError if there is none."""
    for pattern, replacement in RENAMES:
        new, count = re.subn("^" + pattern, replacement, name)
        if count:
            return new
    raise CheckpointError(f"the fairseq checkpoint holds a weight this book does not know: {name}")


def load_fairseq(path: Path | str) -> Wav2Vec2ForPreTraining:
    """The pre-training model in a fairseq checkpoint, as the library's, in eval mode.

    Input may be of any scale for the base layout, whose first normalisation takes scale and offset
    out again; :class:`genre_utils.models.wav2vec.Backbone` brings it to zero mean and unit
    variance, as the large layout expects.

    Raises
    ------
    CheckpointError
        As :func:`read_checkpoint`; also if weights are missing or of another shape than the header says.
    """
    header, weights = read_checkpoint(path)
    try:
        model = Wav2Vec2ForPreTraining(to_config(header))
        found = {rename(name): tensor.float() for name, tensor in weights.items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise CheckpointError(
            f"{path} is damaged: its weights do not fit the network its header describes ({' '.join(lines)[:200]})"
        ) from error
    return model.eval()

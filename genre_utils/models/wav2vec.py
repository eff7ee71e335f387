"""wav2vec 2.0 as a backbone: load it, freeze it, pool its states, put a genre head on top."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, Wav2Vec2Config

from genre_utils.errors import GenreError
from genre_utils.identity import backbone_label
from genre_utils.models import sources
from genre_utils.models.cnn import with_loss
from genre_utils.paths import WEIGHTS, package_data, write_whole

HEADS = ("linear", "mlp", "weighted", "study")
POOLINGS = ("mean", "mean+std")


def small_config(**changes) -> Wav2Vec2Config:
    """Configuration of the book's own small wav2vec 2.0: about 2 million parameters, 50 frames a second.

    The strides are those of wav2vec 2.0 (one frame per 320 samples, that is 20 ms at 16 kHz); widths and
    depth are cut until two CPU cores can train it. Positional convolution: 32 frames (0.64 s) instead of 128,
    because that layer is slower than a whole Transformer block here. Dropout is zero: drawing its random
    numbers took a fifth of a training step, and the model sees each excerpt only a few times. `changes` are arguments
    of :class:`transformers.Wav2Vec2Config`, to override these.
    """
    return Wav2Vec2Config.from_pretrained(package_data("backbone"), **changes)


def save_backbone(model: PreTrainedModel, folder: Path | str) -> Path:
    """Write ``model.safetensors`` (whole or not at all) and ``config.json``: what ``from_pretrained`` reads."""
    folder = Path(folder)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    write_weights(folder / WEIGHTS, model, {"format": "pt"})
    return folder


def write_weights(path: Path, model: nn.Module, metadata: dict | None = None) -> None:
    """Write the weights of `model` as safetensors, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_whole(path, save(weights, metadata))  # not save_file(): only its owner could read that file


class Backbone(nn.Module):
    """A raw-audio encoder of the library (wav2vec 2.0, HuBERT, WavLM ...), with a name that says where it came from.

    It takes plain waveforms at `rate_hz`, the rate that these models were trained at.
    """

    rate_hz = 16_000

    def __init__(self, model: PreTrainedModel, name: str):
        super().__init__()
        self.model, self.name = model, name
        model.config.layerdrop = 0.0  # a block that training leaves out at random would be missing among the states

    @property
    def num_layers(self) -> int:
        """Transformer blocks; :meth:`hidden_states` returns one array more, the input of the first."""
        return self.model.config.num_hidden_layers

    @property
    def hidden_size(self) -> int:
        return self.model.config.hidden_size

    @property
    def fingerprint(self) -> str:
        """What caches and run records name, the SHA-256 over configuration, names and weights."""
        config = {k: v for k, v in self.model.config.to_diff_dict().items() if k != "transformers_version"}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def num_frames(self, samples: int) -> int:
        """Frames the encoder makes of `samples` samples (about 50 a second)."""
        return int(self.model._get_feat_extract_output_lengths(samples))

    def hidden_states(self, waves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """States of every layer: ``num_layers + 1`` float tensors (b, frames, hidden_size).

        `waves`, float (b, samples) at 16 kHz, may have any scale: each excerpt is brought to zero mean and unit
        variance, as in pre-training. They are heard, and the states stay, where the weights are.
        """
        if waves.shape[-1] < 2 or self.num_frames(waves.shape[-1]) < 1:
            raise GenreError(f"an excerpt of {waves.shape[-1]} samples is too short for {self.name}: give it 0.1 s")
        waves = waves.to(next(self.model.feature_extractor.parameters()).device)
        waves = waves - waves.mean(dim=-1, keepdim=True)
        waves = waves / (waves.var(dim=-1, keepdim=True, unbiased=False) + 1e-7).sqrt()
        out = self.model(waves, output_hidden_states=True)
        # The layouts that normalise before each block (the "large" ones) end with one more normalisation, which the
        # library's list of states leaves out.
        return (*out.hidden_states[:-1], out.last_hidden_state)

    forward = hidden_states


def load_backbone(name: str = "shipped", revision: str | None = None) -> Backbone:
    """A pre-trained backbone, in eval mode.

    Parameters
    ----------
    name : str
        ``"shipped"`` (the book's own), a folder, a fairseq checkpoint (``….pt``), or the Hub name of any raw-audio encoder of the library, such as ``facebook/wav2vec2-base``.
    revision : str, optional
        Commit of a Hub model.

    Raises
    ------
    CheckpointError
        If there are no weights, they are corrupt, or they belong to another architecture.
    """
    return Backbone(sources.load_encoder(name, revision), backbone_label(name, revision)).eval()


def random_backbone(seed: int, like: Backbone | None = None) -> Backbone:
    """The shipped backbone's network (or that of `like`) with weights drawn from `seed`: the honest control."""
    config = like.model.config if like else AutoConfig.from_pretrained(package_data("backbone"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
    return Backbone(model, "random").eval()


def pool_states(hidden_states: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Mean and standard deviation over time of each layer: layers x (b, T, h) -> (b, layers, 2 * h)."""
    pooled = []
    for states in hidden_states:
        states = states.float()
        variance, mean = torch.var_mean(states, dim=1, unbiased=False)
        # The floor keeps the gradient of the root finite where a state never moves.
        pooled.append(torch.cat([mean, (variance + 1e-8).sqrt()], dim=-1))
    return torch.stack(pooled, dim=1)


class GenreHead(nn.Module):
    """From pooled states of all layers to genre scores: (b, layers, 2 * h) -> (b, n_genres).

    Each pooled feature is standardised with running statistics first: frozen states have very unequal scales. The
    study's own head does without, and knows the mean alone.

    Parameters
    ----------
    layers, features : int
        Shape of one clip's pooled states (layers counts the Transformer's input too).
    head : {"linear", "mlp", "weighted", "study"}
        One linear layer, one hidden layer of 256, a linear layer on a learnt weighting of all layers (the SUPERB
        probe, Yang et al. 2021, https://arxiv.org/abs/2105.01051), or the study's: a linear layer of full width
        on every frame, the mean over time, GELU, a linear layer (598,282 parameters on 768-wide states). Its mean
        and its first layer may change places, both being linear, so it can read pooled states too.
    pooling : {"mean", "mean+std"}
        "study" has its own, the mean.
    layer : int
        The layer that all but "weighted" read; the last by default.
    """

    def __init__(
        self, layers: int, features: int, n_genres: int = 10, head: str = "linear", pooling: str = "mean+std",
        layer: int = -1, dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        if head not in HEADS or pooling not in POOLINGS:
            raise GenreError(f"head is one of {HEADS} and pooling one of {POOLINGS}, not {head!r} and {pooling!r}")
        self.layer, self.used = layer, features if pooling == "mean+std" and head != "study" else features // 2
        self.norm = nn.Identity() if head == "study" else nn.BatchNorm1d(layers * features, affine=False)
        self.weights = nn.Parameter(torch.zeros(layers)) if head == "weighted" else None
        width = 256 if head == "mlp" else self.used
        if head == "mlp":
            first = [nn.Linear(self.used, width), nn.ReLU(), nn.Dropout(dropout)]
        elif head == "study":
            first = [nn.Linear(self.used, width), nn.GELU()]
        else:
            first = [nn.Dropout(dropout)]
        self.classify = nn.Sequential(*first, nn.Linear(width, n_genres))

    @property
    def layer_weights(self) -> torch.Tensor | None:
        """Share of each layer, summing to one ("weighted" only)."""
        return None if self.weights is None else self.weights.detach().softmax(0)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        states = self.norm(states.flatten(1)).view_as(states)[..., : self.used]
        if self.weights is None:
            return self.classify(states[:, self.layer])
        return self.classify(torch.einsum("l,blf->bf", self.weights.softmax(0), states))


class HeadClassifier(nn.Module):
    """A :class:`GenreHead` alone, on states that were pooled once (:func:`genre_utils.features.frozen_states`)."""

    def __init__(self, layers: int, features: int, n_genres: int = 10, head: str = "linear", **options):
        super().__init__()
        self.settings = {"layers": layers, "features": features, "n_genres": n_genres, "head": head, **options}
        self.head = GenreHead(**self.settings)

    def forward(self, input_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """`input_values`: pooled states (b, layers, features); returns ``logits`` and, with labels, ``loss``."""
        return with_loss(self.head(input_values), labels)


class GenreWav2Vec(nn.Module):
    """A backbone, pooling over time, and a :class:`GenreHead`; any part of the backbone can be frozen."""

    def __init__(
        self, backbone: Backbone, n_genres: int = 10, head: str = "linear", pooling: str = "mean+std", **options
    ):
        super().__init__()
        self.options = {"n_genres": n_genres, "head": head, "pooling": pooling, **options}
        self.backbone = backbone
        self.head = GenreHead(backbone.num_layers + 1, 2 * backbone.hidden_size, **self.options)
        self._frozen: list[nn.Module] = []

    @property
    def settings(self) -> dict:
        """What :meth:`from_settings` needs to build the same network again (without its weights)."""
        config = json.loads(self.backbone.model.config.to_json_string(use_diff=False))
        config.pop("_name_or_path", None)  # a folder of this machine, which decides nothing
        return {"backbone": config, "backbone_name": self.backbone.name, **self.options}

    @classmethod
    def from_settings(cls, settings: dict) -> GenreWav2Vec:
        settings = dict(settings)
        config, name = dict(settings.pop("backbone")), settings.pop("backbone_name")
        config = AutoConfig.for_model(config.pop("model_type"), **config)
        return cls(Backbone(AutoModel.from_config(config), name), **settings)

    def freeze(self, part: str | None = "backbone") -> GenreWav2Vec:
        """Freeze the whole ``"backbone"``, only its convolutional ``"encoder"``, or nothing (None).

        A frozen part gets no gradient *and* stays in eval mode: otherwise its dropout, layer drop and masking
        would go on disturbing states that can no longer adapt.
        """
        parts = {"backbone": [self.backbone], "encoder": [self.backbone.model.feature_extractor], None: []}
        if part not in parts:
            raise GenreError(f"freeze takes 'backbone', 'encoder' or None, not {part!r}")
        self._frozen = parts[part]
        self.backbone.requires_grad_(True)
        if part == "encoder":
            # The library's own switch too: without it the encoder makes its input require a gradient.
            self.backbone.model.feature_extractor._freeze_parameters()
        else:
            self.backbone.model.feature_extractor._requires_grad = part is None
        for module in self._frozen:
            module.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> GenreWav2Vec:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, input_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """`input_values`: waveforms (b, samples) at 16 kHz; returns ``logits`` and, with labels, ``loss``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.backbone not in self._frozen):
            states = self.backbone.hidden_states(input_values)
        return with_loss(self.head(pool_states(states)), labels)


def trainable_parameters(model: nn.Module) -> dict[str, int]:
    """Trainable parameters of each part of `model` (its direct children), and their ``total``."""
    parts = dict(model.named_children()) | {"total": model}
    return {name: sum(p.numel() for p in part.parameters() if p.requires_grad) for name, part in parts.items()}

"""wav2vec 2.0 in two hundred lines, to be read: the same numbers as the library's, from the same weights.

Baevski, Zhou, Mohamed, Auli (2020), https://arxiv.org/abs/2006.11477. Shapes in comments: b clips, n samples,
t frames (one per 320 samples), c latent channels, h hidden size, g codebooks of v codewords, k distractors.
Dropout and layer drop are left out: they regularise, they are not the idea.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining


class ConvEncoder(nn.Module):
    """Part 1, from samples to latents: (b, n) -> (b, t, c).

    Seven strided convolutions; each channel is normalised over time, once, after the first of them.
    """

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        blocks = []
        for i, (before, after) in enumerate(pairwise((1, *config.conv_dim))):
            conv = nn.Conv1d(before, after, config.conv_kernel[i], config.conv_stride[i], bias=config.conv_bias)
            norm = nn.GroupNorm(after, after) if i == 0 else nn.Identity()
            blocks.append(nn.Sequential(conv, norm, nn.GELU()))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        return self.blocks(waves[:, None]).mT


def span_mask(
    clips: int, frames: int, *, fraction: float = 0.65, length: int = 10, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Part 2, what is hidden from the Transformer: bool (b, t).

    Spans of `length` frames would cover `fraction` of all if none overlapped; with the paper's values, about half is.
    """
    mask = torch.zeros(clips, frames, dtype=torch.bool)
    spans = max(1, round(fraction * frames / length))
    for clip in range(clips):
        for start in torch.randperm(frames - length + 1, generator=generator)[:spans]:
            mask[clip, start : start + length] = True
    return mask


class PositionalConv(nn.Module):
    """Where a frame stands, told by its neighbourhood: a wide grouped convolution, (b, t, h) -> (b, t, h)."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        kernel, groups = config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        conv = nn.Conv1d(config.hidden_size, config.hidden_size, kernel, padding=kernel // 2, groups=groups)
        self.conv = weight_norm(conv, dim=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = self.conv(x.mT)[..., : x.shape[1]]  # an even kernel yields one frame too many
        return functional.gelu(around).mT


class SelfAttention(nn.Module):
    """Every frame looks at every frame: (b, t, h) -> (b, t, h)."""

    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)  # (b, heads, t, t)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One Transformer block: attention, then two layers for each frame by itself."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.attention = SelfAttention(hidden, config.num_attention_heads)
        self.norm_1 = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.feed_forward = nn.Sequential(nn.Linear(hidden, inner), nn.GELU(), nn.Linear(inner, hidden))
        self.norm_2 = nn.LayerNorm(hidden, eps=config.layer_norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm_1(x + self.attention(x))
        return self.norm_2(x + self.feed_forward(x))


class Transformer(nn.Module):
    """Part 3, latents in context: (b, t, h) -> the states of all layers, its input first; the last is the context."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        self.position = PositionalConv(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states = [self.norm(x + self.position(x))]
        for block in self.blocks:
            states.append(block(states[-1]))
        return tuple(states)


class Quantiser(nn.Module):
    """Part 4a, the targets: each latent picks one codeword in each of g codebooks, (b, t, c) -> (b, t, d).

    In training the choice is sampled (Gumbel noise) and its gradient is that of the soft choice.
    """

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        self.codebooks, words = config.num_codevector_groups, config.num_codevectors_per_group
        self.score = nn.Linear(config.conv_dim[-1], self.codebooks * words)
        self.codewords = nn.Parameter(torch.randn(self.codebooks, words, config.codevector_dim // self.codebooks))
        self.temperature = 2.0

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantised latents (b, t, d) and how likely each codeword was, (b, t, g, v)."""
        scores = self.score(latents).unflatten(-1, (self.codebooks, -1))  # (b, t, g, v)
        if self.training:
            flat = functional.gumbel_softmax(scores.flatten(0, 2), tau=self.temperature, hard=True)
            choice, likely = flat.view_as(scores), scores.softmax(-1)
        else:
            choice = likely = functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)
        return torch.einsum("btgv,gvd->btgd", choice, self.codewords).flatten(2), likely


def perplexity(likely: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Codewords in use at the masked frames, summed over the codebooks: g if each has one, g * v if all share."""
    mean = likely[mask].mean(0)  # (g, v)
    return torch.exp(-torch.xlogy(mean, mean).sum(-1)).sum()


def contrastive_loss(
    predicted: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor, negatives: torch.Tensor, kappa: float = 0.1
) -> torch.Tensor:
    """Part 4b, which of k + 1 codewords was hidden here? Equation 3 of the paper, summed over masked frames.

    `predicted` is what the Transformer says, `targets` the quantised latents, both float (b, t, d); `mask` is bool
    (b, t); `negatives`, int64 (b, t, k), index the flattened (b * t); `kappa` is the temperature of the similarities.
    """
    true = targets[mask][:, None]  # (m, 1, d)
    false = targets.flatten(0, 1)[negatives[mask]]  # (m, k, d)
    similarity = functional.cosine_similarity(predicted[mask][:, None], torch.cat([true, false], 1), dim=-1) / kappa
    # A distractor that is the very same codeword cannot be told apart: leave it out.
    equal = functional.pad((false == true).all(-1), (1, 0), value=False)
    log_odds = similarity.masked_fill(equal, -math.inf).log_softmax(-1)
    return -log_odds[:, 0].sum()


@dataclass
class ReferenceOutput:
    """Everything on the way; the last four with `mask` and `negatives` alone."""

    latents: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...]
    context: torch.Tensor
    predicted: torch.Tensor
    targets: torch.Tensor
    perplexity: torch.Tensor | None = None
    contrastive: torch.Tensor | None = None
    diversity: torch.Tensor | None = None
    loss: torch.Tensor | None = None


class ReferenceWav2Vec2(nn.Module):
    """The four parts together, as in "base" models; "large" ones normalise in other places, and are not read here."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        self.config = config
        self.encoder = ConvEncoder(config)
        self.norm = nn.LayerNorm(config.conv_dim[-1], eps=config.layer_norm_eps)
        self.project = nn.Linear(config.conv_dim[-1], config.hidden_size)
        self.mask_vector = nn.Parameter(torch.rand(config.hidden_size))
        self.transformer = Transformer(config)
        self.quantiser = Quantiser(config)
        self.predict = nn.Linear(config.hidden_size, config.proj_codevector_dim)
        self.project_target = nn.Linear(config.codevector_dim, config.proj_codevector_dim)

    def forward(
        self, waves: torch.Tensor, mask: torch.Tensor | None = None, negatives: torch.Tensor | None = None
    ) -> ReferenceOutput:
        """States, predictions and (with `mask` and `negatives`) the loss, summed over masked frames.

        `waves`: float (b, n) at 16 kHz, zero mean and unit variance; `mask`: bool (b, t); `negatives`: int64 (b, t, k).
        """
        latents = self.norm(self.encoder(waves))  # (b, t, c)
        x = self.project(latents)  # (b, t, h)
        if mask is not None:
            x = torch.where(mask[..., None], self.mask_vector, x)
        states = self.transformer(x)
        context = states[-1]
        quantised, likely = self.quantiser(latents)  # from the latents *before* masking
        out = ReferenceOutput(latents, states, context, self.predict(context), self.project_target(quantised))
        if mask is None or negatives is None:
            return out
        out.perplexity = perplexity(likely, mask)
        words = likely.shape[-2] * likely.shape[-1]
        out.diversity = (words - out.perplexity) / words * mask.sum()
        kappa = self.config.contrastive_logits_temperature
        out.contrastive = contrastive_loss(out.predicted, out.targets, mask, negatives, kappa)
        out.loss = out.contrastive + self.config.diversity_loss_weight * out.diversity
        return out

    @classmethod
    def from_library(cls, model: Wav2Vec2ForPreTraining) -> ReferenceWav2Vec2:
        """The same network with the same weights; fails if a single weight has no counterpart."""
        reference = cls(model.config)
        shapes = {name: tensor.shape for name, tensor in reference.state_dict().items()}
        weights = {library_to_reference(name): tensor for name, tensor in model.state_dict().items()}
        reference.load_state_dict({name: tensor.reshape(shapes.get(name, tensor.shape)) for name, tensor in weights.items()})
        return reference.train(model.training)


#: The library's names (left, regular expressions) in this file's words.
_NAMES = (
    (r"^wav2vec2\.feature_extractor\.conv_layers\.(\d+)\.conv\.", r"encoder.blocks.\1.0."),
    (r"^wav2vec2\.feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"encoder.blocks.\1.1."),
    (r"^wav2vec2\.feature_projection\.layer_norm\.", "norm."),
    (r"^wav2vec2\.feature_projection\.projection\.", "project."),
    (r"^wav2vec2\.masked_spec_embed$", "mask_vector"),
    (r"^wav2vec2\.encoder\.pos_conv_embed\.", "transformer.position."),
    (r"^wav2vec2\.encoder\.layer_norm\.", "transformer.norm."),
    (r"^wav2vec2\.encoder\.layers\.", "transformer.blocks."),
    (r"\.attention\.q_proj\.", ".attention.query."),
    (r"\.attention\.k_proj\.", ".attention.key."),
    (r"\.attention\.v_proj\.", ".attention.value."),
    (r"\.attention\.out_proj\.", ".attention.out."),
    (r"(\.blocks\.\d+)\.layer_norm\.", r"\1.norm_1."),
    (r"(\.blocks\.\d+)\.final_layer_norm\.", r"\1.norm_2."),
    (r"\.feed_forward\.intermediate_dense\.", ".feed_forward.0."),
    (r"\.feed_forward\.output_dense\.", ".feed_forward.2."),
    (r"^quantizer\.codevectors$", "quantiser.codewords"),
    (r"^quantizer\.weight_proj\.", "quantiser.score."),
    (r"^project_hid\.", "predict."),
    (r"^project_q\.", "project_target."),
)


def library_to_reference(name: str) -> str:
    """This file's name of a parameter of :class:`transformers.Wav2Vec2ForPreTraining`."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name

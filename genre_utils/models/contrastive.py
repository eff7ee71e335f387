"""The objective of pre-training: masks, distractors, the contrastive loss, and two weak tasks beside it.

The contrastive task is wav2vec 2.0's own (Baevski et al. 2020, https://arxiv.org/abs/2006.11477): spans of latent
frames are masked, and for each masked frame the Transformer must pick the true quantised latent among distractors.
:class:`Auxiliary` adds two tasks of later work, because a model as small as the book's learns little about genre from
the contrastive task alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram
from transformers import Wav2Vec2ForPreTraining

from genre_utils.errors import GenreError

RATE_HZ = 16_000


@dataclass(frozen=True)
class Objective:
    """How masks and negatives are drawn, and what is asked beside the contrastive question.

    Attributes
    ----------
    mask_fraction, mask_length
        Masked over all frames, if spans never overlapped (0.65 masks about half); frames (of 20 ms) in a span.
    num_negatives, cross_clip
        Distractors of each masked frame, and the share drawn from the *other* clips of the batch ("which recording is
        this?"); the rest come from the same clip ("which moment is this?"), as all do in the paper.
    mel_weight, clip_weight
        Weights of the tasks of :class:`Auxiliary`; without both it is plain wav2vec 2.0.
    """

    mask_fraction: float = 0.65
    mask_length: int = 10
    num_negatives: int = 40
    cross_clip: float = 0.5
    mel_weight: float = 0.0
    clip_weight: float = 0.0


def sample_mask(rng: np.random.Generator, clips: int, frames: int, objective: Objective) -> np.ndarray:
    """Masked frames, bool (clips, frames): spans with distinct starts, which may overlap (paper, sect. 3.1)."""
    length = objective.mask_length
    if frames <= length + 1:
        raise GenreError(f"excerpts of {frames} frames are too short for masks of {length} frames: use longer ones")
    spans = min(max(1, int(objective.mask_fraction * frames / length + rng.random())), frames - length)
    starts = rng.random((clips, frames - length)).argsort(axis=1)[:, :spans]
    mask = np.zeros((clips, frames), dtype=bool)
    np.put_along_axis(mask, (starts[:, :, None] + np.arange(length)).reshape(clips, -1), True, axis=1)
    return mask


def sample_negatives(rng: np.random.Generator, mask: np.ndarray, objective: Objective) -> np.ndarray:
    """Distractors of every frame, int64 (clips, frames, negatives): indices into the flattened (clips x frames).

    All are masked frames, none is the frame itself. Rows of unmasked frames are zero: no loss is taken there.
    """
    clips, frames = mask.shape
    across = round(objective.num_negatives * objective.cross_clip) if clips > 1 else 0
    within = objective.num_negatives - across
    positions = np.flatnonzero(mask)  # sorted, so the frames of a clip are contiguous
    counts, clip = mask.sum(axis=1), positions // frames
    first = np.cumsum(counts) - counts
    own_first, own_count = first[clip, None], counts[clip, None]
    rank = np.arange(len(positions))[:, None] - own_first
    # Skipping over "myself" (or "my clip") keeps the draw uniform without rejection.
    same = (rng.random((len(positions), within)) * (own_count - 1)).astype(np.int64)
    same = own_first + same + (same >= rank)
    other = (rng.random((len(positions), across)) * (len(positions) - own_count)).astype(np.int64)
    other = other + np.where(other >= own_first, own_count, 0)
    negatives = np.zeros((clips * frames, objective.num_negatives), dtype=np.int64)
    negatives[positions] = positions[np.concatenate([same, other], axis=1)]
    return negatives.reshape(clips, frames, -1)


class Auxiliary(nn.Module):
    """Two weak tasks on the Transformer's states, from the same masked pass that the contrastive task uses.

    *Log-mel*: a linear layer names the log-mel bands of each frame, masked or not (the masked ones count apart, so a
    masked frame weighs more). MERT predicts a constant-Q spectrum in this way (Li et al. 2023,
    https://arxiv.org/abs/2306.00107). The error is a mean square, in units of each band's variance.

    *Same clip*: the mean of an excerpt's states, projected, must find the other excerpt of its clip among all excerpts
    of the batch (CLMR, Spijkervet and Burgoyne 2021, https://arxiv.org/abs/2103.09410; without its augmentations).

    States are `hidden` wide, `frames` to an excerpt; mean and spread of each band are those of the excerpts `examples`,
    float (n, samples).
    """

    BANDS, FLOOR, TEMPERATURE = 64, 1e-2, 0.1

    def __init__(self, objective: Objective, hidden: int, examples: torch.Tensor, frames: int):
        super().__init__()
        self.objective = objective
        self.mel = MelSpectrogram(RATE_HZ, n_fft=1024, hop_length=320, n_mels=self.BANDS, center=False)
        seen = self._log_mel(examples, frames)
        self.register_buffer("mean", seen.mean((0, 1)))
        self.register_buffer("spread", seen.std((0, 1)))
        self.read_mel = nn.Linear(hidden, self.BANDS)
        self.project = nn.Linear(hidden, 128)

    def _log_mel(self, waves: torch.Tensor, frames: int) -> torch.Tensor:
        """Bands around the centre of each frame (which hears 400 samples, one every 320): (b, frames, bands)."""
        padded = nn.functional.pad(waves, (312, 712), mode="reflect")
        return (self.mel(padded)[..., :frames].float() + self.FLOOR).log().transpose(1, 2)

    def forward(self, states: torch.Tensor, waves: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Terms ``log_mel``, ``same_clip`` (share of excerpts that find their partner) and ``auxiliary`` (their loss).

        `waves` holds the two excerpts of a clip next to each other: 0 and 1, 2 and 3, and so on.
        """
        terms, loss = {}, torch.zeros((), device=states.device)
        if self.objective.mel_weight:
            truth = (self._log_mel(waves, states.shape[1]) - self.mean) / self.spread
            masked = nn.functional.mse_loss(self.read_mel(states[mask]).float(), truth[mask])
            heard = nn.functional.mse_loss(self.read_mel(states[~mask]).float(), truth[~mask])
            loss = loss + self.objective.mel_weight * (masked + heard)
            terms["log_mel"] = masked
        if self.objective.clip_weight:
            embedded = nn.functional.normalize(self.project(states.mean(1)).float(), dim=1)
            alike = (embedded @ embedded.T / self.TEMPERATURE).fill_diagonal_(-1e4)
            partner = torch.arange(len(alike), device=alike.device) ^ 1
            loss = loss + self.objective.clip_weight * nn.functional.cross_entropy(alike, partner)
            terms["same_clip"] = (alike.argmax(1) == partner).float().mean()
        return terms | {"auxiliary": loss}


def contrastive_terms(
    model: Wav2Vec2ForPreTraining, waves: torch.Tensor, mask: torch.Tensor, negatives: torch.Tensor,
    auxiliary: Auxiliary | None = None,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Loss of a batch, per masked frame, and what to watch beside it.

    The same numbers as the library's own loss divided by the number of masked frames, but the quantiser and
    the similarities run at masked frames only (the library runs them everywhere and then ignores half).

    Parameters
    ----------
    waves : float tensor (clips, samples), zero mean and unit variance
    mask, negatives
        From :func:`sample_mask` and :func:`sample_negatives`.

    Returns
    -------
    dict
        ``loss``, ``contrastive``, ``diversity``, ``accuracy`` (share of masked frames whose true latent
        wins), ``perplexity`` (codewords in use, summed over the codebooks); those of `auxiliary` too.
    """
    config = model.config
    out = model.wav2vec2(waves, mask_time_indices=mask)
    predicted = model.project_hid(out.last_hidden_state[mask])  # (masked, d)
    latents = model.dropout_features(out.extract_features)[mask]
    codewords, perplexity = model.quantizer(latents[None])
    positive = model.project_q(codewords[0])  # (masked, d)
    rank = mask.flatten().cumsum(0) - 1  # flattened frame -> row of `positive`
    distractors = positive[rank[negatives[mask]].T]  # (negatives, masked, d)
    logits = model.compute_contrastive_logits(
        positive[None], distractors, predicted, config.contrastive_logits_temperature
    ).float()
    # A distractor that happens to be the same codeword cannot be told apart: it does not count.
    same = (positive == distractors).all(-1)
    logits = torch.cat([logits[:1], logits[1:].masked_fill(same, -math.inf)]).T  # (masked, 1 + negatives)
    contrastive = nn.functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
    available = config.num_codevectors_per_group * config.num_codevector_groups
    diversity = (available - perplexity.float()) / available
    further = auxiliary(out.last_hidden_state, waves, mask) if auxiliary is not None else {}
    return further | {
        "loss": contrastive + config.diversity_loss_weight * diversity + further.pop("auxiliary", 0.0),
        "contrastive": contrastive,
        "diversity": diversity,
        "accuracy": (logits[:, 0] > logits[:, 1:].amax(dim=1)).float().mean(),
        "perplexity": perplexity,
    }


def sample_windows(
    rng: np.random.Generator, waves: np.ndarray, clips: int, samples: int, pairs: bool = False
) -> torch.Tensor:
    """`clips` random excerpts of `samples` samples, float32 (clips, samples), zero mean and unit variance each.

    With `pairs`, excerpts 0 and 1 are of one clip and do not overlap, and so are 2 and 3, and so on.
    """
    if pairs:
        rows = np.repeat(rng.choice(len(waves), clips // 2, replace=len(waves) < clips // 2), 2)
        room = waves.shape[1] - 2 * samples
        first = rng.integers(0, room + 1, clips // 2)
        gap = (rng.random(clips // 2) * (room - first + 1)).astype(int)
        starts = np.stack([first, first + samples + gap], axis=1).ravel()
    else:
        rows = rng.choice(len(waves), size=clips, replace=len(waves) < clips)
        starts = rng.integers(0, waves.shape[1] - samples + 1, size=clips)
    batch = np.stack([waves[r, s : s + samples] for r, s in zip(rows, starts, strict=True)]).astype(np.float32)
    batch -= batch.mean(axis=1, keepdims=True)
    # int16 units: the floor keeps digital silence from being blown up into noise.
    batch /= np.maximum(batch.std(axis=1, keepdims=True), 1.0)
    return torch.from_numpy(batch)

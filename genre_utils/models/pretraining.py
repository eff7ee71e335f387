"""Pre-train a small wav2vec 2.0 on unlabelled music: the objective, and the loop around the library's network.

The contrastive task is wav2vec 2.0's own (Baevski et al. 2020, https://arxiv.org/abs/2006.11477): spans of latent
frames are masked, and for each masked frame the Transformer must pick the true quantised latent among distractors.
:class:`Auxiliary` adds two tasks of later work, because a model as small as the book's learns little about genre from
the contrastive task alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.device import autocast, precision_of
from genre_utils.errors import CheckpointError, GenreError
from genre_utils.models.wav2vec import save_backbone, small_config
from genre_utils.paths import write_whole

RATE_HZ = 16_000
CURVE = "curve.csv"
COLUMNS = (
    "step", "loss", "contrastive", "diversity", "accuracy", "perplexity", "log_mel", "same_clip", "grad_norm",
    "temperature", "learning_rate", "val_loss", "val_accuracy", "val_perplexity", "val_log_mel", "val_same_clip",
    "probe", "seconds",
)  # fmt: skip
#: Fraction of the steps in which the learning rate rises, decay of the weights, and longest gradient.
WARMUP, WEIGHT_DECAY, CLIP_NORM = 0.08, 0.01, 1.0


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


def _batch(rng, waves, model, clips: int, samples: int, objective: Objective):
    wave = sample_windows(rng, waves, clips, samples, pairs=objective.clip_weight > 0)
    mask = sample_mask(rng, clips, int(model._get_feat_extract_output_lengths(samples)), objective)
    negatives = sample_negatives(rng, mask, objective)
    return tuple(t.to(model.device) for t in (wave, torch.from_numpy(mask), torch.from_numpy(negatives)))


@torch.no_grad()
def validate(
    model: Wav2Vec2ForPreTraining, waves: np.ndarray, *, samples: int, objective: Objective, batch_size: int = 12,
    batches: int = 8, bf16: bool | None = None, auxiliary: Auxiliary | None = None,
) -> dict[str, float]:  # fmt: skip
    """Means of :func:`contrastive_terms` over `batches` batches, the same at every call.

    `waves` is int16 (clips, samples) at 16 kHz, `samples` the length of the excerpts; `bf16` as in
    :func:`genre_utils.device.autocast`.
    """
    was_training = model.training
    model.eval()
    sums: dict[str, float] = {}
    for i in range(batches):
        batch = _batch(np.random.default_rng([7_919, i]), waves, model, batch_size, samples, objective)
        with autocast(model, bf16):
            terms = contrastive_terms(model, *batch, auxiliary)
        sums = {name: sums.get(name, 0.0) + float(value) / batches for name, value in terms.items()}
    model.train(was_training)
    return sums


def rate_at(step: int, *, steps: int, peak: float) -> float:
    """Learning rate of `step`: linear warm-up, then a cosine down to 2 % of `peak`."""
    rise = max(1, round(WARMUP * steps))
    if step < rise:
        return peak * (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def temperature_at(step: int, *, steps: int) -> float:
    """Gumbel temperature of `step`: exponential from 2, at 0.5 after 70 % of the run (fairseq's shape)."""
    return max(0.5, 2.0 * 0.25 ** (step / max(1.0, 0.7 * steps)))


def _load_checkpoint(path: Path, parts: dict, key: str) -> tuple[int, float]:
    """Put a checkpoint's state into model, further tasks and optimiser: the steps taken, and their seconds."""
    try:
        saved = torch.load(path, map_location=parts["model"].device, weights_only=True)
        same = json.loads(saved["key"]) == json.loads(key)
    except Exception as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}): delete it to start again") from error
    if not same:
        raise CheckpointError(
            f"{path} belongs to a pre-training with other settings or data: delete it, "
            "choose another folder, or pass resume=False to overwrite it"
        )
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"], saved["seconds"]


def _auxiliary(objective: Objective, model, waves: np.ndarray, samples: int, seed: int) -> Auxiliary | None:
    """The further tasks, if `objective` has any."""
    if not (objective.mel_weight or objective.clip_weight):
        return None
    examples = sample_windows(np.random.default_rng([seed, 5]), waves, min(320, len(waves)), samples)
    frames = int(model._get_feat_extract_output_lengths(samples))
    return Auxiliary(objective, model.config.hidden_size, examples, frames).to(model.device).train()


def pretrain(
    waves: np.ndarray, out_dir: Path | str, *, steps: int, batch_size: int = 12, window_s: float = 3.0,
    learning_rate: float = 1e-3, seed: int = 0, objective: Objective | None = None,
    config: Wav2Vec2Config | None = None, val_waves: np.ndarray | None = None,
    probe: Callable[[Wav2Vec2ForPreTraining], float] | None = None, probe_every: int = 1000, log_every: int = 25,
    save_every: int = 250, device: str = "cpu", resume: bool = True, progress: bool = True,
) -> Wav2Vec2ForPreTraining:  # fmt: skip
    """Pre-train a wav2vec 2.0 contrastively; interrupted at any point, it continues where it was.

    Every step draws its excerpts, masks, distractors and Gumbel noise from a generator seeded with
    (`seed`, step), so a resumed run takes the same steps as one that was never interrupted.

    Parameters
    ----------
    waves : int16 array (clips, samples) at 16 kHz
    out_dir : path
        Receives ``checkpoint.pt``, ``curve.csv``, and at the end ``model.safetensors`` and ``config.json``, which
        :func:`genre_utils.models.wav2vec.load_backbone` reads.
    steps : int
        Length of the whole run: learning rate (`learning_rate` at most) and Gumbel temperature are functions of
        step / steps.
    window_s : float
        Length of the excerpts, in seconds.
    config : Wav2Vec2Config, optional
        :func:`genre_utils.models.wav2vec.small_config` by default.
    val_waves : int16 array (clips, samples), optional
        Held-out clips; scored whenever a checkpoint is written (every `save_every` steps).
    probe : callable, optional
        Model in eval mode -> accuracy of a genre probe on its states; asked every `probe_every` steps (a multiple of
        `save_every`) and at the end. It watches; nothing is chosen by it.

    Raises
    ------
    CheckpointError
        If ``checkpoint.pt`` is damaged or belongs to other settings.
    GenreError
        If the clips are shorter than the window, or the gradient is not finite.
    """
    out_dir, objective = Path(out_dir), objective or Objective()
    samples = round(window_s * RATE_HZ)
    if waves.ndim != 2 or waves.shape[1] < samples:
        raise GenreError(
            f"pre-training needs clips of at least {window_s} s ({samples} samples), "
            f"not an array of shape {waves.shape}: render longer clips or pass a smaller window_s"
        )
    if objective.clip_weight and (batch_size % 2 or waves.shape[1] < 2 * samples):
        raise GenreError(
            f"the same-clip task needs an even batch and room for two excerpts of {window_s} s in a clip, "
            f"not batch_size {batch_size} and {waves.shape[1] / RATE_HZ:g} s: change one, or set clip_weight to 0"
        )
    checkpoint, curve = out_dir / "checkpoint.pt", out_dir / CURVE

    torch.manual_seed(seed)
    model = Wav2Vec2ForPreTraining(config or small_config(num_negatives=objective.num_negatives)).to(device).train()
    bf16 = precision_of(device, model) == "bf16"
    auxiliary = _auxiliary(objective, model, waves, samples, seed)
    parameters = [*model.parameters(), *(auxiliary.parameters() if auxiliary else ())]
    decayed = [  # matrices and kernels, not biases and the gains of norms
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(decayed, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
    parts = {"model": model, "optimiser": optimiser} | ({"auxiliary": auxiliary} if auxiliary else {})
    key = json.dumps({
        "steps": steps, "batch_size": batch_size, "samples": samples, "learning_rate": learning_rate,
        "warmup": WARMUP, "seed": seed, "objective": asdict(objective), "weight_decay": WEIGHT_DECAY,
        "clip_norm": CLIP_NORM, "bf16": bf16, "music": hashlib.sha256(np.ascontiguousarray(waves)).hexdigest(),
        "config": {k: v for k, v in model.config.to_diff_dict().items() if k != "transformers_version"},
    }, sort_keys=True)  # fmt: skip
    done, before, rows = 0, 0.0, []
    if resume and checkpoint.is_file():
        done, before = _load_checkpoint(checkpoint, parts, key)
        written = pd.read_csv(curve).to_dict("records") if curve.is_file() else []
        rows = [row for row in written if row["step"] <= done]
    started = time.perf_counter()
    bar = tqdm(total=steps, initial=done, desc="pre-training", unit="step", disable=not progress, mininterval=1.0)

    for step in range(done, steps):
        rng = np.random.default_rng([seed, step])
        torch.manual_seed(int(rng.integers(2**62)))
        rate, temperature = rate_at(step, steps=steps, peak=learning_rate), temperature_at(step, steps=steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        model.set_gumbel_temperature(temperature)
        batch = _batch(rng, waves, model, batch_size, samples, objective)
        with autocast(model, bf16):
            terms = contrastive_terms(model, *batch, auxiliary)
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        if not torch.isfinite(norm):
            raise GenreError(
                f"the gradient is not finite at step {step}: lower learning_rate ({learning_rate:g}) "
                f"and delete {checkpoint}"
            )
        optimiser.step()
        bar.update()

        number = step + 1
        saving = number % save_every == 0 or number == steps
        if number % log_every == 0 or saving or step == 0:
            row = {name: float(value.detach()) for name, value in terms.items()}
            row |= {"step": number, "grad_norm": float(norm), "temperature": temperature, "learning_rate": rate}
            if saving and val_waves is not None:
                ask = {"samples": samples, "objective": objective, "batch_size": batch_size, "bf16": bf16}
                score = validate(model, val_waves, auxiliary=auxiliary, **ask)
                row["val_loss"] = score["contrastive"]
                row |= {f"val_{k}": score.get(k) for k in ("accuracy", "perplexity", "log_mel", "same_clip")}
            if saving and probe is not None and (number % probe_every == 0 or number == steps):
                row["probe"] = probe(model.eval())
                model.train()
            row["seconds"] = before + time.perf_counter() - started
            rows.append(row)
            bar.set_postfix({k: f"{row[k]:.2f}" for k in ("contrastive", "accuracy", "perplexity")})
        if saving:
            states = {name: part.state_dict() for name, part in parts.items()}
            buffer = io.BytesIO()
            torch.save(states | {"step": number, "seconds": row["seconds"], "key": key}, buffer)
            table = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, float_format="%.6g")
            write_whole(curve, table.encode())  # first: rows beyond the checkpoint's step are left out when it is read
            write_whole(checkpoint, buffer.getvalue())
    bar.close()
    save_backbone(model, out_dir)
    return model.eval()

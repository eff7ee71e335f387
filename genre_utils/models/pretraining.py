"""Pre-train a small wav2vec 2.0 on unlabelled music. The network is :class:`transformers.Wav2Vec2ForPreTraining`, the
objective that of :mod:`genre_utils.models.contrastive`; what is here is the loop around them."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.device import autocast, in_bf16
from genre_utils.errors import CheckpointError, GenreError
from genre_utils.models.contrastive import (
    RATE_HZ,
    Auxiliary,
    Objective,
    contrastive_terms,
    sample_mask,
    sample_negatives,
    sample_windows,
)
from genre_utils.models.wav2vec import save_backbone, small_config

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
COLUMNS = (
    "step", "loss", "contrastive", "diversity", "accuracy", "perplexity", "log_mel", "same_clip", "grad_norm",
    "temperature", "learning_rate", "val_loss", "val_accuracy", "val_perplexity", "val_log_mel", "val_same_clip", "probe",
    "seconds",
)  # fmt: skip


def _batch(rng, waves, model, clips: int, samples: int, objective: Objective):
    wave = sample_windows(rng, waves, clips, samples, pairs=objective.clip_weight > 0)
    frames = int(model._get_feat_extract_output_lengths(samples))
    mask = sample_mask(rng, clips, frames, objective)
    negatives = sample_negatives(rng, mask, objective)
    return tuple(t.to(model.device) for t in (wave, torch.from_numpy(mask), torch.from_numpy(negatives)))


@torch.no_grad()
def validate(
    model: Wav2Vec2ForPreTraining,
    waves: np.ndarray,
    *,
    samples: int,
    objective: Objective,
    batch_size: int = 12,
    batches: int = 8,
    bf16: bool | None = None,
    auxiliary: Auxiliary | None = None,
) -> dict[str, float]:
    """Mean terms over the same `batches` batches of held-out clips each time it is called (hard
    codewords)."""
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


def rate_at(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """Learning rate of `step`: linear warm-up over the fraction `warmup`, then a cosine down to 2 %
    of `peak`."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def temperature_at(step: int, *, steps: int, start: float = 2.0, end: float = 0.5) -> float:
    """Gumbel temperature of `step`: exponential from `start`, at `end` after 70 % of the run
    (fairseq's shape)."""
    return max(end, start * (end / start) ** (step / max(1.0, 0.7 * steps)))


def _save_checkpoint(path: Path, model, auxiliary, optimiser, step: int, seconds: float, key: dict) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {"model": model.state_dict(), "auxiliary": auxiliary.state_dict() if auxiliary else {},
         "optimiser": optimiser.state_dict(), "step": step, "seconds": seconds, "key": json.dumps(key, sort_keys=True)},
        partial,
    )  # fmt: skip
    os.replace(partial, path)


def _load_checkpoint(path: Path, model, auxiliary, optimiser, key: dict) -> tuple[int, float]:
    try:
        saved = torch.load(path, map_location=model.device, weights_only=True)
        same = json.loads(saved["key"]) == json.loads(json.dumps(key))
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}): delete it to start the pre-training again"
        ) from error
    if not same:
        raise CheckpointError(
            f"{path} belongs to a pre-training with other settings or data: delete it, "
            "choose another folder, or pass resume=False to overwrite it"
        )
    model.load_state_dict(saved["model"])
    if auxiliary is not None:
        auxiliary.load_state_dict(saved["auxiliary"])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["step"], saved["seconds"]


def _rows(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


def _write_rows(path: Path, rows: list[dict]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: ("" if row.get(k) is None else f"{row[k]:.6g}") for k in COLUMNS})
    os.replace(partial, path)


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict]:
    """Weight decay on matrices and kernels only, not on biases and normalisation gains."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _auxiliary(objective: Objective, model, waves: np.ndarray, samples: int, seed: int) -> Auxiliary | None:
    """The further tasks, if `objective` has any."""
    if not (objective.mel_weight or objective.clip_weight):
        return None
    examples = sample_windows(np.random.default_rng([seed, 5]), waves, min(320, len(waves)), samples)
    frames = int(model._get_feat_extract_output_lengths(samples))
    return Auxiliary(objective, model.config.hidden_size, examples, frames).to(model.device).train()


def pretrain(
    waves: np.ndarray,
    out_dir: Path | str,
    *,
    steps: int,
    batch_size: int = 12,
    window_s: float = 3.0,
    learning_rate: float = 1e-3,
    warmup: float = 0.08,
    seed: int = 0,
    objective: Objective | None = None,
    config: Wav2Vec2Config | None = None,
    val_waves: np.ndarray | None = None,
    probe: Callable[[Wav2Vec2ForPreTraining], float] | None = None,
    probe_every: int = 1000,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    log_every: int = 25,
    save_every: int = 250,
    bf16: bool | None = None,
    device: str | torch.device = "cpu",
    resume: bool = True,
    progress: bool = True,
    stop_after: int | None = None,
) -> Wav2Vec2ForPreTraining:
    """Pre-train a wav2vec 2.0 contrastively; interrupted at any point, it continues where it was.

    Every step draws its excerpts, masks, distractors and Gumbel noise from a generator seeded with
    (`seed`, step), so a resumed run takes the same steps as one that was never interrupted.

    Parameters
    ----------
    waves : int16 array or memmap (clips, samples) at 16 kHz
    out_dir : path
        Receives ``checkpoint.pt`` (while running), ``curve.csv``, and at the end ``model.safetensors`` and
        ``config.json``, which :func:`genre_utils.models.wav2vec.load_backbone` reads.
    steps : int
        Length of the whole run: learning rate and Gumbel temperature are functions of step / steps.
    window_s : float
        Length of the excerpts, in seconds.
    learning_rate, warmup : float
        Peak rate, and the fraction of `steps` over which it is reached (cosine afterwards).
    objective : Objective, optional
        Masks and negatives.
    config : Wav2Vec2Config, optional
        :func:`genre_utils.models.wav2vec.small_config` by default.
    val_waves : int16 array (clips, samples), optional
        Held-out clips; scored whenever a checkpoint is written (every `save_every` steps).
    probe : callable, optional
        Model in eval mode -> accuracy of a genre probe on its states, such as :func:`genre_utils.experiments.pretraining.genre_probe` makes; asked every
        `probe_every` steps (a multiple of `save_every`) and at the end. It watches; nothing is chosen by it.
    bf16 : bool, optional
        Compute in bfloat16 (autocast); weights stay float32. By default where the hardware has it and gets it right,
        see :func:`genre_utils.device.precision_of`.
    stop_after : int, optional
        Stop (with a checkpoint) after this many steps, as an interruption would.

    Returns
    -------
    transformers.Wav2Vec2ForPreTraining
        In eval mode.

    Raises
    ------
    CheckpointError
        If ``checkpoint.pt`` is damaged or belongs to other settings.
    GenreError
        If the clips are shorter than the window.
    """
    out_dir, device = Path(out_dir), torch.device(device)
    objective = objective or Objective()
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
    out_dir.mkdir(parents=True, exist_ok=True)
    checkpoint, curve = out_dir / CHECKPOINT, out_dir / CURVE

    torch.manual_seed(seed)
    model = (
        Wav2Vec2ForPreTraining(config or small_config(num_negatives=objective.num_negatives))
        .to(device)
        .train()
    )
    bf16 = in_bf16(model, bf16, device)
    auxiliary = _auxiliary(objective, model, waves, samples, seed)
    parameters = [*model.parameters(), *(auxiliary.parameters() if auxiliary else ())]
    optimiser = torch.optim.AdamW(
        _decay_groups(parameters, weight_decay), lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True
    )
    key = {
        "steps": steps, "batch_size": batch_size, "samples": samples, "learning_rate": learning_rate,
        "warmup": warmup, "seed": seed, "objective": asdict(objective), "weight_decay": weight_decay,
        "clip_norm": clip_norm, "bf16": bf16, "clips": list(waves.shape), "first_clip": int(np.abs(waves[0]).sum()),
        "config": {k: v for k, v in model.config.to_diff_dict().items() if k != "transformers_version"},
    }  # fmt: skip
    done, before, rows = 0, 0.0, []
    if resume and checkpoint.is_file():
        done, before = _load_checkpoint(checkpoint, model, auxiliary, optimiser, key)
        rows = [row for row in _rows(curve) if row["step"] <= done]
    started = time.perf_counter()
    last = steps if stop_after is None else min(steps, stop_after)
    bar = tqdm(
        total=steps, initial=done, desc="pre-training", unit="step", disable=not progress, mininterval=1.0
    )

    for step in range(done, last):
        rng = np.random.default_rng([seed, step])
        torch.manual_seed(int(rng.integers(2**62)))
        rate = rate_at(step, steps=steps, peak=learning_rate, warmup=warmup)
        temperature = temperature_at(step, steps=steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        model.set_gumbel_temperature(temperature)
        batch = _batch(rng, waves, model, batch_size, samples, objective)
        with autocast(model, bf16):
            terms = contrastive_terms(model, *batch, auxiliary)
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
        if not torch.isfinite(norm):
            raise GenreError(
                f"the gradient is not finite at step {step}: lower learning_rate ({learning_rate:g}) and delete "
                f"{checkpoint}"
            )
        optimiser.step()
        bar.update()

        number = step + 1
        saving = number % save_every == 0 or number == last
        if number % log_every == 0 or saving or step == 0:
            row = {name: float(value.detach()) for name, value in terms.items()}
            row |= {
                "step": number,
                "grad_norm": float(norm),
                "temperature": temperature,
                "learning_rate": rate,
            }
            if saving and val_waves is not None:
                score = validate(
                    model, val_waves, samples=samples, objective=objective, batch_size=batch_size, bf16=bf16,
                    auxiliary=auxiliary,
                )  # fmt: skip
                row["val_loss"] = score["contrastive"]
                row |= {f"val_{k}": score.get(k) for k in ("accuracy", "perplexity", "log_mel", "same_clip")}
            if saving and probe is not None and (number % probe_every == 0 or number == steps):
                row["probe"] = probe(model.eval())
                model.train()
            row["seconds"] = before + time.perf_counter() - started
            rows.append(row)
            bar.set_postfix({k: f"{row[k]:.2f}" for k in ("contrastive", "accuracy", "perplexity")})
        if saving:
            _write_rows(curve, rows)
            _save_checkpoint(checkpoint, model, auxiliary, optimiser, number, row["seconds"], key)
    bar.close()
    if last == steps:
        save_backbone(model, out_dir)
    return model.eval()

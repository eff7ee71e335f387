"""Make the small backbone again: its music, a probe to watch it by, and the copy into the package.

    python workflow/pretrain.py --help
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.audio import load_audio
from genre_utils.corpora.synthetic import synthetic_corpus
from genre_utils.device import default_device
from genre_utils.errors import CheckpointError
from genre_utils.experiments.material import Material
from genre_utils.identity import check_seed
from genre_utils.models.pretraining import CURVE, RATE_HZ, Objective, pretrain
from genre_utils.models.svm import fit_probe
from genre_utils.models.wav2vec import Backbone, pool_states, save_backbone
from genre_utils.paths import home, package_data
from genre_utils.profiles import GENRES

#: Far from the seeds of the profiles' corpora, whose test clips must not be among these.
FIRST_SEED = 1_000
#: The recipe of the shipped backbone: clips to render and how many of them are held out, seconds of an excerpt, the tasks.
CLIPS, HELD_OUT, WINDOW_S, OBJECTIVE = 3200, 96, 2.0, Objective(mel_weight=2.0, clip_weight=1.0)


def render_unlabelled(n_clips: int, clip_s: float = 10.0, *, progress: bool = True) -> np.ndarray:
    """Clips of `clip_s` seconds to pre-train on: int16, shape (clips, samples), at 16 kHz, in random order.

    `n_clips` is rounded up to a whole number of clips per genre, less those that are planted as unusable. Clips
    already rendered are found again (see :func:`genre_utils.corpora.synthetic.synthetic_corpus`).
    """
    # Many seeds of 40 clips a genre rather than one large corpus: every seed brings new artists.
    per_genre, files = math.ceil(n_clips / len(GENRES)), []
    for part in range(math.ceil(per_genre / 40)):
        clips = min(40, per_genre - 40 * part)
        files += [clip.path for clip in synthetic_corpus(clips, clip_s, seed=FIRST_SEED + part, progress=progress)]
    order = np.random.default_rng(FIRST_SEED).permutation(len(files))
    waves = np.zeros((len(files), round(clip_s * RATE_HZ)), dtype=np.int16)
    for row, index in zip(waves, tqdm(order, desc="resampling", unit="clip", disable=not progress), strict=True):
        wave = load_audio(files[index], rate_hz=RATE_HZ)[0][: len(row)]
        row[: len(wave)] = np.clip(np.round(wave * 32767), -32768, 32767)
    return waves


def genre_probe(seconds: float = 3.0) -> Callable[[Wav2Vec2ForPreTraining], float]:
    """A probe to watch a pre-training by: genres of the profile mini, from the middle `seconds` of each clip.

    A linear classifier on the pooled states of each layer learns from the training clips and is scored on the
    validation clips; the result is the mean over the layers. Test clips stay out of it.
    """
    material = Material("mini", progress=False)
    train, val, _ = material.parts()
    length = round(seconds * RATE_HZ)
    start = (material.waves.shape[1] - length) // 2
    heard = [torch.from_numpy(material.waves[part, start : start + length]) for part in (train, val)]
    y_train, y_val = material.y[train], material.y[val]

    @torch.inference_mode()
    def pooled(backbone: Backbone, clips: torch.Tensor) -> np.ndarray:
        device = backbone.model.device
        states = [pool_states(backbone.hidden_states(batch.to(device))).cpu() for batch in clips.split(16)]
        return torch.cat(states).numpy()

    def probe(model: Wav2Vec2ForPreTraining) -> float:
        x_train, x_val = (pooled(Backbone(model.wav2vec2, "probed"), clips) for clips in heard)
        scores = [fit_probe(x_train[:, i], y_train, x_val[:, i], y_val)[1] for i in range(x_train.shape[1])]
        return float(np.mean(scores))

    return probe


def ship(run_dir: Path | str, folder: Path | str | None = None) -> Path:
    """Copy a finished pre-training (a CheckpointError if it is not) to where ``load_backbone("shipped")`` finds it.

    Half-precision weights, configuration and curve go from `run_dir`, where
    :func:`genre_utils.models.pretraining.pretrain` left them, to ``genre_utils/data/backbone`` or to `folder`.
    """
    run_dir, folder = Path(run_dir), Path(folder or package_data("backbone"))
    if not (run_dir / "model.safetensors").is_file():
        raise CheckpointError(f"{run_dir} holds no finished pre-training: run pretrain() to its last step first")
    model = Wav2Vec2ForPreTraining(Wav2Vec2Config.from_pretrained(run_dir))
    model.load_state_dict(load_file(run_dir / "model.safetensors"))
    folder.mkdir(parents=True, exist_ok=True)
    save_backbone(model.half(), folder)
    shutil.copyfile(run_dir / CURVE, folder / CURVE)
    return folder


def main(
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: build/pretrain).")] = None,
    steps: Annotated[int, typer.Option(min=1)] = 10_000,
    clips: Annotated[int, typer.Option(min=HELD_OUT + 5, help=f"Clips of 10 s to render; {HELD_OUT} of them are held out.")] = CLIPS,
    mel_weight: Annotated[float, typer.Option(min=0, help="Weight of naming each frame's log-mel bands.")] = OBJECTIVE.mel_weight,
    clip_weight: Annotated[float, typer.Option(min=0, help="Weight of finding the clip's other excerpt.")] = OBJECTIVE.clip_weight,
    seed: Annotated[str, typer.Option(help="Of everything that is drawn.")] = "0",
    probe: Annotated[bool, typer.Option(help="Every 1000 steps, how much of the genre can be read.")] = True,
    to_package: Annotated[bool, typer.Option("--ship", help="Put the result into the package, as its backbone.")] = False,
) -> None:
    """Pre-train the small wav2vec 2.0 on rendered music; goes on where it was interrupted."""
    number, folder = check_seed(seed), out or home() / "build" / "pretrain"
    waves = render_unlabelled(clips)
    pretrain(
        waves[HELD_OUT:],
        folder,
        val_waves=waves[:HELD_OUT],
        steps=steps,
        window_s=WINDOW_S,
        objective=Objective(mel_weight=mel_weight, clip_weight=clip_weight),
        probe=genre_probe() if probe else None,
        seed=number,
        device=default_device(),
    )
    print(f"The pre-trained model is in {folder}")
    if to_package:
        print(f"Shipped to {ship(folder)}")


if __name__ == "__main__":
    typer.run(main)

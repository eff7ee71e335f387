"""Guess the genre of any audio file with the models of one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genre_utils.audio import load_audio
from genre_utils.comparison import command
from genre_utils.errors import CheckpointError, RunError
from genre_utils.features import MelSettings, clip_statistics, fit_length, frozen_states, mel_unit
from genre_utils.identity import CONCERNS, Identity
from genre_utils.models.saved import load_model
from genre_utils.models.svm import load_svm
from genre_utils.models.wav2vec import load_backbone
from genre_utils.profiles import Profile
from genre_utils.records import RECORD, RunCard
from genre_utils.windows import predict_clips

#: From what is heard to class probabilities, shape (n_genres,). What is heard: the middle of the file at a rate in
#: hertz, as long as the profile's clips, float32 (samples,).
Predictor = Callable[[Callable[[int], np.ndarray]], np.ndarray]


def _predictor(approach: str, folder: Path, profile: Profile) -> Predictor:
    """The model that a run has left in `folder`."""
    if approach == "svm":
        svm, rate_hz = load_svm(folder), profile.mel_rate_hz
        return lambda hear: svm.predict_proba(clip_statistics(hear(rate_hz), rate_hz)[None])[0]
    model = load_model(folder)
    if approach == "cnn":
        settings = MelSettings(rate_hz=profile.mel_rate_hz)
        frames = settings.frames(round(profile.cnn.window_s * settings.rate_hz))
        return lambda hear: predict_clips(model, mel_unit(hear(settings.rate_hz), settings)[None, None], frames)[0]
    if approach == "full":
        window = round(profile.full.window_s * profile.wave_rate_hz)
        return lambda hear: predict_clips(model, hear(profile.wave_rate_hz)[None], window, batch_size=8)[0]
    backbone = load_backbone(profile.backbone, profile.backbone_revision)
    if model.meta.get("backbone", backbone.fingerprint) != backbone.fingerprint:
        raise CheckpointError(
            f"the head in {folder} was trained on other weights than {backbone.name} has now: run chapter 4 again"
        )
    states = partial(frozen_states, backbone, window_s=model.meta.get("window_s"), progress=False)
    return lambda hear: predict_clips(model, states(hear(backbone.rate_hz)[None]))[0]


class Model(NamedTuple):
    """A trained model that can be asked, and what it was trained on, in a sentence."""

    predict: Predictor
    learned_from: str


def _learned_from(card: RunCard) -> str:
    return (
        f"{card.title}: trained on {card.split.counts['train']} clips of the corpus {card.corpus.name} (profile "
        f"{card.profile}, split {card.split.name}, seed {card.seed}); {card.accuracy} on its {card.accuracy.n} test clips"
    )


def load_models(run: Identity) -> dict[str, Model]:
    """The model of each approach that `run` has left; those of other runs are never mixed in.

    A RunError if there is none yet, a CheckpointError if a model's files are damaged.
    """
    folders = {name: run.folder(name) for name in CONCERNS if (run.folder(name) / RECORD).is_file()}
    found = {
        name: Model(_predictor(name, folder, run.profile), _learned_from(RunCard.load(folder / RECORD)))
        for name, folder in folders.items()
    }
    if not found:
        raise RunError(f"there is no model of the run ({run}): train some first, for example with\n    {command(run)}")
    return found


def predict_file(path: Path, models: dict[str, Model], profile: Profile, *, top: int = 3) -> dict[str, list[dict]]:
    """The `top` likeliest genres of one file according to each model, likeliest first; an AudioError if it is no audio.

    ``profile.clip_s`` seconds from the middle of the file are heard; a shorter file is repeated.
    """

    def hear(rate_hz: int) -> np.ndarray:
        wave, _ = load_audio(path, rate_hz=rate_hz)
        samples = round(profile.clip_s * rate_hz)
        return fit_length(wave[max(0, (len(wave) - samples) // 2) :], samples)

    guesses = {}
    for name, model in models.items():
        scores = model.predict(hear)
        best = np.argsort(scores)[::-1][:top]
        guesses[name] = [{"genre": profile.genres[i], "probability": round(float(scores[i]), 4)} for i in best]
    return guesses

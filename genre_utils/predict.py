"""Guess the genre of any audio file with the models of the last run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from genre_utils.audio import load_audio
from genre_utils.errors import CheckpointError, RunError
from genre_utils.features import MelSettings, clip_statistics, fit_length, frozen_states, mel_unit
from genre_utils.paths import runs_dir
from genre_utils.profiles import Profile

#: Returns the middle of the file at a rate in hertz, as long as the profile's clips: float32 (samples,).
Hear = Callable[[int], np.ndarray]
#: From what is heard to class probabilities, shape (n_genres,).
Predictor = Callable[[Hear], np.ndarray]


def _svm(folder: Path, profile: Profile) -> Predictor:
    from genre_utils.models.svm import load_svm

    model, rate_hz = load_svm(folder), profile.mel_rate_hz
    return lambda hear: model.predict_proba(clip_statistics(hear(rate_hz), rate_hz)[None])[0]


def _cnn(folder: Path, profile: Profile) -> Predictor:
    from genre_utils.training import load_model, predict_clips

    model, settings = load_model(folder), MelSettings(rate_hz=profile.mel_rate_hz)
    window = settings.frames(round(profile.cnn.window_s * settings.rate_hz))
    return lambda hear: predict_clips(model, mel_unit(hear(settings.rate_hz), settings)[None, None], window)[0]


def _head_only(folder: Path, profile: Profile) -> Predictor:
    from genre_utils.models.wav2vec import load_backbone
    from genre_utils.training import load_model, predict_clips

    model, backbone = load_model(folder), load_backbone(profile.backbone, profile.backbone_revision)
    if model.meta.get("backbone", backbone.fingerprint) != backbone.fingerprint:
        raise CheckpointError(
            f"the head in {folder} was trained on another backbone than {backbone.name}: name that one with --backbone, "
            "or run chapter 4 again"
        )
    states = partial(frozen_states, backbone, window_s=model.meta.get("window_s"), progress=False)
    return lambda hear: predict_clips(model, states(hear(backbone.rate_hz)[None]))[0]


def _full(folder: Path, profile: Profile) -> Predictor:
    from genre_utils.training import load_model, predict_clips

    model, rate_hz = load_model(folder), profile.wave_rate_hz
    window = round(profile.full.window_s * rate_hz)
    return lambda hear: predict_clips(model, hear(rate_hz)[None], window, batch_size=8)[0]


_LOADERS = {"svm": _svm, "cnn": _cnn, "head-only": _head_only, "full": _full}


def score_windows(
    model, wave: np.ndarray, rate_hz: int, middles_s: np.ndarray, window_s: float
) -> np.ndarray:
    """Class probabilities of windows along one clip, shape (m, n_genres).

    Parameters
    ----------
    model : nn.Module or classifier
        A CNN on mel-spectrograms (:func:`genre_utils.training.load_model`), or a fitted classifier of the 57
        statistics with ``predict_proba`` (:func:`genre_utils.models.svm.load_svm`).
    wave : ndarray, shape (n,)
        The whole clip: the CNN's spectrogram is scaled by the clip, as in training.
    rate_hz : int
    middles_s : ndarray, shape (m,)
        Middles of the windows; at the clip's ends a window is moved inwards.
    window_s : float
    """
    starts_s = np.clip(np.asarray(middles_s) - window_s / 2, 0, max(len(wave) / rate_hz - window_s, 0))
    if hasattr(model, "predict_proba"):
        cuts = (wave[int(a * rate_hz) : int((a + window_s) * rate_hz)] for a in starts_s)
        return model.predict_proba(np.stack([clip_statistics(cut, rate_hz) for cut in cuts]))
    from genre_utils.training import predict_clips

    settings = MelSettings(rate_hz=rate_hz)
    mel, size = mel_unit(wave, settings), settings.frames(round(window_s * rate_hz)) - 1
    at = np.clip(starts_s * rate_hz / settings.hop_length, 0, max(mel.shape[1] - size, 0)).astype(int)
    return predict_clips(model, np.stack([mel[None, :, a : a + size] for a in at]))


def load_predictors(profile: Profile) -> dict[str, Predictor]:
    """One predictor for each approach whose model the last run of `profile` left.

    Raises
    ------
    RunError
        If there is none yet.
    CheckpointError
        If a model's files are damaged.
    """
    base = runs_dir(profile.name)
    found = {name: load(base / name, profile) for name, load in _LOADERS.items() if (base / name).is_dir()}
    if not found:
        raise RunError(
            f"no model of the profile {profile.name} in {base}: train some first, for example with\n"
            f"    python -m genre_utils run --profile {profile.name} --chapters 2,4,5"
        )
    return found


def predict_file(
    path: Path, predictors: dict[str, Predictor], profile: Profile, *, top: int = 3
) -> dict[str, list[dict]]:
    """The `top` likeliest genres of one file according to each predictor, likeliest first.

    The models know clips of ``profile.clip_s`` seconds, so that much from the middle of the file is heard; a
    shorter file is repeated.

    Raises
    ------
    AudioError
        If the file is not usable audio.
    """

    def hear(rate_hz: int) -> np.ndarray:
        wave, _ = load_audio(path, rate_hz=rate_hz)
        samples = round(profile.clip_s * rate_hz)
        return fit_length(wave[max(0, (len(wave) - samples) // 2) :], samples)

    guesses = {}
    for name, predictor in predictors.items():
        scores = predictor(hear)
        best = np.argsort(scores)[::-1][:top]
        guesses[name] = [{"genre": profile.genres[i], "probability": round(float(scores[i]), 4)} for i in best]
    return guesses

"""Guess the genre of any audio file: with MusiCNN and what its tags of real music say, and with the models of one run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile as sf

from genre_utils.audio import SHORTEST_S, open_audio, resample, silent_share, to_mono
from genre_utils.comparison import command
from genre_utils.errors import AudioError, CheckpointError, RunError
from genre_utils.features import (
    FEATURE_NAMES,
    MelSettings,
    clip_statistics,
    fit_length,
    frozen_states,
    mel_unit,
)
from genre_utils.identity import CONCERNS, Identity
from genre_utils.models import musicnn
from genre_utils.models.svm import load_svm
from genre_utils.paths import package_data
from genre_utils.profiles import Profile
from genre_utils.records import RECORD, RunCard
from genre_utils.windows import predict_clips, softmax, window_starts

#: From what is heard to class probabilities, (k, n_genres). What is heard: k excerpts at a rate in hertz, each as long
#: as the profile's clips, float32 (k, samples).
Predictor = Callable[[Callable[[int], np.ndarray]], np.ndarray]
#: Endings of the files that are taken from a folder.
SOUNDS = (".wav", ".wave", ".w64", ".rf64", ".au", ".aif", ".aiff", ".caf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4",
          ".aac", ".wma")  # fmt: skip
#: Of a longer file so many evenly spaced excerpts are heard.
EXCERPTS = 12


def _predictor(approach: str, folder: Path, profile: Profile) -> Predictor:
    """The network that a run has left in `folder`."""
    # Here, not above: 170 MB and some seconds that MusiCNN and the SVM do not need.
    from genre_utils.models.saved import load_model
    from genre_utils.models.wav2vec import load_backbone

    model = load_model(folder)
    rate_hz = profile.wave_rate_hz if profile.resampled else profile.mel_rate_hz  # as waves() gave them in training
    if approach == "cnn":
        settings = MelSettings(rate_hz=profile.mel_rate_hz)
        frames = settings.frames(round(profile.cnn.window_s * settings.rate_hz))
        return lambda hear: predict_clips(model, np.stack([mel_unit(w, settings) for w in hear(settings.rate_hz)])[:, None], frames)
    if approach == "full":
        window = round(profile.full.window_s * profile.wave_rate_hz)
        return lambda hear: predict_clips(model, hear(rate_hz), window, batch_size=8)
    backbone = load_backbone(profile.backbone, profile.backbone_revision)
    if model.meta.get("backbone", backbone.fingerprint) != backbone.fingerprint:
        raise CheckpointError(
            f"the head in {folder} was trained on other weights than {backbone.name} has now: run chapter 4 again"
        )
    states = partial(frozen_states, backbone, window_s=model.meta.get("window_s"), progress=False)
    return lambda hear: predict_clips(model, states(hear(rate_hz)))


class Model(NamedTuple):
    """A trained model that can be asked, what it was trained on, in a sentence, and its genres."""

    predict: Predictor
    learned_from: str
    genres: Sequence[str]
    #: What else it says of what is heard: ``tags``, ``nearest``, ``notes``.
    asides: Callable[[Callable[[int], np.ndarray]], dict] = lambda hear: {}


def _level(waves: np.ndarray) -> float:
    """Mean RMS of excerpts (k, samples), full scale = 1."""
    return float(librosa.feature.rms(y=waves, pad_mode="reflect").mean())


class Classical:
    """The SVM of a run, asked about excerpts at a level like that of its training clips: the networks of a run hardly mind
    the level, the 57 statistics do."""

    def __init__(self, folder: Path, profile: Profile):
        (self.svm, self.features, self.clips), self.rate_hz = load_svm(folder), profile.mel_rate_hz
        self.levels = np.percentile(self.features[:, FEATURE_NAMES.index("rms_mean")], [0, 50, 100])
        self.statistics = lru_cache(maxsize=1)(self._statistics)

    def _gain(self, level: float) -> float:
        """1, or for a level that no training clip has, what makes it their median."""
        return 1.0 if self.levels[0] <= level <= self.levels[2] else self.levels[1] / level

    def _statistics(self, hear: Callable[[int], np.ndarray]) -> np.ndarray:
        waves = hear(self.rate_hz)
        return np.stack([clip_statistics(wave, self.rate_hz) for wave in waves * np.float32(self._gain(_level(waves)))])

    def predict(self, hear: Callable[[int], np.ndarray]) -> np.ndarray:
        return self.svm.predict_proba(self.statistics(hear))

    def asides(self, hear: Callable[[int], np.ndarray]) -> dict:
        """The three training clips whose standardised features are nearest; what to say of a level that had to be changed, and
        of sound so unlike all of them that the SVM falls back on how frequent each genre is."""
        gaps = (self.features - self.statistics(hear).mean(axis=0)) / (self.features.std(axis=0) + 1e-9)
        far = np.square(gaps).sum(axis=1)
        nearest, level, notes = [str(self.clips[i]) for i in np.argsort(far)[:3]], _level(hear(self.rate_hz)), []
        if far.min() > 7 * len(FEATURE_NAMES):  # the kernel is below a thousandth for every training clip
            notes.append("its statistics are unlike those of every training clip: what the svm says of it means nothing")
        if self._gain(level) != 1.0:
            own, low, high = (f"{20 * np.log10(max(x, 1e-9)):.1f}" for x in (level, *self.levels[[0, 2]]))
            notes.append(f"its level ({own} dB) is unlike that of the training clips ({low} to {high} dB): for the svm it was brought to theirs")
        return {"nearest": nearest, "notes": notes}


class Tags:
    """MusiCNN's tags, and a weighted sum of them for each genre, learned from real clips of GTZAN; every file is heard at one
    level, the median of those clips."""

    def __init__(self) -> None:
        self.reader = json.loads(package_data("musicnn", "genres.json").read_text(encoding="utf-8"))
        self.scores = lru_cache(maxsize=1)(self._scores)

    def _scores(self, hear: Callable[[int], np.ndarray]) -> np.ndarray:
        waves = hear(musicnn.RATE_HZ)
        gain = np.float32(self.reader["level"] / max(_level(waves), 1e-9))
        return np.stack([musicnn.hear(wave)["tags"].mean(axis=0) for wave in waves * gain])

    def predict(self, hear: Callable[[int], np.ndarray]) -> np.ndarray:
        mean, deviation, weights, bias = (np.array(self.reader[name]) for name in ("mean", "deviation", "weights", "bias"))
        return softmax((self.scores(hear) - mean) / deviation @ weights.T + bias)

    def asides(self, hear: Callable[[int], np.ndarray]) -> dict:
        """The likeliest tags with their scores."""
        mean = self.scores(hear).mean(axis=0)
        return {"tags": {musicnn.TAGS[i]: round(float(mean[i]), 3) for i in np.argsort(-mean)[:5]}}


def real_music() -> dict[str, Model]:
    """What comes with the book and has learned from real music."""
    tags = Tags()
    return {"tags": Model(tags.predict, tags.reader["learned from"], tags.reader["genres"], tags.asides)}


def _learned_from(card: RunCard) -> str:
    return (
        f"{card.title}: trained on {card.split.counts['train']} clips of the corpus {card.corpus.name} (profile "
        f"{card.profile}, split {card.split.name}, seed {card.seed}); {card.accuracy} on its {card.accuracy.n} test clips"
    )


def load_models(run: Identity) -> dict[str, Model]:
    """The model of each approach that `run` has left; those of other runs are never mixed in.

    A RunError if there is none yet, a CheckpointError if a model's files are damaged.
    """
    found = {}
    for name in (name for name in CONCERNS if name != "musicnn"):  # it answers by tags, for which it needs no run
        folder = run.folder(name)
        if (folder / RECORD).is_file():
            about = _learned_from(RunCard.load(folder / RECORD)), run.profile.genres
            if name == "svm":
                classical = Classical(folder, run.profile)
                found[name] = Model(classical.predict, *about, classical.asides)
            else:
                found[name] = Model(_predictor(name, folder, run.profile), *about)
    if not found:
        raise RunError(f"there is no model of the run ({run}): train some first, for example with\n    {command(run)}")
    return found


def sound_files(places: Iterable[Path]) -> list[Path]:
    """The files among `places`, and what has the ending of an audio file in the folders among them and below.

    Left out is what is hidden, such as the ``._song.mp3`` that a Mac keeps beside ``song.mp3``. An AudioError names the
    only folder if it holds none.
    """
    def sounds(folder: Path) -> list[Path]:
        shown = (p for p in sorted(folder.rglob("*")) if not any(part.startswith(".") for part in p.relative_to(folder).parts))
        return [p for p in shown if p.suffix.lower() in SOUNDS and p.is_file()]

    found, places = [], list(places)
    for place in places:
        inside = sounds(place) if os.path.isdir(place) else [place]
        if not inside and len(places) == 1:
            raise AudioError(f"there is no audio file in the folder {place} (endings {', '.join(sorted(SOUNDS))})")
        found += inside or [place]
    return found


def listen(path: Path, length_s: float) -> tuple[float, np.ndarray, list[np.ndarray], int, list[str]]:
    """Length of a file in seconds, starts in seconds of the excerpts that are heard, the excerpts, their rate, and notes.

    The file is opened once, and no more than the excerpts of it are kept. Silent ones are left out; an AudioError says
    if nothing remains.
    """
    with _quiet(), open_audio(path) as file:
        rate_hz, length = file.samplerate, round(length_s * file.samplerate)
        starts, heard, lost = window_starts(file.frames, length, EXCERPTS), [], []
        for start in starts:
            try:
                file.seek(start)
                samples = file.read(length, dtype="float32", always_2d=True)
            except sf.LibsndfileError:  # a damaged spot costs the excerpts that it touches
                samples = np.zeros((0, 1), np.float32)
            if len(samples) < min(length, file.frames - start) - rate_hz:
                lost.append(f"{start / rate_hz:.0f}")
            heard.append(to_mono(samples) if np.isfinite(samples).all() else np.zeros(0, np.float32))
        total_s = file.frames / rate_hz
    good = [i for i, w in enumerate(heard) if len(w) >= SHORTEST_S * rate_hz and silent_share(w, rate_hz) < 0.9]
    if not good:
        where = ", ".join(f"{start / rate_hz:.0f}" for start in starts)
        raise AudioError(f"{path} holds nothing to judge: {total_s:.3f} s, silent or damaged where it was heard ({where} s)")
    notes = [f"the file is damaged: the excerpts from {', '.join(lost)} s could not be read whole"] if lost else []
    return total_s, starts[good] / rate_hz, [heard[i] for i in good], rate_hz, notes


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what decoders print, past Python, about oddities that they then cope with."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def predict_file(path: Path, models: dict[str, Model], clip_s: float, *, top: int = 3) -> dict:
    """What each model says of one file; an AudioError if there is nothing to judge.

    Excerpts of `clip_s` seconds are heard, evenly spaced, :data:`EXCERPTS` at most; a shorter file is repeated.

    Returns
    -------
    dict
        ``seconds`` (of the whole file); ``guesses``: approach -> the `top` likeliest genres with their probability, mean
        over the excerpts; ``along``: for each excerpt its start in seconds and each approach's probabilities of all
        genres; ``tags``: the likeliest with their scores; ``nearest``: names of the nearest training clips, by the 57
        statistics; ``notes``.
    """
    total_s, starts_s, waves, own_hz, notes = listen(path, clip_s)

    @lru_cache
    def hear(rate_hz: int) -> np.ndarray:
        samples = round(clip_s * rate_hz)
        return np.stack([fit_length(resample(wave, own_hz, rate_hz), samples) for wave in waves])

    found = {"seconds": round(total_s, 2), "guesses": {}, "along": [{"start_s": round(float(s), 2)} for s in starts_s],
             "tags": {}, "nearest": [], "notes": notes}  # fmt: skip
    for name, model in models.items():
        scores = model.predict(hear)
        mean = scores.mean(axis=0)
        best = np.argsort(mean)[::-1][:top]
        found["guesses"][name] = [{"genre": model.genres[i], "probability": round(float(mean[i]), 4)} for i in best]
        for moment, row in zip(found["along"], scores, strict=True):
            moment[name] = {genre: round(float(p), 4) for genre, p in zip(model.genres, row, strict=True)}
        aside = model.asides(hear)
        notes += aside.pop("notes", [])
        found |= aside
    return found

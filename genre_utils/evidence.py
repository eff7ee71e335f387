"""What pre-training the small backbone, and the study's protocol, are worth: one record of many seeds a question.

``labels``
    How many labelled clips does a linear probe need on the states of each contestant?
``layers``
    What can be read off each layer?
``fine-tuning``
    Is the whole network, trained on, better for having been pre-trained?
``transfer``
    Does it hold on real music (profile gtzan-mini, artist-grouped folds)?
``protocol``
    What does each choice of the study (:mod:`genre_utils.protocol`), turned on alone, do to both wav2vec 2.0 approaches?

A record keeps, for every seed, which clips were named correctly, so that intervals over seeds and artists, and paired
differences, are computed when it is read. Its seeds are those of the experiment (the labels or folds drawn, the random
weights, the order of training); a pre-trained contestant is one pre-training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from genre_utils import evaluation, runs
from genre_utils.errors import RunError
from genre_utils.paths import recorded_dir

SCHEMA_VERSION = 1
Question = Literal["labels", "layers", "fine-tuning", "transfer", "protocol"]
PROFILE: dict[str, str] = {
    "labels": "mini", "layers": "mini", "fine-tuning": "mini", "transfer": "gtzan-mini", "protocol": "mini",
}  # fmt: skip
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
RANDOM, LOG_MEL, SVM, CNN = "random weights", "log-mel statistics", "SVM on 57 statistics", "CNN from scratch"


class Trial(BaseModel):
    """One contestant with one seed: which clips it named correctly ("1") or not ("0"), in the record's order."""

    model_config = ConfigDict(extra="forbid")

    contestant: str
    seed: int
    labels: int
    layer: int | None = None
    hits: str


class Evidence(BaseModel):
    """The answer to one question, seed by seed."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    question: Question
    profile: str
    corpus: runs.CorpusInfo
    split: str
    clips: list[str]
    artists: list[str]
    #: Fingerprint of each backbone, by the contestant's name.
    backbones: dict[str, str]
    settings: dict[str, Any] = {}
    versions: dict[str, str]
    hardware: dict[str, Any]
    git_commit: str | None
    created: str
    trials: list[Trial]

    @property
    def contestants(self) -> list[str]:
        return list(dict.fromkeys(trial.contestant for trial in self.trials))

    @property
    def sizes(self) -> list[int]:
        """Numbers of training clips, ascending."""
        return sorted({trial.labels for trial in self.trials})

    def layers_of(self, contestant: str) -> list[int]:
        """Layers that `contestant` was probed on, ascending."""
        return sorted({trial.layer for trial in self.trials if trial.contestant == contestant} - {None})

    def hits(self, contestant: str, labels: int | None = None, layer: int | None = None) -> np.ndarray:
        """Which clips each seed got right: bool (seeds, clips); with all labels unless `labels` says how many.

        Raises
        ------
        RunError
            If the record has no such trials.
        """
        labels = self.sizes[-1] if labels is None else labels
        found = {
            trial.seed: [mark == "1" for mark in trial.hits]
            for trial in self.trials
            if trial.contestant == contestant
            and trial.labels == labels
            and (layer is None or trial.layer == layer)
        }
        if not found:
            raise RunError(
                f"the record on {self.question} has no {contestant!r} with {labels} labels"
                + ("" if layer is None else f" and layer {layer}")
                + f"; it has {', '.join(self.contestants)} with {self.sizes}"
            )
        return np.array([found[seed] for seed in sorted(found)])

    def accuracy(
        self, contestant: str, against: str | None = None, labels: int | None = None, layer: int | None = None
    ) -> evaluation.Interval:
        """Mean accuracy of `contestant`, or its lead over `against`, with a 95 % interval over seeds and artists."""
        other = None if against is None else self.hits(against, labels, layer)
        return evaluation.over_seeds(self.hits(contestant, labels, layer), other, self.artists)

    def save(self, folder: Path) -> Path:
        """Write ``<folder>/<question>.json``, whole or not at all."""
        return runs.write_record(folder / f"{self.question}.json", self)

    @classmethod
    def load(cls, question: Question, folder: Path | None = None) -> Evidence:
        """The record on `question` that comes with the book, or the one in `folder`.

        Raises
        ------
        RunError
            If it is missing or damaged.
        """
        folder = folder or recorded_dir("evidence") or Path("book/results/evidence")
        remedy = f"make it with: python -m genre_utils evidence {question}"
        return runs.read_record(cls, folder / f"{question}.json", remedy)


class _World:
    """Audio, labels and split of a profile, and the features that contestants are probed on."""

    def __init__(self, profile_name: str, progress: bool):
        from genre_utils.corpora import load_corpus
        from genre_utils.features import waves
        from genre_utils.profiles import get_profile
        from genre_utils.splits import make_split

        self.profile, self.progress = get_profile(profile_name), progress
        self.corpus = load_corpus(self.profile)
        self.split = make_split(self.corpus, self.profile)
        self.ids = list(self.split.ids)
        self.row = {clip: i for i, clip in enumerate(self.ids)}
        self.y = self.corpus.labels(self.ids)
        self.waves = waves(self.corpus, self.ids, self.profile, progress=progress)

    def rows(self, part: str) -> np.ndarray:
        return np.array([self.row[clip] for clip in getattr(self.split, part)])

    def artists(self, ids: Sequence[str]) -> list[str]:
        return [self.corpus[clip].artist or clip for clip in ids]

    def states(self, backbone) -> np.ndarray:
        """(clips, layers + 1, 2 * hidden)"""
        from genre_utils.features import frozen_states

        window_s = self.profile.head_only.window_s
        return frozen_states(backbone, self.waves, window_s=window_s, batch_size=16, progress=self.progress)

    def log_mel(self) -> np.ndarray:
        """(clips, 1, 2 * bands)"""
        from genre_utils.features import mels

        mel = mels(self.corpus, self.ids, self.profile, progress=self.progress)[:, 0]
        return np.concatenate([mel.mean(-1), mel.std(-1)], axis=-1)[:, None]

    def record(
        self, question: Question, clips: Sequence[str], split: str, trials, backbones, settings
    ) -> Evidence:
        return Evidence(
            question=question,
            profile=self.profile.name,
            corpus=runs.CorpusInfo(
                name=self.corpus.name, fingerprint=self.corpus.fingerprint, clips=len(self.corpus)
            ),
            split=split,
            clips=list(clips),
            artists=self.artists(clips),
            backbones={name: backbone.fingerprint for name, backbone in backbones.items()},
            settings=settings,
            **runs.origin(),
            trials=trials,
        )


def _marks(hits: np.ndarray) -> str:
    return "".join("1" if hit else "0" for hit in hits)


def _features(world: _World, backbones: Mapping, seeds: int) -> Iterator[tuple[str, int | None, np.ndarray]]:
    """(contestant, seed or None for all seeds, features) of everything that has frozen states or none."""
    from genre_utils.models.wav2vec import random_backbone

    for name, backbone in backbones.items():
        yield name, None, world.states(backbone)
    yield LOG_MEL, None, world.log_mel()
    like = next(iter(backbones.values()))
    for seed in tqdm(range(seeds), desc=RANDOM, unit="network", disable=not world.progress):
        yield RANDOM, seed, world.states(random_backbone(seed, like=like))


def labels(backbones: Mapping, seeds: int = 10, progress: bool = True) -> Evidence:
    """Probes on 5 to 100 % of the training labels; layer and penalty of each chosen on the validation clips.

    Parameters
    ----------
    backbones : mapping of str to Backbone
        The pre-trained contestants.
    seeds : int
        A seed draws the labelled clips (the same for every contestant), and the random weights.
    """
    from sklearn.model_selection import train_test_split

    from genre_utils.models.probe import fit_probe

    world = _World(PROFILE["labels"], progress)
    train, val, test = (world.rows(part) for part in ("train", "val", "test"))
    y, trials = world.y, []
    for name, only, x in _features(world, backbones, seeds):
        for seed in range(seeds) if only is None else [only]:
            for fraction in FRACTIONS:
                size = max(len(world.corpus.genres), round(fraction * len(train)))
                some = train
                if size < len(train):
                    some = train_test_split(train, train_size=size, stratify=y[train], random_state=seed)[0]
                probes = [fit_probe(x[some, k], y[some], x[val, k], y[val]) for k in range(x.shape[1])]
                best = int(np.argmax([score for _, score in probes]))
                right = probes[best][0].predict(x[test, best]) == y[test]
                trials.append(
                    Trial(contestant=name, seed=seed, labels=size, layer=best, hits=_marks(right))
                )
    settings = {"fractions": FRACTIONS, "layer and penalty": "best on the validation clips"}
    return world.record("labels", world.split.test, world.split.provenance, trials, backbones, settings)


def layers(backbones: Mapping, seeds: int = 10, progress: bool = True) -> Evidence:
    """One probe a layer, all labels; the penalty chosen on the validation clips. Seeds draw the random weights."""
    from genre_utils.models.probe import fit_probe

    world = _World(PROFILE["layers"], progress)
    train, val, test = (world.rows(part) for part in ("train", "val", "test"))
    y, trials = world.y, []
    for name, only, x in _features(world, backbones, seeds):
        for layer in range(x.shape[1]):
            probe, _ = fit_probe(x[train, layer], y[train], x[val, layer], y[val])
            marks = _marks(probe.predict(x[test, layer]) == y[test])
            for seed in range(seeds) if only is None else [only]:
                trials.append(
                    Trial(contestant=name, seed=seed, labels=len(train), layer=layer, hits=marks)
                )
    settings = {"penalty": "best on the validation clips"}
    return world.record("layers", world.split.test, world.split.provenance, trials, backbones, settings)


def fine_tuning(backbones: Mapping, seeds: int = 5, progress: bool = True) -> Evidence:
    """The whole network trained by the profile's schedule, from the pre-trained and from random weights.

    Neither has a warm head, and nothing is frozen: a random encoder could not be left as it is. A third contestant
    starts from random weights and trains three times as long, so that "from scratch" is not merely unfinished.
    Seeds decide the random weights, the head, the order and the excerpts.
    """
    from dataclasses import replace

    from genre_utils.models.wav2vec import GenreWav2Vec, random_backbone
    from genre_utils.paths import runs_dir
    from genre_utils.training import WindowSet, fit, predict_clips, set_seed

    world = _World(PROFILE["fine-tuning"], progress)
    train, val, test = (world.rows(part) for part in ("train", "val", "test"))
    profile, y, trials = world.profile, world.y, []
    window = round(profile.full.window_s * profile.wave_rate_hz)
    sets = [WindowSet(world.waves[part], y[part], window) for part in (train, val)]
    like = next(iter(backbones.values()))
    longer = replace(profile.full, epochs=3 * profile.full.epochs, patience=3 * profile.full.patience)
    starts: dict[str, tuple[Callable, Any]] = {
        name: ((lambda seed, name=name: deepcopy(backbones[name])), profile.full) for name in backbones
    }
    starts[RANDOM] = (lambda seed: random_backbone(seed, like=like)), profile.full
    starts[f"{RANDOM}, three times as long"] = (lambda seed: random_backbone(seed, like=like)), longer
    todo = [(seed, name) for seed in range(seeds) for name in starts]
    for seed, name in tqdm(todo, desc="fine-tuning", unit="run", disable=not progress):
        start, training = starts[name]
        set_seed(seed)
        model = GenreWav2Vec(start(seed), len(world.corpus.genres)).freeze(None)
        folder = runs_dir(profile.name) / "evidence" / f"{name}-{seed}"
        result = fit(model, *sets, training, seed=seed, out_dir=folder, progress=progress)
        right = predict_clips(result.model, world.waves[test], window, 8).argmax(1) == y[test]
        trials.append(Trial(contestant=name, seed=seed, labels=len(train), hits=_marks(right)))
    settings = {"training": vars(profile.full), "head": "linear", "frozen": None}
    return world.record("fine-tuning", world.split.test, world.split.provenance, trials, backbones, settings)


def protocol(backbones: Mapping, seeds: int = 5, progress: bool = True, only: Sequence[str] = ()) -> Evidence:
    """Head-only and full fine-tuning as the book runs them, with each choice of the study alone, and with all of them.

    As in chapters 4 and 5: head-only with the profile's head (linear unless the protocol names another) on the
    layer that a probe finds best on the validation clips; full fine-tuning from the head so trained.
    Contestants are called "head-only: CHOICE" and "full: CHOICE". Seeds decide head, order and excerpts.

    Parameters
    ----------
    only : sequence of str, optional
        Some protocols instead of all.
    """
    from genre_utils.features import frozen_states, waves
    from genre_utils.models.probe import fit_probe
    from genre_utils.models.wav2vec import GenreWav2Vec, HeadClassifier
    from genre_utils.paths import runs_dir
    from genre_utils.protocol import CHOICES, CORRECTED, ORIGINAL, with_protocol
    from genre_utils.training import WindowSet, fit, predict_clips, set_seed

    world = _World(PROFILE["protocol"], progress)
    train, val, test = (world.rows(part) for part in ("train", "val", "test"))
    y, trials, (backbone,) = world.y, [], backbones.values()

    def add(name: str, seed: int, probabilities: np.ndarray) -> None:
        marks = _marks(probabilities.argmax(1) == y[test])
        trials.append(Trial(contestant=name, seed=seed, labels=len(train), hits=marks))

    heard: dict[bool, tuple[np.ndarray, np.ndarray, int]] = {}
    todo = [(seed, name) for seed in range(seeds) for name in only or (CORRECTED, *CHOICES, ORIGINAL)]
    for seed, name in tqdm(todo, desc="protocol", unit="run", disable=not progress):
        profile = with_protocol(world.profile, name)
        if profile.resampled not in heard:
            sound = waves(world.corpus, world.ids, profile, backbone.rate_hz, progress=progress)
            window_s = profile.head_only.window_s
            states = frozen_states(backbone, sound, window_s=window_s, batch_size=16, progress=progress)
            scores = [fit_probe(x[train], y[train], x[val], y[val])[1] for x in states.swapaxes(0, 1)]
            heard[profile.resampled] = sound, states, int(np.argmax(scores))
        sound, states, best_layer = heard[profile.resampled]
        window = round(profile.full.window_s * backbone.rate_hz)
        options = {"head": profile.head or "linear", "layer": -1 if profile.head == "study" else best_layer}
        folder = runs_dir(profile.name) / "evidence" / "protocol"
        set_seed(seed)
        model = HeadClassifier(*states.shape[1:], len(world.corpus.genres), **options)
        sets = [WindowSet(states[part], y[part]) for part in (train, val)]
        place = folder / f"head-only-{name}-{seed}"
        model = fit(model, *sets, profile.head_only, seed=seed, out_dir=place, progress=False).model
        add(f"head-only: {name}", seed, predict_clips(model, states[test]))

        set_seed(seed)
        net = GenreWav2Vec(deepcopy(backbone), len(world.corpus.genres), **options)
        if profile.warm_head:
            net.head.load_state_dict(model.head.state_dict())
        sets = [WindowSet(sound[part], y[part], window) for part in (train, val)]
        place = folder / f"full-{name}-{seed}"
        net = fit(net.freeze(profile.frozen), *sets, profile.full, seed=seed, out_dir=place, progress=False).model
        add(f"full: {name}", seed, predict_clips(net, sound[test], window, 8))
    settings = {name: what for name, (what, _) in CHOICES.items()}
    return world.record("protocol", world.split.test, world.split.provenance, trials, backbones, settings)


def transfer(
    backbones: Mapping, seeds: int = 5, progress: bool = True, folds: int = 5, cnn: bool = True
) -> Evidence:
    """Real clips: artist-grouped cross-validation; every clip is tested once a seed.

    Layer and penalty of the probes, and the SVM's settings, are tuned by grouped cross-validation inside the
    training side. The CNN trains from scratch for the profile's number of epochs. Seeds draw the folds, the random
    weights and the CNN's. Without `cnn` the CNN, which takes most of the time, is left out.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    from genre_utils.features import statistics
    from genre_utils.splits import fold_groups, grouped_folds

    world = _World(PROFILE["transfer"], progress)
    y, trials = world.y, []
    cuts = [grouped_folds(world.corpus, folds, seed) for seed in range(seeds)]
    number_of = dict(zip(world.corpus.ids, fold_groups(world.corpus)[0], strict=True))
    groups = np.array([number_of[clip] for clip in world.ids])

    inner = StratifiedGroupKFold(max(2, folds - 1), shuffle=True, random_state=0)

    def tuning(train: np.ndarray) -> list:
        return list(inner.split(train, y[train], groups[train]))

    def score(name: str, seed: int, predict: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        right = np.zeros(len(y), dtype=bool)
        for fold in cuts[seed]:
            train, test = (np.array([world.row[clip] for clip in part]) for part in (fold.train, fold.test))
            right[test] = predict(train, test) == y[test]
        size = len(y) - len(y) // folds
        trials.append(Trial(contestant=name, seed=seed, labels=size, hits=_marks(right)))

    for name, only, x in _features(world, backbones, seeds):
        for seed in range(seeds) if only is None else [only]:
            score(name, seed, lambda train, test, x=x: _tuned_probe(x, y, tuning(train), train, test))
    x = statistics(world.corpus, world.ids, world.profile, progress=progress)
    for seed in range(seeds):
        score(SVM, seed, lambda train, test: _tuned_svm(x, y, tuning(train), train, test))
    for seed in range(seeds) if cnn else ():
        score(CNN, seed, lambda train, test, seed=seed: _trained_cnn(world, seed, train, test))
    settings = {"tuning": "grouped cross-validation inside the training side", "cnn": vars(world.profile.cnn)}
    provenance = cuts[0][0].provenance.replace("seed 0", f"seeds 0 to {seeds - 1}")
    return world.record("transfer", world.ids, provenance, trials, backbones, settings)


def _tuned_probe(x, y, cuts, train, test) -> np.ndarray:
    from sklearn.model_selection import cross_val_score

    from genre_utils.models.probe import STRENGTHS, linear_probe

    found = {
        (layer, strength): cross_val_score(linear_probe(strength), x[train, layer], y[train], cv=cuts).mean()
        for layer in range(x.shape[1])
        for strength in STRENGTHS
    }
    layer, strength = max(found, key=found.get)
    return linear_probe(strength).fit(x[train, layer], y[train]).predict(x[test, layer])


def _tuned_svm(x, y, cuts, train, test) -> np.ndarray:
    from sklearn.model_selection import GridSearchCV

    from genre_utils.models.svm import GRID, rbf_svm

    search = GridSearchCV(rbf_svm(), GRID, cv=cuts).fit(x[train], y[train])
    return search.predict(x[test])


def _trained_cnn(world: _World, seed: int, train, test) -> np.ndarray:
    """With eighty clips none can be spared for validation: one excerpt of each training clip stands in for it, so that
    the last epochs win."""
    from genre_utils.features import MelSettings, mels
    from genre_utils.models.cnn import GenreCNN
    from genre_utils.paths import runs_dir
    from genre_utils.training import WindowSet, fit, predict_clips, set_seed

    profile, y = world.profile, world.y
    window = MelSettings(rate_hz=profile.mel_rate_hz).frames(round(profile.cnn.window_s * profile.mel_rate_hz))
    x = mels(world.corpus, world.ids, profile, progress=False)
    set_seed(seed)
    middle = (x.shape[-1] - window) // 2
    sets = WindowSet(x[train], y[train], window), WindowSet(x[train][..., middle : middle + window], y[train])
    folder = runs_dir(profile.name) / "evidence" / f"cnn-{seed}-{test[0]}"
    result = fit(
        GenreCNN(len(world.corpus.genres)), *sets, profile.cnn, seed=seed, out_dir=folder, progress=world.progress
    )
    return predict_clips(result.model, x[test], window).argmax(1)


#: What ``python -m genre_utils evidence QUESTION`` runs.
QUESTIONS: dict[str, Callable[..., Evidence]] = {
    "labels": labels,
    "layers": layers,
    "fine-tuning": fine_tuning,
    "transfer": transfer,
    "protocol": protocol,
}

"""A contest: contestants with scikit-learn's ``fit`` and ``predict`` on many splits of one corpus, trial by trial.

Each trial is written down as soon as it is there: a contest that is asked again goes on where it stopped, and grows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from tqdm import tqdm

from genre_utils import splits
from genre_utils.corpora import Corpus
from genre_utils.device import cores
from genre_utils.experiments.material import record
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.svm import linear_probe
from genre_utils.models.wav2vec import Backbone, GenreWav2Vec, random_backbone
from genre_utils.paths import runs_dir
from genre_utils.profiles import Training
from genre_utils.records import Experiment, Trial, plain
from genre_utils.splits import Split
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet, predict_clips

FILTERED, RANDOM, BY_ARTIST = "fault-filtered", "random", "by artist"
PLANNED = "trials planned"
#: Fixed splits of GTZAN, and those that a draw makes of any corpus.
FIXED: dict[str, Callable[[], Split]] = {
    "study: CNN": lambda: splits.gtzan_split("cnn"),
    "study: wav2vec": lambda: splits.gtzan_split("wav2vec"),
    FILTERED: lambda: splits.gtzan_split("filtered"),
}


@dataclass(frozen=True)
class Contestant:
    """Features of all clips in corpus order (or what gives them for a draw), and a classifier with the settings to try.

    A classifier that has a ``seed`` is given the number of the draw; `draws` limits how many it takes part in.
    """

    features: Any
    classifier: Any
    grid: Mapping[str, list] = field(default_factory=dict)
    draws: int | None = None

    def heard(self, draw: int):
        return self.features(draw) if callable(self.features) else self.features


class LayerProbe(ClassifierMixin, BaseEstimator):
    """A linear probe (:func:`~genre_utils.models.svm.linear_probe`) of one layer: features (clips, layers, numbers)."""

    def __init__(self, layer: int = 0, strength: float = 1e-2):
        self.layer, self.strength = layer, strength

    def fit(self, x, y):
        self.probe_ = linear_probe(self.strength).fit(x[:, self.layer], y)
        return self

    def predict(self, x):
        return self.probe_.predict(x[:, self.layer])


class Network(ClassifierMixin, BaseEstimator):
    """A network of this book with scikit-learn's ``fit`` and ``predict``: the study's CNN, or wav2vec 2.0 from a `start`.

    None of its clips can be spared for validation: the middle excerpt of each training clip stands in for it, so that the
    last epochs win.

    Parameters
    ----------
    training : Training
    window : int
        Frames or samples of an excerpt.
    start : Backbone, optional
        Weights that all of wav2vec 2.0 is trained on from, or with `random` the shape of the network that is drawn.
    """

    def __init__(self, training: Training, window: int, start: Backbone | None = None, random: bool = False, seed: int = 0):
        self.training, self.window, self.start, self.random, self.seed = training, window, start, random, seed

    def fit(self, x, y):
        self.classes_, labels = np.unique(y, return_inverse=True)
        set_seed(self.seed)
        if self.start is None:
            model = GenreCNN(len(self.classes_))
        else:
            start = random_backbone(self.seed, like=self.start) if self.random else deepcopy(self.start)
            model = GenreWav2Vec(start, len(self.classes_)).freeze(None)
        middle = (x.shape[-1] - self.window) // 2
        sets = WindowSet(x, labels, self.window), WindowSet(x[:, ..., middle : middle + self.window], labels)
        with TemporaryDirectory() as folder:
            self.model_ = fit(model, *sets, self.training, seed=self.seed, out_dir=folder, progress=False).model
        return self

    def predict(self, x):
        return self.classes_[predict_clips(self.model_, x, self.window, 8 if self.start else 32).argmax(1)]


def of_artists(corpus: Corpus, folds: int = 5) -> Callable[[int], list[Split]]:
    """What draws artist-grouped folds."""
    return lambda draw: splits.grouped_folds(corpus, folds, draw)


def contest(
    question: str,
    corpus: Corpus,
    contestants: Mapping[str, Contestant],
    *,
    draws: int = 20,
    fixed: Mapping[str, Callable[[], Split]] | None = None,
    drawn: Mapping[str, Callable[[int], list[Split]]] | None = None,
    apart: Collection[str] = (FILTERED, BY_ARTIST),
    minutes: float | None = None,
    progress: bool = True,
    **about,
) -> Experiment:
    """Each contestant on each split; its settings tuned by five-fold cross-validation inside the training side.

    Validation clips are not learnt from, so that nobody has more labels than the study's networks had.

    Parameters
    ----------
    fixed, drawn : mapping, optional
        Splits that are always the same, by default :data:`FIXED`; and what a draw makes from its number, by default one
        random split of the clips, and five artist-grouped folds, which test every clip once.
    apart : collection of str
        Splits of which the folds of the tuning keep artists apart too.
    minutes : float, optional
        Begin no trial after so many: the record holds what is there by then, and says how many were planned.
    about
        See :func:`genre_utils.experiments.material.record`.
    """
    y, place = corpus.labels(corpus.ids), {clip: i for i, clip in enumerate(corpus.ids)}
    groups, _ = splits.fold_groups(corpus)
    fixed = FIXED if fixed is None else fixed
    drawn = {RANDOM: lambda draw: [splits.random_split(corpus, draw)], BY_ARTIST: of_artists(corpus)} if drawn is None else drawn
    todo = {name: [[make()]] for name, make in fixed.items()}
    todo |= {name: [split(draw) for draw in range(draws)] for name, split in drawn.items()}
    path = runs_dir() / "experiments" / f"{question}.jsonl"
    kept, trials, provenance, began = _kept(path), [], {}, time.monotonic()

    def trial(name: str, condition: str, draw: int, parts: list[Split], x) -> Trial:
        said, settings, start = np.full(len(y), -1), {}, time.perf_counter()
        for part in parts:
            train, test = (np.array([place[clip] for clip in some]) for some in (part.train, part.test))
            fitted, settings = _tuned(contestants[name], draw, x, y, train, groups if condition in apart else None)
            said[test] = fitted.predict(x[test])
        marks = "".join(np.where(said < 0, "-", np.where(said == y, "1", "0")))
        about = {"contestant": name, "condition": condition, "seed": draw, "labels": len(train)}
        seconds = round(time.perf_counter() - start, 1)
        return Trial(**about, settings=plain(settings) if len(parts) == 1 else {}, seconds=seconds, marks=marks)

    asked = [
        (condition, name, its, draw, parts)
        for condition, drawn_parts in todo.items() for name, its in contestants.items() for draw, parts in enumerate(drawn_parts)
        if its.draws is None or draw < its.draws
    ]  # fmt: skip
    with tqdm(asked, desc=question, unit="trial", disable=not progress) as bar:
        for condition, name, its, draw, parts in bar:
            provenance.setdefault(condition, parts[0].provenance)
            x = its.heard(draw)
            key = _key(name, condition, draw, parts, its, x)
            if key not in kept and minutes is not None and time.monotonic() - began > 60 * minutes:
                continue
            if key not in kept:
                kept[key] = trial(name, condition, draw, parts, x)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"\n{key} {kept[key].model_dump_json()}")  # behind whatever an interruption left
            trials.append(kept[key])
    about["settings"] = {**about.get("settings", {}), PLANNED: len(asked)}
    return record(question, corpus, trials, clips=corpus.ids, provenance=provenance, **about)


def joined(found: Sequence[Experiment]) -> Experiment:
    """One record of several contests on one corpus about one question."""
    together = {"trials": [trial for one in found for trial in one.trials]}
    together["provenance"] = {name: told for one in found for name, told in one.provenance.items()}
    planned = sum(one.settings[PLANNED] for one in found)
    together["settings"] = {name: value for one in found for name, value in one.settings.items()} | {PLANNED: planned}
    return found[0].model_copy(update=together)


def _tuned(its: Contestant, draw: int, x, y: np.ndarray, train: np.ndarray, groups: np.ndarray | None) -> tuple[Any, dict]:
    classifier = clone(its.classifier)
    if "seed" in classifier.get_params():
        classifier.set_params(seed=draw)
    if not its.grid:
        return classifier.fit(x[train], y[train]), {}
    most = max(2, min(5, np.unique(y[train], return_counts=True)[1].min()))
    folds = (StratifiedKFold if groups is None else StratifiedGroupKFold)(most, shuffle=True, random_state=0)
    search = GridSearchCV(classifier, dict(its.grid), cv=folds, n_jobs=cores())
    search.fit(x[train], y[train], groups=None if groups is None else groups[train])
    return search, {knob.rsplit("__", 1)[-1]: value for knob, value in search.best_params_.items()}


def _key(name: str, condition: str, draw: int, parts: list[Split], its: Contestant, x) -> str:
    """What names a trial: a digest of all that decides it, of the features those of the first and the last clip."""
    settings = its.classifier.get_params()
    start = getattr(settings.get("start"), "fingerprint", "")
    told = (name, condition, draw, [(p.train, p.test) for p in parts], settings, start, sorted(its.grid.items()), x.shape)
    digest = hashlib.sha256(repr(told).encode())
    for clip in (0, len(x) - 1):
        digest.update(np.ascontiguousarray(x[clip]).tobytes())
    return digest.hexdigest()[:24]


def _kept(path) -> dict[str, Trial]:
    """Trials that an earlier contest wrote down; a last line that was cut short does not count."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        key, _, content = line.partition(" ")
        try:
            found[key] = Trial.model_validate_json(content)
        except ValidationError:
            continue
    return found

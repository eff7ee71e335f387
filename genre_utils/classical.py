"""Classical classifiers on all of GTZAN: 57 published features of every clip, on every split that matters.

The features of all 1000 clips lie in a table that circulates with GTZAN (``features_30_sec.csv``: 57 librosa statistics a
clip); :func:`genre_utils.features.clip_statistics` computes the same from audio. No sound is needed, so the
experiment runs in minutes and can be repeated until chance is averaged out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from genre_utils import evaluation, replication, runs, splits
from genre_utils.corpora import Clip, Corpus
from genre_utils.corpora.faults import gtzan_faults
from genre_utils.errors import CorpusError, RunError
from genre_utils.features import FEATURE_NAMES
from genre_utils.paths import recorded_dir
from genre_utils.splits import Split, gtzan_ids

SCHEMA_VERSION = 1
#: Where the feature table is looked for.
TABLE_VARIABLE = "GTZAN_FEATURES_CSV"
#: Fixed splits, and those that a repeat draws anew.
FIXED: dict[str, Callable[[], Split]] = {
    "study: CNN": splits.cnn_split,
    "study: wav2vec": splits.wav2vec_split,
    "fault-filtered": splits.filtered_split,
}
RANDOM, BY_ARTIST = "random", "by artist"
#: The two ways of cutting windows that :func:`measure_windows` compares with :data:`BY_ARTIST`.
RANDOM_WINDOWS, WHOLE_CLIPS = "random windows", "whole clips"


def feature_table(path: Path | str | None = None) -> tuple[Corpus, np.ndarray]:
    """The 999 usable clips of GTZAN, without their audio, and their features, float (999, 57).

    Parameters
    ----------
    path : path, optional
        The table; by default what ``GTZAN_FEATURES_CSV`` names.

    Raises
    ------
    CorpusError
        If there is no table, or clips or columns are missing from it.
    """
    chosen = path or os.environ.get(TABLE_VARIABLE)
    if not chosen:
        raise CorpusError(
            f"no feature table is named: set {TABLE_VARIABLE} to features_30_sec.csv, which comes with GTZAN's copies"
        )
    path = Path(chosen).expanduser()
    try:
        table = pd.read_csv(path)
        table.index = table["filename"].str.rsplit(".", n=1).str[0]
        features = table.loc[list(gtzan_ids()), list(FEATURE_NAMES)].to_numpy(dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{path} is no table of GTZAN's 57 features ({type(error).__name__}: {error}): it needs the columns filename, "
            f"{FEATURE_NAMES[0]} ... {FEATURE_NAMES[-1]} and a row for each clip"
        ) from error
    if not np.isfinite(features).all():
        bad = gtzan_ids()[int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])]
        raise CorpusError(f"{path} has a feature that is no finite number, for {bad}: get the table again")
    faults = gtzan_faults()
    clips = tuple(Clip(i, path, i.split(".", 1)[0], faults.artists.get(i)) for i in gtzan_ids())
    return Corpus("gtzan (features)", path.parent, clips, 30.0, faults=faults.among(gtzan_ids())), features


def classifiers() -> dict[str, tuple[Any, dict[str, list]]]:
    """Each classifier with the settings that are tried: name -> (estimator, grid)."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from genre_utils.models.svm import GRID, rbf_svm

    def scaled(estimator):
        return make_pipeline(StandardScaler(), estimator)

    return {
        "SVM": (rbf_svm(), GRID),
        "logistic regression": (
            scaled(LogisticRegression(max_iter=2000)),
            {"logisticregression__C": [0.03, 0.1, 0.3, 1.0]},
        ),
        "k nearest neighbours": (
            scaled(KNeighborsClassifier(weights="distance")),
            {"kneighborsclassifier__n_neighbors": [1, 3, 5, 9, 15]},
        ),
        "gradient boosting": (
            HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=8, early_stopping=False, random_state=0),
            {"learning_rate": [0.05, 0.1, 0.2]},
        ),
    }


class Trial(BaseModel):
    """One classifier on one split: for each clip of the record right ("1"), wrong ("0") or not tested ("-")."""

    model_config = ConfigDict(extra="forbid")

    split: str
    classifier: str
    repeat: int
    n_train: int
    settings: dict[str, Any]
    marks: str


class Classical(BaseModel):
    """The record of the experiment."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    corpus: str
    clips: list[str]
    #: Artist of each clip; a clip of unknown artist counts as an artist of its own.
    artists: list[str]
    #: Where each kind of split comes from.
    provenance: dict[str, str]
    versions: dict[str, str]
    hardware: dict[str, Any]
    git_commit: str | None
    created: str
    trials: list[Trial]

    def marks(self, split: str, classifier: str = "SVM") -> np.ndarray:
        """(repeats, clips): 1 right, 0 wrong, NaN not tested.

        Raises
        ------
        RunError
            If there is no such trial.
        """
        value = {"1": 1.0, "0": 0.0, "-": np.nan}
        rows = [
            [value[mark] for mark in trial.marks]
            for trial in self.trials
            if (trial.split, trial.classifier) == (split, classifier)
        ]
        if not rows:
            known = sorted({f"{trial.classifier} on {trial.split}" for trial in self.trials})
            raise RunError(f"the record has no {classifier} on {split}; it has {', '.join(known)}")
        return np.array(rows)

    def accuracies(self, split: str, classifier: str = "SVM") -> np.ndarray:
        """Accuracy of each repeat, (repeats,)."""
        return np.nanmean(self.marks(split, classifier), axis=1)

    def accuracy(self, split: str, classifier: str = "SVM") -> evaluation.Interval:
        """With a 95 % interval: Wilson's for a fixed split, the corrected t for random ones, and for folds, which test
        every clip in every draw, the bootstrap over draws and artists."""
        marks = self.marks(split, classifier)
        tested = int(np.isfinite(marks[0]).sum())
        if len(marks) == 1:
            return evaluation.wilson(int(np.nansum(marks)), tested)
        if np.isfinite(marks).all():
            return evaluation.over_seeds(marks, groups=self.artists)
        n_train = next(t.n_train for t in self.trials if (t.split, t.classifier) == (split, classifier))
        return evaluation.over_splits(self.accuracies(split, classifier), n_train, tested)

    def against_study(self, approach: str, classifier: str = "SVM") -> dict[str, float]:
        """Exact McNemar test on the study's own wav2vec test clips; ``b``: only the classifier is right.

        Parameters
        ----------
        approach : {"head-only", "full"}
            Whose stored predictions.
        """
        ids, y, predicted = replication.predictions(approach)
        place = {clip: i for i, clip in enumerate(self.clips)}
        ours = self.marks("study: wav2vec", classifier)[0][[place[clip] for clip in ids]]
        return evaluation.mcnemar(ours == 1, predicted == y)

    def save(self, folder: Path) -> Path:
        """Write ``<folder>/gtzan.json`` (or ``windows.json``), whole or not at all."""
        return runs.write_record(folder / ("windows.json" if WHOLE_CLIPS in self.provenance else "gtzan.json"), self)

    @classmethod
    def load(cls, folder: Path | None = None, name: Literal["gtzan", "windows"] = "gtzan") -> Classical:
        """The record that comes with the book, or the one in `folder`: of all of GTZAN, or of windows of its mini subset.

        Raises
        ------
        RunError
            If it is missing or damaged.
        """
        folder = folder or recorded_dir("classical") or Path("book/results/classical")
        remedy = "make it with: python -m genre_utils classical" + (" --windows" if name == "windows" else "")
        return runs.read_record(cls, folder / f"{name}.json", remedy)


def measure(
    corpus: Corpus,
    features: np.ndarray,
    *,
    repeats: int = 20,
    only: Mapping[str, tuple[Any, dict]] | None = None,
    fixed: Mapping[str, Callable[[], Split]] | None = None,
    drawn: Mapping[str, Callable[[int], list[Split]]] | None = None,
    progress: bool = True,
) -> Classical:
    """Each classifier on each split; its settings tuned by five-fold cross-validation inside the training side.

    Validation clips are not learnt from, so that nobody has more labels than the study's networks had. Where a split
    keeps artists apart, so do the folds of the tuning.

    Parameters
    ----------
    corpus, features
        As :func:`feature_table` gives them; features float (n, k) in corpus order.
    repeats : int
        Draws of the random split and of the artist-grouped folds. A draw of folds tests every clip once.
    only : mapping, optional
        Other classifiers than :func:`classifiers`.
    fixed : mapping, optional
        Other fixed splits than :data:`FIXED`.
    drawn : mapping, optional
        What a repeat draws, from its number: by default one random split, and five artist-grouped folds.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold

    def tuned(estimator, grid, train, apart):
        folds = (StratifiedGroupKFold if apart else StratifiedKFold)(5, shuffle=True, random_state=0)
        search = GridSearchCV(estimator, grid, cv=folds, n_jobs=-1)
        search.fit(features[train], y[train], groups=groups[train] if apart else None)
        return search, {knob.rsplit("__", 1)[-1]: value for knob, value in search.best_params_.items()}

    chosen, fixed = only or classifiers(), FIXED if fixed is None else fixed
    y, place = corpus.labels(corpus.ids), {clip: i for i, clip in enumerate(corpus.ids)}
    groups, _ = splits.fold_groups(corpus)
    drawn = drawn or {
        RANDOM: lambda repeat: [splits.random_split(corpus, repeat)],
        BY_ARTIST: lambda repeat: splits.grouped_folds(corpus, 5, repeat),
    }
    todo = [(name, 0, [make()], name == "fault-filtered") for name, make in fixed.items()]
    todo += [(name, repeat, draw(repeat), name == BY_ARTIST) for repeat in range(repeats) for name, draw in drawn.items()]
    trials, provenance = [], {}
    with tqdm(total=len(todo) * len(chosen), desc="classifiers", unit="fit", disable=not progress) as bar:
        for name, repeat, parts, apart in todo:
            provenance.setdefault(name, parts[0].provenance)
            for classifier, (estimator, grid) in chosen.items():
                marks, settings = np.full(len(y), "-"), {}
                for part in parts:
                    train, test = (np.array([place[clip] for clip in some]) for some in (part.train, part.test))
                    fitted, settings = tuned(estimator, grid, train, apart)
                    marks[test] = np.where(fitted.predict(features[test]) == y[test], "1", "0")
                trials.append(
                    Trial(
                        split=name,
                        classifier=classifier,
                        repeat=repeat,
                        n_train=len(train),
                        settings=settings if len(parts) == 1 else {},
                        marks="".join(marks),
                    )
                )
                bar.update()
    return Classical(
        corpus=corpus.name,
        clips=list(corpus.ids),
        artists=[clip.artist or clip.id for clip in corpus],
        provenance=provenance,
        **runs.origin(),
        trials=trials,
    )


def measure_windows(corpus: Corpus, *, parts: int = 3, repeats: int = 20, progress: bool = True) -> Classical:
    """The SVM on windows of clips: drawn at random, kept together clip by clip, and artist by artist.

    Every clip is cut into equal parts, each described by its own 57 statistics; each draw is a five-fold
    cross-validation that tests every part once. What differs is only who may be on both sides.

    Parameters
    ----------
    corpus : Corpus
        With audio.
    parts : int
        Windows a clip.
    """
    from dataclasses import replace

    from genre_utils.audio import load_audio
    from genre_utils.features import clip_statistics

    rows, cut = [], []
    for clip in tqdm(corpus, desc="windows", unit="clip", disable=not progress):
        wave, rate_hz = load_audio(clip.path)
        for k, part in enumerate(np.array_split(wave[: round(corpus.clip_s * rate_hz)], parts)):
            cut.append(replace(clip, id=f"{clip.id}@{k}", recording=clip.recording or clip.id))
            rows.append(clip_statistics(part, rate_hz))
    about = {"clips": tuple(cut), "name": f"{corpus.name}, {parts} windows a clip", "clip_s": corpus.clip_s / parts}
    known = replace(corpus, **about, faults={})
    alike = {
        RANDOM_WINDOWS: replace(known, clips=tuple(replace(c, artist=None, recording=None) for c in cut)),
        WHOLE_CLIPS: replace(known, clips=tuple(replace(c, artist=None) for c in cut)),
        BY_ARTIST: known,
    }
    drawn = {name: (lambda repeat, some=some: splits.grouped_folds(some, 5, repeat)) for name, some in alike.items()}
    only = {"SVM": classifiers()["SVM"]}
    return measure(known, np.array(rows), repeats=repeats, only=only, fixed={}, drawn=drawn, progress=progress)

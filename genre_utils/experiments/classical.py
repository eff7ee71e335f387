"""Classical classifiers on all of GTZAN: 57 published features of every clip, on every split that matters.

The features of all 1000 clips lie in a table that circulates with GTZAN (``features_30_sec.csv``: 57 librosa statistics a
clip); :func:`genre_utils.features.clip_statistics` computes the same from audio. So no sound is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from genre_utils import splits
from genre_utils.corpora import Clip, Corpus, gtzan_faults
from genre_utils.errors import CorpusError
from genre_utils.experiments.material import record
from genre_utils.features import FEATURE_NAMES
from genre_utils.models.svm import GRID, rbf_svm
from genre_utils.records import Experiment, Trial, plain
from genre_utils.splits import Split, gtzan_ids

#: Where the feature table is looked for.
TABLE_VARIABLE = "GTZAN_FEATURES_CSV"
#: Fixed splits, and those that a repeat draws anew.
FIXED: dict[str, Callable[[], Split]] = {
    "study: CNN": lambda: splits.gtzan_split("cnn"),
    "study: wav2vec": lambda: splits.gtzan_split("wav2vec"),
    "fault-filtered": lambda: splits.gtzan_split("filtered"),
}
RANDOM, BY_ARTIST = "random", "by artist"


def measure(seeds: int = 20, progress: bool = True) -> Experiment:
    """Every classifier on every split of the feature table; see :func:`measure_splits`."""
    return measure_splits(*feature_table(), repeats=seeds, progress=progress)


def feature_table(path: Path | str | None = None) -> tuple[Corpus, np.ndarray]:
    """The 999 usable clips of GTZAN, without their audio, and their features (999, 57), from the table at `path`.

    By default that which ``GTZAN_FEATURES_CSV`` names; a CorpusError if there is none, or clips or columns are missing.
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
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    neighbours = make_pipeline(StandardScaler(), KNeighborsClassifier(weights="distance"))
    boosting = HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=8, early_stopping=False, random_state=0)
    return {
        "SVM": (rbf_svm(), GRID),
        "logistic regression": (logistic, {"logisticregression__C": [0.03, 0.1, 0.3, 1.0]}),
        "k nearest neighbours": (neighbours, {"kneighborsclassifier__n_neighbors": [1, 3, 5, 9, 15]}),
        "gradient boosting": (boosting, {"learning_rate": [0.05, 0.1, 0.2]}),
    }


def measure_splits(
    corpus: Corpus,
    features: np.ndarray,
    *,
    repeats: int = 20,
    only: Mapping[str, tuple[Any, dict]] | None = None,
    fixed: Mapping[str, Callable[[], Split]] | None = None,
    drawn: Mapping[str, Callable[[int], list[Split]]] | None = None,
    question: str = "classical",
    progress: bool = True,
) -> Experiment:
    """Each classifier on each split; its settings tuned by five-fold cross-validation inside the training side.

    Validation clips are not learnt from, so that nobody has more labels than the study's networks had. Where a split
    keeps artists apart, so do the folds of the tuning.

    Parameters
    ----------
    features : ndarray, shape (n, k)
        In corpus order.
    repeats : int
        Draws of the random split and of the artist-grouped folds. A draw of folds tests every clip once.
    only, fixed : mapping, optional
        Other classifiers than :func:`classifiers`, other fixed splits than :data:`FIXED`.
    drawn : mapping, optional
        What a repeat draws, from its number: by default one random split, and five artist-grouped folds.
    """

    def tuned(estimator, grid, train, apart):
        folds = (StratifiedGroupKFold if apart else StratifiedKFold)(5, shuffle=True, random_state=0)
        search = GridSearchCV(estimator, grid, cv=folds, n_jobs=-1)
        search.fit(features[train], y[train], groups=groups[train] if apart else None)
        return search, {knob.rsplit("__", 1)[-1]: value for knob, value in search.best_params_.items()}

    chosen, fixed = only or classifiers(), FIXED if fixed is None else fixed
    y, place = corpus.labels(corpus.ids), {clip: i for i, clip in enumerate(corpus.ids)}
    groups, _ = splits.fold_groups(corpus)
    if drawn is None:
        drawn = {
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
                about = {"contestant": classifier, "condition": name, "seed": repeat, "labels": len(train)}
                kept = plain(settings) if len(parts) == 1 else {}
                trials.append(Trial(**about, settings=kept, marks="".join(marks)))
                bar.update()
    return record(question, "gtzan", corpus, trials, clips=corpus.ids, provenance=provenance, with_audio=False)

"""Classical classifiers on all of GTZAN: 57 published features of every clip, on every split that matters.

The features of all 1000 clips lie in a table that circulates with GTZAN (``features_30_sec.csv``: 57 librosa statistics a
clip); :func:`genre_utils.features.clip_statistics` computes the same from audio. So no sound is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from genre_utils.corpora import Clip, Corpus, gtzan_faults
from genre_utils.errors import CorpusError
from genre_utils.experiments.contest import Contestant, contest
from genre_utils.features import FEATURE_NAMES
from genre_utils.models.svm import GRID, rbf_svm
from genre_utils.records import Experiment
from genre_utils.splits import gtzan_ids

#: Where the feature table is looked for.
TABLE_VARIABLE = "GTZAN_FEATURES_CSV"


def measure(seeds: int = 20, progress: bool = True, minutes: float | None = None) -> Experiment:
    """Every classifier on every split of the feature table; see :func:`~genre_utils.experiments.contest.contest`."""
    corpus, x = feature_table()
    contestants = {name: Contestant(x, *tried) for name, tried in classifiers().items()}
    about = {"draws": seeds, "minutes": minutes, "progress": progress, "with_audio": False}
    return contest("classical", corpus, contestants, **about)


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

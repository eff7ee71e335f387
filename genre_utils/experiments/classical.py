"""Classical classifiers on all of GTZAN: 57 published features of every clip, on every split that matters.

The features of all 1000 clips lie in a table that circulates with GTZAN (``features_30_sec.csv``: 57 librosa statistics a
clip); :func:`genre_utils.features.clip_statistics` computes the same from audio. So no sound is needed.
"""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from genre_utils.experiments.contest import Contestant, contest
from genre_utils.experiments.tables import feature_table
from genre_utils.models.svm import GRID, rbf_svm
from genre_utils.records import Experiment


def measure(seeds: int = 20, progress: bool = True, minutes: float | None = None) -> Experiment:
    """Every classifier on every split of the feature table; see :func:`~genre_utils.experiments.contest.contest`."""
    corpus, x = feature_table()
    contestants = {name: Contestant(x, *tried) for name, tried in classifiers().items()}
    about = {"draws": seeds, "minutes": minutes, "progress": progress, "with_audio": False}
    return contest("classical", corpus, contestants, **about)


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

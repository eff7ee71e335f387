"""The classical baseline: a support vector machine on the 57 statistics of a clip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from genre_utils.errors import CheckpointError

#: The settings that cross-validation chooses from.
GRID = {"svc__C": [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0], "svc__gamma": ["scale", 0.003, 0.01, 0.03]}

_FEATURES, _SETTINGS = "train.npz", "settings.json"


def rbf_svm(C: float = 20.0, gamma: float | str = "scale") -> Pipeline:
    """Standardised features, then an RBF-kernel SVM (Cortes and Vapnik); deterministic."""
    return make_pipeline(StandardScaler(), SVC(C=C, gamma=gamma))


def probabilities(svm: Pipeline, features: np.ndarray, labels: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Class probabilities of `heard`, shape (n, n_genres): Platt scaling of the SVM's margins.

    The scaling is cross-validated inside the training side (`features` (m, 57), `labels` (m,)), as
    ``SVC(probability=True)`` used to do. The likeliest class need not be the one ``svm.predict`` names.
    """
    return CalibratedClassifierCV(svm, ensemble=False).fit(features, labels).predict_proba(heard)


def save_svm(
    folder: Path | str, features: np.ndarray, labels: np.ndarray, clips: Sequence[str], *, C: float, gamma: float | str
) -> Path:
    """Write what the SVM is fitted to (`features` (m, 57), `labels` (m,), names of the `clips`), and how;
    :func:`load_svm` fits it again."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / _FEATURES, features=features, labels=labels, clips=np.array(clips, dtype=str))
    (folder / _SETTINGS).write_text(json.dumps({"C": C, "gamma": gamma}) + "\n", encoding="utf-8")
    return folder


class StoredSVM:
    """The classifier of some training clips: `features` (m, 57), `labels` (m,), `clips` (m,)."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, clips: np.ndarray, C: float, gamma: float | str):
        self.features, self.clips = features, clips
        self.svm = CalibratedClassifierCV(rbf_svm(C, gamma), ensemble=False).fit(features, labels)
        self.predict_proba = self.svm.predict_proba

    def nearest(self, heard: np.ndarray, most: int = 3) -> list[str]:
        """Names of the training clips whose standardised features are nearest to those of `heard`, (57,)."""
        gaps = (self.features - heard) / (self.features.std(axis=0) + 1e-9)
        return [str(self.clips[i]) for i in np.argsort(np.square(gaps).sum(axis=1))[:most]]


def load_svm(folder: Path | str) -> StoredSVM:
    """The classifier that :func:`save_svm` described, fitted, with ``predict_proba``; or a CheckpointError."""
    folder = Path(folder)
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        with np.load(folder / _FEATURES, allow_pickle=False) as stored:
            return StoredSVM(stored["features"], stored["labels"], stored["clips"], settings["C"], settings["gamma"])
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{folder} holds no usable SVM ({type(error).__name__}: {error}): run chapter 2 again"
        ) from error

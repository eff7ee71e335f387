"""Classical classifiers: a support vector machine on the 57 statistics of a clip, and a linear probe of any features."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
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


def load_svm(folder: Path | str) -> tuple[CalibratedClassifierCV, np.ndarray, np.ndarray]:
    """The classifier that :func:`save_svm` described, fitted, with ``predict_proba``; its features (m, 57) and clips (m,).

    A CheckpointError if the files are missing or damaged.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        with np.load(folder / _FEATURES, allow_pickle=False) as stored:
            features, labels, clips = (stored[name] for name in ("features", "labels", "clips"))
        return CalibratedClassifierCV(rbf_svm(**settings), ensemble=False).fit(features, labels), features, clips
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, zlib.error) as error:
        raise CheckpointError(
            f"{folder} holds no usable SVM ({type(error).__name__}: {error}): run chapter 2 again"
        ) from error


#: Inverse strengths of the L2 penalty that :func:`fit_probe` tries, the strongest penalty first.
STRENGTHS = (1e-3, 1e-2, 1e-1)


def linear_probe(strength: float = 1e-2) -> Pipeline:
    """Standardised features, then multinomial logistic regression (Alain and Bengio, arXiv 1610.01644).

    Deterministic: unlike a trained head it has no seed, so that what differs is the features.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))


def fit_probe(x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> tuple[Pipeline, float]:
    """The probe whose penalty does best on validation clips (the strongest of equals), and its accuracy there.

    Parameters
    ----------
    x, x_val : ndarray, shapes (n, d) and (m, d)
    y, y_val : ndarray of int, shapes (n,) and (m,)
    """
    probes = [linear_probe(strength).fit(x, y) for strength in STRENGTHS]
    scores = [float(probe.score(x_val, y_val)) for probe in probes]
    best = int(np.argmax(scores))
    return probes[best], scores[best]

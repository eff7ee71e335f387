"""A linear probe: how much of the genre can a straight line read off given features?"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

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

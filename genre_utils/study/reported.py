"""The study's reported figures, recomputed from what it stored."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import confint_proportions_2indep

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.evaluation import Interval
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES
from genre_utils.records import TITLES, Experiment

#: Our name of an approach -> its key in ``data/study.json``.
_KEYS = {"cnn": "cnn", "head-only": "head_only", "full": "full"}

#: The approaches whose predictions the study stored, clip by clip.
WITH_PREDICTIONS = ("head-only", "full")


@lru_cache(maxsize=1)
def study() -> dict[str, Any]:
    """Everything known of the study: ``data/study.json``, whose ``source`` names repository and commits."""
    return json.loads(package_data("study.json").read_text(encoding="utf-8"))


def reported(approach: str) -> dict[str, Any]:
    """The study's record of ``cnn``, ``head-only`` or ``full``.

    Raises
    ------
    RunError
        If the study has no such approach.
    """
    if approach not in _KEYS:
        raise RunError(f"the study reports no {approach!r}: choose one of {', '.join(_KEYS)}")
    return study()[_KEYS[approach]]


def accuracy(approach: str) -> Interval:
    """The accuracy the study reports, with Wilson's interval from its counts."""
    record = reported(approach)
    return evaluation.wilson(record["correct"], record["n_test"])


def predictions(approach: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Test clips, labels (n,) and predicted classes (n,) of the two wav2vec 2.0 runs.

    Raises
    ------
    RunError
        For the CNN: the study kept only its totals.
    """
    if approach not in WITH_PREDICTIONS:
        raise RunError(f"the study stored no clip-by-clip predictions of {approach!r}, only its totals")
    stored = reported(approach)["predictions"]
    y = np.array([GENRES.index(clip.split(".")[0]) for clip in stored])
    return tuple(stored), y, np.array([GENRES.index(genre) for genre in stored.values()])


def per_genre(approach: str) -> pd.DataFrame:
    """Precision, recall, F1 and support of each genre, recomputed from what the study stored.

    For the wav2vec 2.0 runs from their predictions; for the CNN from the totals that its printed report
    determines (right, predicted as, support of each genre).
    """
    if approach in WITH_PREDICTIONS:
        _, y, p = predictions(approach)
        return evaluation.per_genre(y, p)[["genre", "precision", "recall", "f1", "support"]]
    rows = []
    for genre, totals in reported(approach)["per_class_derived"].items():
        right, named, support = totals["true_positives"], totals["predicted_as"], totals["support"]
        rows.append((genre, right / named, right / support, 2 * right / (named + support), support))
    return pd.DataFrame(rows, columns=["genre", "precision", "recall", "f1", "support"])


def reported_table() -> pd.DataFrame:
    """One row an approach: accuracy with its interval, macro F1, test clips, and on which split."""
    rows = []
    for approach in _KEYS:
        score, record = accuracy(approach), reported(approach)
        rows.append(
            {
                "approach": approach,
                "title": TITLES[approach],
                "accuracy": score.value,
                "low": score.low,
                "high": score.high,
                "macro_f1": record["macro_f1"],
                "n": score.n,
                "test set": "CNN split" if approach == "cnn" else "wav2vec split",
            }
        )
    return pd.DataFrame(rows)


def paired_test() -> dict[str, float]:
    """Exact McNemar test of full fine-tuning against head-only on the study's 100 common clips."""
    clips_a, y, full = predictions("full")
    clips_b, _, head = predictions("head-only")
    order = [clips_b.index(clip) for clip in clips_a]
    return evaluation.mcnemar(full == y, head[order] == y)


def reported_difference(a: str, b: str) -> Interval:
    """Accuracy of `a` minus accuracy of `b` as the study reports them, with a 95 % interval.

    Head-only and full fine-tuning share their test clips: a paired bootstrap of the stored predictions. The
    CNN was scored on other clips: Newcombe's interval of two independent proportions (Statistics in Medicine
    17, 1998), which cannot see that the two test sets differ.
    """
    if {a, b} <= set(WITH_PREDICTIONS):
        clips, y, p_a = predictions(a)
        other, _, p_b = predictions(b)
        order = [other.index(clip) for clip in clips]
        return evaluation.difference(evaluation.accuracy, y, p_a, p_b[order])
    x, z = accuracy(a), accuracy(b)
    counts = (reported(a)["correct"], x.n, reported(b)["correct"], z.n)
    low, high = confint_proportions_2indep(*counts, compare="diff", method="newcomb")
    return Interval(x.value - z.value, float(low), float(high), min(x.n, z.n), "Newcombe 95 %, different clips")


def against_study(record: Experiment, approach: str, classifier: str = "SVM") -> dict[str, float]:
    """Exact McNemar test of a classical classifier on the study's own wav2vec test clips; ``b``: only the classifier is right.

    Parameters
    ----------
    record : Experiment
        Of :mod:`genre_utils.experiments.classical`.
    approach : {"head-only", "full"}
        Whose stored predictions.
    """
    ids, y, predicted = predictions(approach)
    place = {clip: i for i, clip in enumerate(record.clips)}
    ours = record.marks(classifier, "study: wav2vec")[0][[place[clip] for clip in ids]]
    return evaluation.mcnemar(ours == 1, predicted == y)

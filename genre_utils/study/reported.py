"""The study's reported figures, recomputed from what it stored."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.evaluation import Interval
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES
from genre_utils.records import Experiment

APPROACHES = ("cnn", "head-only", "full")
#: The approaches whose predictions the study stored, clip by clip.
WITH_PREDICTIONS = ("head-only", "full")


@lru_cache(maxsize=1)
def study() -> dict[str, Any]:
    """Everything known of the study: ``data/study.json``, whose ``source`` names repository and commits."""
    return json.loads(package_data("study.json").read_text(encoding="utf-8"))


def reported(approach: str) -> dict[str, Any]:
    """The study's record of ``cnn``, ``head-only`` or ``full``; a RunError of any other approach."""
    if approach not in APPROACHES:
        raise RunError(f"the study reports no {approach!r}: choose one of {', '.join(APPROACHES)}")
    return study()[approach.replace("-", "_")]


def accuracy(approach: str) -> Interval:
    """The accuracy the study reports, with Wilson's interval from its counts."""
    record = reported(approach)
    return evaluation.wilson(record["correct"], record["n_test"])


def predictions(approach: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Test clips, labels (n,) and predicted classes (n,) of a wav2vec 2.0 run; both have the same clips in one order.

    A RunError for the CNN: the study kept only its totals.
    """
    if approach not in WITH_PREDICTIONS:
        raise RunError(f"the study stored no clip-by-clip predictions of {approach!r}, only its totals")
    stored = reported(approach)["predictions"]
    y = np.array([GENRES.index(clip.split(".")[0]) for clip in stored])
    return tuple(stored), y, np.array([GENRES.index(genre) for genre in stored.values()])


def totals(approach: str) -> pd.DataFrame:
    """Clips of each genre (index) that were ``right``, were ``named`` so, and are so (``support``).

    Of the wav2vec 2.0 runs from their predictions; of the CNN as its printed report determines them.
    """
    if approach not in WITH_PREDICTIONS:
        found = pd.DataFrame.from_dict(reported(approach)["per_class_derived"], orient="index")
        return found.rename(columns={"true_positives": "right", "predicted_as": "named"})
    matrix = evaluation.confusion(*predictions(approach)[1:])
    return pd.DataFrame({"right": matrix.diagonal(), "named": matrix.sum(0), "support": matrix.sum(1)}, index=GENRES)


def per_genre(approach: str) -> pd.DataFrame:
    """``genre, precision, recall, f1, support``: one row a genre, recomputed from what the study stored."""
    t = totals(approach).rename_axis("genre").reset_index()
    scores = t.assign(precision=t.right / t.named, recall=t.right / t.support, f1=2 * t.right / (t.named + t.support))
    return scores[["genre", "precision", "recall", "f1", "support"]]


def paired_test() -> dict[str, float]:
    """Exact McNemar test of full fine-tuning against head-only on the study's 100 common clips."""
    (_, y, full), (_, _, head) = predictions("full"), predictions("head-only")
    return evaluation.mcnemar(full == y, head == y)


def reported_difference(a: str, b: str) -> Interval:
    """Accuracy of `a` minus accuracy of `b` as the study reports them, with a 95 % interval.

    Head-only and full fine-tuning share their test clips: a paired bootstrap of the stored predictions. The
    CNN was scored on other clips: Newcombe's interval of two independent proportions (Statistics in Medicine
    17, 1998), which cannot see that the two test sets differ.
    """
    if {a, b} <= set(WITH_PREDICTIONS):
        (_, y, p_a), (_, _, p_b) = predictions(a), predictions(b)
        return evaluation.bootstrap(p_a == y, p_b == y)
    x, z = accuracy(a), accuracy(b)
    counts = (reported(a)["correct"], x.n, reported(b)["correct"], z.n)
    low, high = confint_proportions_2indep(*counts, compare="diff", method="newcomb")
    return Interval(x.value - z.value, float(low), float(high), min(x.n, z.n), "Newcombe 95 %, different clips")


def against_study(record: Experiment, classifier: str = "SVM") -> pd.DataFrame:
    """Exact McNemar tests of a classifier against the study's stored predictions of its 100 wav2vec test clips.

    `record` is one of :mod:`genre_utils.experiments` with the condition ``study: wav2vec``. Index: head-only and full;
    columns: ``only_it`` and ``only_study`` count the clips that one alone has right; ``p``; ``p_holm``, for two tests.
    """
    place = {clip: i for i, clip in enumerate(record.clips)}
    marks, rows = record.marks(classifier, "study: wav2vec")[0], {}
    for approach in WITH_PREDICTIONS:
        ids, y, predicted = predictions(approach)
        rows[approach] = evaluation.mcnemar(marks[[place[clip] for clip in ids]] == 1, predicted == y)
    table = pd.DataFrame.from_dict(rows, orient="index").rename(columns={"b": "only_it", "c": "only_study"})
    return table.assign(p_holm=multipletests(table["p"], method="holm")[1])


def literature() -> pd.DataFrame:
    """Accuracies that others report on the fault-filtered split of GTZAN: ``what, accuracy`` (:class:`Interval`), ``source``."""
    stored = json.loads(package_data("literature.json").read_text(encoding="utf-8"))
    n, table = stored["n"], pd.DataFrame(stored["figures"])
    return table.assign(accuracy=[evaluation.wilson(round(n * figure / 100), n) for figure in table["accuracy"]])

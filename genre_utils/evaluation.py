"""What a set of predictions is worth, and how sure we are: scores, intervals, paired tests, calibration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import t
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from genre_utils.profiles import GENRES

Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        As fractions (0.75 is 75 %), ``low <= high``.
    n : int
        Number of clips the figure rests on.
    method : str
        How the interval was made, in words.
    """

    value: float
    low: float
    high: float
    n: int
    method: str = ""

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def _checked(y: Sequence[int] | np.ndarray, p: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(y), np.asarray(p)
    if y.ndim != 1 or y.shape != p.shape or len(y) == 0:
        raise ValueError(f"expected two equally long, non-empty lists of classes, not {y.shape} and {p.shape}")
    return y, p


def accuracy(y: np.ndarray, p: np.ndarray) -> float:
    """Fraction of predictions `p` equal to the labels `y`, both shape (n,)."""
    y, p = _checked(y, p)
    return float((y == p).mean())


def f1_of_confusion(matrix: np.ndarray) -> np.ndarray:
    """F1 of each class from confusion counts, rows true: shape (..., k, k) -> (..., k).

    A class that neither occurs nor is predicted has no F1: NaN.
    """
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    totals = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        return 2 * hits / totals


def macro_f1(y: np.ndarray, p: np.ndarray) -> float:
    """Unweighted mean F1 over the classes that occur or are predicted.

    The same figure as ``sklearn.metrics.f1_score(average="macro", zero_division=0)``, computed from
    counts because a bootstrap asks for it thousands of times.
    """
    y, p = _checked(y, p)
    classes = int(max(y.max(), p.max())) + 1
    counts = np.bincount(y * classes + p, minlength=classes**2).reshape(classes, classes)
    return float(np.nanmean(f1_of_confusion(counts)))


def confusion(y: np.ndarray, p: np.ndarray, n_genres: int = len(GENRES)) -> np.ndarray:
    """Counts, shape (n_genres, n_genres): rows are the true genre, columns the predicted one."""
    return confusion_matrix(*_checked(y, p), labels=np.arange(n_genres))


def wilson(correct: int, n: int) -> Interval:
    """Wilson's 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927).

    Raises
    ------
    ValueError
        Unless ``0 <= correct <= n`` and ``n > 0``.
    """
    if n <= 0 or not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is not a proportion")
    low, high = proportion_confint(int(correct), int(n), alpha=0.05, method="wilson")
    # At 0 and at n the formula touches the value up to rounding.
    value = correct / n
    return Interval(value, min(float(low), value), max(float(high), value), int(n), "Wilson 95 %")


def f1_interval(hits: float, false_alarms: float, misses: float) -> Interval:
    """F1 of one genre with a 95 % interval that does not collapse where no error was seen.

    F1 is 2 J / (1 + J) of J = hits / (hits + false alarms + misses), a proportion (D. Hand, P. Christen and
    N. Kirielle, "F*", Machine Learning 110, 2021), so Wilson's interval of J is carried over.

    Raises
    ------
    ValueError
        If all three are zero: a genre that neither occurs nor is predicted has no F1.
    """
    union = float(hits + false_alarms + misses)
    if union <= 0:
        raise ValueError("a genre that neither occurs nor is predicted has no F1")
    share = hits / union
    low, high = proportion_confint(float(hits), union, alpha=0.05, method="wilson")
    low, high = (2 * j / (1 + j) for j in (min(float(low), share), max(float(high), share)))
    return Interval(2 * share / (1 + share), low, high, round(union), "Wilson 95 % of F*")


def resamples(
    n_clips: int, groups: Sequence | np.ndarray | None, n: int, seed: int = 0
) -> tuple[np.ndarray, str]:
    """How often each clip (or, with `groups`, each artist) is drawn: (n, n_clips) int, and what was drawn in words."""
    if groups is None:
        codes, what = np.arange(n_clips), "clips"
    else:
        if len(groups) != n_clips:
            raise ValueError(f"{len(groups)} groups for {n_clips} clips")
        codes = pd.factorize(np.asarray(groups, dtype=object))[0]
        what = f"{codes.max() + 1} artists"
    n_groups = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n)
    return drawn[:, codes], f"bootstrap over {what}, {n} draws"


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def bootstrap(
    metric: Metric,
    y: np.ndarray,
    p: np.ndarray,
    groups: Sequence | np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Interval:
    """95 % percentile bootstrap interval of ``metric(y, p)``.

    Parameters
    ----------
    metric : callable
        Takes labels and predictions, both shape (n_clips,), and returns a number.
    groups : sequence, optional
        Artist of each clip. Clips of one artist are alike, so whole artists are drawn instead of clips:
        the interval is wider, and honest.
    n : int
        Number of resamples.
    """
    y, p = _checked(y, p)
    counts, method = resamples(len(y), groups, n, seed)
    order = np.arange(len(y))
    draws = [metric(y[chosen], p[chosen]) for chosen in (np.repeat(order, row) for row in counts)]
    value = float(metric(y, p))
    low, high = _percentiles(np.asarray(draws))
    return Interval(value, low, high, len(y), method)


def difference(
    metric: Metric,
    y: np.ndarray,
    p_a: np.ndarray,
    p_b: np.ndarray,
    groups: Sequence | np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of ``metric(y, p_a) - metric(y, p_b)`` on the same clips: each draw scores both."""
    y, p_a = _checked(y, p_a)
    _, p_b = _checked(y, p_b)
    index = np.arange(len(y))

    def gap(_: np.ndarray, chosen: np.ndarray) -> float:
        return metric(y[chosen], p_a[chosen]) - metric(y[chosen], p_b[chosen])

    paired = bootstrap(gap, y, index, groups, n, seed)
    return Interval(paired.value, paired.low, paired.high, len(y), "paired " + paired.method)


def over_seeds(
    hits: np.ndarray,
    other: np.ndarray | None = None,
    groups: Sequence | np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Accuracy of several seeds on one test set, or the difference of two approaches, with both sources of luck.

    Each bootstrap draw takes seeds *and* clips (whole artists, if `groups` names them) with replacement, so that the
    interval holds for another seed on other clips of the same kind. With k seeds it is too narrow by about
    1 / (2 k) of the part that the seeds contribute: five seeds are few.

    Parameters
    ----------
    hits : bool or float array (seeds, clips)
        Which clips each seed got right.
    other : array of the same shape, optional
        Hits of the approach to compare with; row k of both shares whatever seed k decides (the labels drawn, say).
    groups : sequence, optional
        Artist of each clip.
    level : float
        Of the interval. For m comparisons at once, ``1 - 0.05 / m`` makes all of them right together with at least 95 %
        (Bonferroni); it takes more draws.

    Returns
    -------
    Interval
        Of the mean of `hits`, or of ``hits - other``.

    Raises
    ------
    ValueError
        If the shapes do not fit, or there is only one seed.
    """
    hits = np.asarray(hits, dtype=float)
    if hits.ndim != 2 or len(hits) < 2 or (other is not None and np.shape(other) != hits.shape):
        raise ValueError(
            f"expected hits of at least two seeds, (seeds, clips), and as many of the other approach, not shapes "
            f"{hits.shape} and {None if other is None else np.shape(other)}"
        )
    values = hits if other is None else hits - np.asarray(other, dtype=float)
    seeds, clips = values.shape
    counts, method = resamples(clips, groups, n, seed)
    rows = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=n)
    draws = np.einsum("ns,sc,nc->n", rows, values, counts, optimize=True) / (seeds * counts.sum(axis=1))
    low, high = (float(bound) for bound in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    method = ("" if other is None else "paired ") + method.replace("over", f"over {seeds} seeds and", 1)
    return Interval(float(values.mean()), low, high, clips, method)


def over_splits(scores: Sequence[float] | np.ndarray, n_train: int, n_test: int) -> Interval:
    """Mean of one score over repeated random splits of the same clips, with a corrected 95 % interval.

    The splits overlap, so their scores are not independent and the usual standard error is far too small.
    The variance is multiplied by ``1 / J + n_test / n_train`` instead of ``1 / J`` for J splits
    (C. Nadeau and Y. Bengio, Machine Learning 52, 2003).

    Parameters
    ----------
    scores : sequence of float, shape (J,)
        Accuracies, or paired differences of them.
    n_train, n_test : int
        Clips a split trains and tests on.

    Raises
    ------
    ValueError
        If there are fewer than two scores.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"expected the scores of at least two splits, not an array of shape {scores.shape}")
    half = t.ppf(0.975, len(scores) - 1) * np.sqrt(scores.var(ddof=1) * (1 / len(scores) + n_test / n_train))
    mean = float(scores.mean())
    return Interval(mean, mean - float(half), mean + float(half), n_test, f"corrected t over {len(scores)} splits")


def per_genre(
    y: np.ndarray,
    p: np.ndarray,
    genres: Sequence[str] = GENRES,
    groups: Sequence | np.ndarray | None = None,
    n: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Precision, recall and F1 of each genre, with 95 % intervals.

    Returns
    -------
    DataFrame
        One row a genre, in the order of `genres`: ``genre, precision, precision_low, precision_high,
        recall, ..., f1, ..., support``. Precision and recall are proportions (Wilson); F1 is not, and is
        bootstrapped. What rests on no clip at all (precision of a genre never predicted) is 0 with the
        interval [0, 1].
    """
    y, p = _checked(y, p)
    k = len(genres)
    precision, recall, f1, support = precision_recall_fscore_support(
        y, p, labels=np.arange(k), zero_division=0
    )
    matrix = confusion(y, p, k)
    counts, _ = resamples(len(y), groups, n, seed)
    cell = np.zeros((len(y), k * k))
    cell[np.arange(len(y)), y * k + p] = 1
    f1_draws = f1_of_confusion((counts @ cell).reshape(n, k, k))
    rows = []
    for i, genre in enumerate(genres):
        row: dict[str, object] = {"genre": genre}
        bounds = {
            "precision": (precision[i], _proportion(matrix[i, i], matrix[:, i].sum())),
            "recall": (recall[i], _proportion(matrix[i, i], matrix[i].sum())),
            "f1": (f1[i], _f1_bounds(f1_draws[:, i], f1[i])),
        }
        for name, (value, (low, high)) in bounds.items():
            row |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {"support": int(support[i])})
    return pd.DataFrame(rows)


def _proportion(correct: int, total: int) -> tuple[float, float]:
    if total == 0:
        return 0.0, 1.0
    interval = wilson(int(correct), int(total))
    return interval.low, interval.high


def _f1_bounds(draws: np.ndarray, value: float) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN: the genre occurs in no draw
        low, high = _percentiles(draws)
    if np.isnan(low):
        return 0.0, 1.0
    return min(low, float(value)), max(high, float(value))


def mcnemar(a_right: np.ndarray, b_right: np.ndarray) -> dict[str, float]:
    """Exact McNemar test of two approaches scored on the same clips.

    Parameters
    ----------
    a_right, b_right : ndarray of bool, shape (n,)
        Whether each clip was classified correctly.

    Returns
    -------
    dict
        ``b``: clips only A got right; ``c``: clips only B got right; ``p``: two-sided exact p-value
        (Q. McNemar, Psychometrika 12, 1947; the binomial form).
    """
    a_right, b_right = (np.asarray(x, dtype=bool) for x in _checked(a_right, b_right))
    b, c = int((a_right & ~b_right).sum()), int((~a_right & b_right).sum())
    both, neither = int((a_right & b_right).sum()), int((~a_right & ~b_right).sum())
    p = statsmodels_mcnemar([[both, b], [c, neither]], exact=True).pvalue if b + c else 1.0
    return {"b": b, "c": c, "p": min(1.0, float(p))}


def holm(pvalues: Sequence[float] | Mapping[str, float]):
    """P-values adjusted for multiple comparisons (S. Holm, Scand. J. Stat. 6, 1979), in the given order.

    A mapping comes back as a dict with the same keys, a sequence as an ndarray.
    """
    values = list(pvalues.values()) if isinstance(pvalues, Mapping) else list(pvalues)
    adjusted = multipletests(values, method="holm")[1] if values else np.array([])
    if isinstance(pvalues, Mapping):
        return dict(zip(pvalues, map(float, adjusted), strict=True))
    return adjusted


def pairwise_mcnemar(right: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """McNemar test of every pair: columns ``a, b, only_a, only_b, p, p_holm``.

    `right` maps the name of an approach to its (n,) hits on one common test set.
    """
    rows = []
    for a, b in combinations(right, 2):
        test = mcnemar(right[a], right[b])
        rows.append({"a": a, "b": b, "only_a": test["b"], "only_b": test["c"], "p": test["p"]})
    table = pd.DataFrame(rows, columns=["a", "b", "only_a", "only_b", "p"])
    return table.assign(p_holm=holm(table["p"]))


def calibration(probs: np.ndarray, y: np.ndarray, bins: int = 10) -> tuple[pd.DataFrame, float]:
    """Does a confidence of 80 % mean right four times in five?

    Parameters
    ----------
    probs : ndarray, shape (n, k)
    y : ndarray of int, shape (n,)
    bins : int
        Equally wide bins of the highest probability.

    Returns
    -------
    table : DataFrame
        Non-empty bins: ``low, high, n, confidence, accuracy, accuracy_low, accuracy_high`` (Wilson).
    ece : float
        Expected calibration error: the mean gap between confidence and accuracy, weighted by clips
        (Guo et al., arXiv 1706.04599).
    """
    probs, y = np.asarray(probs), np.asarray(y)
    if probs.ndim != 2 or y.shape != (len(probs),) or len(y) == 0:
        raise ValueError(f"expected (n, k) probabilities and (n,) labels, not {probs.shape} and {y.shape}")
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == y
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for i in np.unique(bin_of):
        inside = bin_of == i
        hit = wilson(int(right[inside].sum()), int(inside.sum()))
        rows.append((i / bins, (i + 1) / bins, hit.n, confidence[inside].mean(), hit.value, hit.low, hit.high))
    names = ["low", "high", "n", "confidence", "accuracy", "accuracy_low", "accuracy_high"]
    table = pd.DataFrame(rows, columns=names)
    ece = float((table["n"] * (table["confidence"] - table["accuracy"]).abs()).sum() / len(y))
    return table, ece


def most_confident_errors(
    ids: Sequence[str], y: np.ndarray, probs: np.ndarray, genres: Sequence[str] = GENRES, n: int = 5
) -> pd.DataFrame:
    """The `n` wrong predictions made with the highest probability: ``clip, genre, predicted, confidence``."""
    y, probs = np.asarray(y), np.asarray(probs)
    predicted = probs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != y)
    wrong = wrong[np.argsort(-probs[wrong].max(axis=1), kind="stable")][:n]
    rows = [(ids[i], genres[y[i]], genres[predicted[i]], float(probs[i].max())) for i in wrong]
    return pd.DataFrame(rows, columns=["clip", "genre", "predicted", "confidence"])


def in_words(gap: Interval, a: str, b: str) -> str:
    """A sentence (Markdown) on the difference `a` minus `b` that claims no more than its interval allows."""
    points = f"{100 * gap.value:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] on {gap.n} clips"
    if gap.low > 0:
        return f"**{a} is better than {b}**: {points}; the 95 % interval lies above zero."
    if gap.high < 0:
        return f"**{a} is worse than {b}**: {points}; the 95 % interval lies below zero."
    return f"**We cannot tell {a} from {b}**: {points}; the 95 % interval contains zero."

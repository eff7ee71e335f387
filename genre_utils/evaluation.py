"""What a set of predictions is worth, and how sure we are: scores, intervals, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import t
from sklearn.metrics import confusion_matrix
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from genre_utils.profiles import GENRES

#: Artist of each clip, or None.
Groups = Sequence | np.ndarray | None


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval: fractions (0.75 is 75 %), ``low <= high``, that rest on `n` clips."""

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


def f1_of_confusion(matrix: np.ndarray) -> np.ndarray:
    """F1 of each class (NaN if it neither occurs nor is predicted) from confusion counts: (..., k, k) -> (..., k)."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    totals = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        return 2 * hits / totals


def macro_f1(y: np.ndarray, p: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Unweighted mean F1 over the classes that occur or are predicted; `counts` (draws, n): once for each draw."""
    y, p = _checked(y, p)
    counts = np.ones(len(y)) if counts is None else counts
    return np.nanmean(f1_of_confusion(_confusions(y, p, int(max(y.max(), p.max())) + 1, counts)), axis=-1)


def _confusions(y: np.ndarray, p: np.ndarray, k: int, counts: np.ndarray) -> np.ndarray:
    """Confusion counts (..., k, k) where clip i counts ``counts[..., i]`` times."""
    cells = np.zeros((len(y), k * k))
    cells[np.arange(len(y)), y * k + p] = 1
    return (counts @ cells).reshape(*counts.shape[:-1], k, k)


def confusion(y: np.ndarray, p: np.ndarray, n_genres: int = len(GENRES)) -> np.ndarray:
    """Counts, shape (n_genres, n_genres): rows are the true genre, columns the predicted one."""
    return confusion_matrix(*_checked(y, p), labels=np.arange(n_genres))


def wilson(correct: float, n: float) -> Interval:
    """Wilson's 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927), ``0 <= correct <= n``, ``n > 0``."""
    if n <= 0 or not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is not a proportion")
    value, low, high = map(float, _in_order(correct / n, *proportion_confint(correct, n, method="wilson")))
    return Interval(value, low, high, round(n), "Wilson 95 %")


def _in_order(value, low, high) -> tuple:
    """Values and bounds as they are, but 0 [0, 1] where they are NaN, and no bound on the wrong side by rounding."""
    value = np.nan_to_num(value)
    return value, np.minimum(np.nan_to_num(low), value), np.maximum(np.nan_to_num(high, nan=1.0), value)


def f1_interval(hits: float, false_alarms: float, misses: float) -> Interval:
    """F1 of one genre with a 95 % interval that does not collapse where no error was seen.

    F1 is 2 J / (1 + J) of J = hits / (hits + false alarms + misses), a proportion (D. Hand, P. Christen and
    N. Kirielle, "F*", Machine Learning 110, 2021), so Wilson's interval of J is carried over. A genre that neither
    occurs nor is predicted has no F1: a ValueError, as from :func:`wilson`.
    """
    share = wilson(hits, hits + false_alarms + misses)
    value, low, high = (2 * j / (1 + j) for j in (share.value, share.low, share.high))
    return Interval(value, low, high, share.n, "Wilson 95 % of F*")


def resamples(n_clips: int, groups: Groups, n: int, seed: int = 0) -> tuple[np.ndarray, str]:
    """How often each clip (or, with `groups`, each artist) is drawn: (n, n_clips) int, and what was drawn in words."""
    if groups is not None and len(groups) != n_clips:
        raise ValueError(f"{len(groups)} groups for {n_clips} clips")
    codes = np.arange(n_clips) if groups is None else pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=False)[0]
    what = "clips" if groups is None else f"{codes.max() + 1} artists"
    return _draws(tuple(codes.tolist()), n, seed), f"bootstrap over {what}, {n} draws"


@lru_cache(maxsize=4)  # one test set is asked about again and again
def _draws(codes: tuple[int, ...], n: int, seed: int) -> np.ndarray:
    n_groups = max(codes) + 1
    drawn = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n)[:, codes]
    drawn.flags.writeable = False
    return drawn


def bootstrap(
    hits: np.ndarray, other: np.ndarray | None = None, groups: Groups = None, n: int = 2000, seed: int = 0,
    level: float = 0.95,
) -> Interval:  # fmt: skip
    """Mean of `hits`, or of ``hits - other`` on the same clips, with a percentile bootstrap interval.

    Each draw takes clips (whole artists, if `groups` names them, since clips of one artist are alike) with replacement,
    and seeds too where there are several, so that the interval holds for another seed on other clips of the same kind.
    With k seeds it is too narrow by about 1 / (2 k) of the part that the seeds contribute: five seeds are few.

    Parameters
    ----------
    hits, other : bool or float arrays (clips,) or (seeds, clips)
        Which clips (each seed) got right; row k of both shares whatever seed k decides (the labels drawn, say).
        A ValueError if the shapes do not fit.
    groups : sequence, optional
        Artist of each clip.
    level : float
        Of the interval. For m comparisons at once, ``1 - 0.05 / m`` makes all of them right together with at least 95 %
        (Bonferroni); it takes more draws.
    """
    values = np.atleast_2d(np.asarray(hits, dtype=float))
    if values.ndim != 2 or not values.size or (other is not None and np.shape(other) != np.shape(hits)):
        raise ValueError(
            f"expected hits of some clips, (clips,) or (seeds, clips), and as many of the other approach, not shapes "
            f"{np.shape(hits)} and {None if other is None else np.shape(other)}"
        )
    if other is not None:
        values = values - np.asarray(other, dtype=float)
    seeds, clips = values.shape
    counts, method = resamples(clips, groups, n, seed)
    rows = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=n)
    draws = np.einsum("ns,sc,nc->n", rows, values, counts, optimize=True) / (seeds * counts.sum(axis=1))
    low, high = (float(bound) for bound in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    method = method.replace("over", f"over {seeds} seeds and", 1) if seeds > 1 else method
    return Interval(float(values.mean()), low, high, clips, method if other is None else f"paired {method}")


def f1_bootstrap(y: np.ndarray, p: np.ndarray, groups: Groups = None, n: int = 2000) -> Interval:
    """:func:`macro_f1` with a percentile bootstrap interval over clips or, with `groups`, artists.

    Of predictions `p` of several seeds, (seeds, clips), the mean, and the interval over seeds too, as in :func:`bootstrap`.
    """
    of_seeds = [_checked(y, row) for row in np.atleast_2d(p)]
    counts, method = resamples(len(y), groups, n)
    seeds, scores = len(of_seeds), np.stack([macro_f1(*both, counts) for both in of_seeds])
    rows = np.random.default_rng([0, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=n)
    low, high = np.percentile((rows.T * scores).sum(axis=0) / seeds, [2.5, 97.5])
    method = method.replace("over", f"over {seeds} seeds and", 1) if seeds > 1 else method
    return Interval(float(np.mean([macro_f1(*both) for both in of_seeds])), float(low), float(high), len(y), method)


def f1_of_genre(y: np.ndarray, p: np.ndarray, genre: int) -> Interval:
    """:func:`f1_interval` of one genre, from labels (clips,) and predictions (seeds, clips): of the counts, the mean over seeds."""
    named, true = p == genre, y == genre
    counts = (named & true).sum(axis=1), (named & ~true).sum(axis=1), (~named & true).sum(axis=1)
    return f1_interval(*np.mean(counts, axis=1))


def over_splits(scores: Sequence[float] | np.ndarray, n_train: int, n_test: int) -> Interval:
    """Mean of one score over repeated random splits of the same clips, with a corrected 95 % interval.

    The splits overlap, so the variance is multiplied by ``1 / J + n_test / n_train`` instead of ``1 / J`` for J splits
    (C. Nadeau and Y. Bengio, Machine Learning 52, 2003).

    `scores`, shape (J,), are accuracies or paired differences of them; a split trains on `n_train` clips and tests on
    `n_test`. Fewer than two scores are a ValueError.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"expected the scores of at least two splits, not an array of shape {scores.shape}")
    half = t.ppf(0.975, len(scores) - 1) * np.sqrt(scores.var(ddof=1) * (1 / len(scores) + n_test / n_train))
    mean = float(scores.mean())
    return Interval(mean, mean - float(half), mean + float(half), n_test, f"corrected t over {len(scores)} splits")


def per_genre(
    y: np.ndarray, p: np.ndarray, genres: Sequence[str] = GENRES, groups: Groups = None, n: int = 2000
) -> pd.DataFrame:
    """Precision and recall (Wilson) and F1 (bootstrapped) of each genre, with 95 % intervals.

    One row a genre: ``genre, precision, precision_low, precision_high, recall, ..., f1, ..., support``. What rests on
    no clip at all (precision of a genre never predicted) is 0 with the interval [0, 1].
    """
    y, p = _checked(y, p)
    k = len(genres)
    matrix = confusion(y, p, k)
    hits, named, support = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    counts, _ = resamples(len(y), groups, n)
    draws = pd.DataFrame(f1_of_confusion(_confusions(y, p, k, counts)))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "precision": (hits / named, *proportion_confint(hits, named, method="wilson")),
            "recall": (hits / support, *proportion_confint(hits, support, method="wilson")),
            "f1": (f1_of_confusion(matrix), draws.quantile(0.025), draws.quantile(0.975)),
        }
    columns = {"genre": list(genres)}
    for name, score in found.items():
        columns[name], columns[f"{name}_low"], columns[f"{name}_high"] = _in_order(*score)
    return pd.DataFrame(columns | {"support": support})


def mcnemar(a_right: np.ndarray, b_right: np.ndarray) -> dict[str, float]:
    """Exact McNemar test of two approaches scored on the same clips.

    `a_right` and `b_right`, bool (n,), say whether each clip was classified correctly. Of the result, ``b`` counts the
    clips only A got right, ``c`` those only B got right, and ``p`` is the two-sided exact p-value (Q. McNemar,
    Psychometrika 12, 1947; the binomial form).
    """
    a_right, b_right = (np.asarray(x, dtype=bool) for x in _checked(a_right, b_right))
    b, c = int((a_right & ~b_right).sum()), int((~a_right & b_right).sum())
    return {"b": b, "c": c, "p": float(statsmodels_mcnemar([[0, b], [c, 0]], exact=True).pvalue)}


def pairwise_mcnemar(right: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """McNemar test of every pair: columns ``a, b, only_a, only_b, p, p_holm``.

    `right` maps an approach to its (n,) hits on one test set; ``p_holm`` is adjusted for the number of pairs (S. Holm,
    Scand. J. Stat. 6, 1979).
    """
    rows = [(a, b, *mcnemar(right[a], right[b]).values()) for a, b in combinations(right, 2)]
    table = pd.DataFrame(rows, columns=["a", "b", "only_a", "only_b", "p"])
    return table.assign(p_holm=multipletests(table["p"], method="holm")[1] if rows else table["p"])


def most_confident_errors(
    ids: Sequence[str], y: np.ndarray, probs: np.ndarray, genres: Sequence[str] = GENRES, n: int = 5
) -> pd.DataFrame:
    """The `n` wrong predictions made with the highest probability: ``clip, genre, predicted, confidence``."""
    predicted = probs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != np.asarray(y))
    wrong = wrong[np.argsort(-probs[wrong].max(axis=1), kind="stable")][:n]
    rows = [(ids[i], genres[y[i]], genres[predicted[i]], float(probs[i].max())) for i in wrong]
    return pd.DataFrame(rows, columns=["clip", "genre", "predicted", "confidence"])


def in_words(gap: Interval, a: str, b: str) -> str:
    """A sentence (Markdown) on the difference `a` minus `b` that claims no more than its interval allows."""
    points = f"{100 * gap.value:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] on {gap.n} clips"
    if not (gap.low > 0 or gap.high < 0):
        return f"**We cannot tell {a} from {b}**: {points}; the 95 % interval contains zero."
    better, above = ("better", "above") if gap.low > 0 else ("worse", "below")
    return f"**{a[:1].upper()}{a[1:]} is {better} than {b}**: {points}; the 95 % interval lies {above} zero."

"""The claims of the study, and what would make each of them hold.

A claim is judged on every set of comparable runs that can say something about it; some also on the study's own stored
data, and one on classical classifiers on all of GTZAN. Reported figures come from :mod:`genre_utils.study.reported`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from genre_utils import evaluation
from genre_utils.comparison import Comparison
from genre_utils.evaluation import Interval
from genre_utils.profiles import GENRES
from genre_utils.records import TITLES, Experiment
from genre_utils.study import reported

HOLDS, IN_PART, NOT_SUPPORTED, NOT_RUN = "holds", "holds in part", "not supported", "not yet run here"
VERDICTS = (HOLDS, IN_PART, NOT_SUPPORTED, NOT_RUN)
#: Genres on which the study's own CNN has an F1 below one half: what "ambiguous" is taken to mean.
_UNCLEAR = 0.5


@dataclass(frozen=True)
class Found:
    """What one piece of evidence says: a figure in words, the verdict, and its reason."""

    ours: str
    verdict: str
    why: str


Judge = Callable[[Comparison], "Found | None"]


@dataclass(frozen=True)
class Claim:
    """One statement of the study.

    Attributes
    ----------
    where : str
        File of the study's repository, or its conclusions.
    reported : str
        The figure with the interval that follows from the study's own data.
    criterion : str
        What would make it hold.
    judge : callable
        Judges it on comparable runs; None if they cannot say anything.
    reanalysed : callable, optional
        Judges it on what the study itself stored.
    on_gtzan : bool
        Whether it is about GTZAN alone: other corpora are not asked.
    """

    text: str
    where: str
    reported: str
    criterion: str
    judge: Judge
    approaches: tuple[str, ...]
    reanalysed: Callable[[], Found] | None = None
    on_gtzan: bool = False
    classical: Callable[[Experiment], Found] | None = None


def _points(gap: Interval) -> str:
    return f"{100 * gap.value:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"


def _f1(score: Interval) -> str:
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _same_figure(theirs: Interval, ours: Interval, show: Callable[[Interval], str]) -> Found:
    """Is the reported figure found again? The tolerance is the interval of the reported figure."""
    if theirs.low <= ours.value <= theirs.high:
        return Found(show(ours), HOLDS, "ours lies within its interval")
    if ours.low <= theirs.high and theirs.low <= ours.high:
        return Found(show(ours), IN_PART, "only the two intervals meet")
    return Found(show(ours), NOT_SUPPORTED, "the two intervals lie apart")


def _above(score: Interval, limit: float) -> Found:
    """Is an F1 above a limit?"""
    if score.low > limit:
        return Found(_f1(score), HOLDS, f"the whole interval lies above {limit}")
    if score.value > limit:
        return Found(_f1(score), IN_PART, f"the figure lies above {limit}, its interval reaches below")
    return Found(_f1(score), NOT_SUPPORTED, f"the figure does not lie above {limit}")


def _leads(gaps: Mapping[str, Interval]) -> Found:
    """Do all of the differences lie above zero?"""
    sure = [name for name, gap in gaps.items() if gap.low > 0]
    back = [name for name, gap in gaps.items() if gap.high < 0]
    ours = "; ".join((f"{name} " if len(gaps) > 1 else "") + _points(gap) for name, gap in gaps.items())
    if len(sure) == len(gaps):
        why = "the interval excludes zero" if len(gaps) == 1 else "each interval excludes zero"
        return Found(ours, HOLDS, why)
    why = f"beyond chance: {', '.join(sure)}" if sure else "no interval lies above zero"
    if back:
        why += f"; the reverse: {', '.join(back)}" if len(gaps) > 1 else "; it lies below: the reverse"
    elif not sure and len(gaps) == 1:
        why = "undecided: the interval contains zero"
    return Found(ours, IN_PART if sure else NOT_SUPPORTED, why)


def unclear_genres() -> list[str]:
    """Genres on which the study's CNN has an F1 below one half."""
    table = reported.per_genre("cnn")
    return table.loc[table["f1"] < _UNCLEAR, "genre"].tolist()


def _gain_on_unclear(hits_full: np.ndarray, hits_head: np.ndarray, y: np.ndarray, groups, n: int = 2000) -> Interval:
    """How much more full fine-tuning gains over head-only on the unclear genres than on the others.

    Parameters
    ----------
    hits_full, hits_head : bool (seeds, clips)
    """
    gain = (hits_full.astype(float) - hits_head).mean(axis=0)
    inside = np.isin(y, [GENRES.index(genre) for genre in unclear_genres()])
    counts, method = evaluation.resamples(len(y), groups, n)
    with np.errstate(invalid="ignore"):
        draws = [(counts[:, part] @ gain[part]) / counts[:, part].sum(axis=1) for part in (inside, ~inside)]
    low, high = np.nanpercentile(draws[0] - draws[1], [2.5, 97.5])
    return Interval(float(gain[inside].mean() - gain[~inside].mean()), float(low), float(high), len(y), method)


def _figure_claim(
    text: str, where: str, theirs: Interval, approach: str, ours: Callable[[Comparison], Interval], show: Callable[[Interval], str]
) -> Claim:
    """A figure of one approach, to be found again on GTZAN."""
    return Claim(
        text,
        where,
        show(theirs),
        "our mean lies within the reported figure's interval",
        lambda runs: _same_figure(theirs, ours(runs), show),
        (approach,),
        on_gtzan=True,
    )


def _accuracy_claim(approach: str, where: str) -> Claim:
    text = f"{TITLES[approach]}: accuracy"
    return _figure_claim(text, where, reported.accuracy(approach), approach, lambda runs: runs.accuracy(approach), str)


def _f1_claim(approach: str, where: str) -> Claim:
    figure = reported.reported(approach)["macro_f1"]
    if approach in reported.WITH_PREDICTIONS:
        _, y, p = reported.predictions(approach)
        theirs = evaluation.bootstrap(evaluation.macro_f1, y, p)
    else:  # of the CNN only totals are known: the interval of the mean of ten, genre by genre
        parts = [_reported_f1(approach, genre) for genre in GENRES]
        half = np.sqrt(np.sum([part.half_width**2 for part in parts])) / len(parts)
        theirs = Interval(figure, figure - float(half), figure + float(half), 150, "from the totals of each genre")
    text = f"{TITLES[approach]}: macro F1"
    return _figure_claim(text, where, theirs, approach, lambda runs: runs.macro_f1(approach), _f1)


def _reported_f1(approach: str, genre: str) -> Interval:
    """F1 of a genre with an interval from the study's own counts."""
    if approach in reported.WITH_PREDICTIONS:
        _, y, p = reported.predictions(approach)
        k = GENRES.index(genre)
        right, named, support = int(((p == k) & (y == k)).sum()), int((p == k).sum()), int((y == k).sum())
    else:
        totals = reported.reported(approach)["per_class_derived"][genre]
        right, named, support = totals["true_positives"], totals["predicted_as"], totals["support"]
    return evaluation.f1_interval(right, named - right, support - right)


def _genre_claim(approach: str, genre: str, where: str, above: float | None = None) -> Claim:
    theirs = _reported_f1(approach, genre)
    short = TITLES[approach]
    if above is None:
        text = f"{short}: F1 of {genre} is {theirs.value:.2f}"
        return _figure_claim(text, where, theirs, approach, lambda runs: runs.f1(approach, genre), _f1)
    return Claim(
        f"{short}: F1 of {genre} is above {above}",
        where,
        _f1(theirs),
        f"the interval lies above {above}",
        lambda runs: _above(runs.f1(approach, genre), above),
        (approach,),
        reanalysed=lambda: _above(theirs, above),
        on_gtzan=True,
    )


def _lead_claim(text: str, pairs: Mapping[str, tuple[str, str]], with_figure: bool = True, classical=None) -> Claim:
    """`pairs` maps a short name of each comparison to (said to be better, said to be worse)."""
    known = {name: reported.reported_difference(a, b) for name, (a, b) in pairs.items()} if with_figure else {}
    approaches = tuple(dict.fromkeys(a for pair in pairs.values() for a in pair))

    def judge(runs: Comparison) -> Found:
        return _leads({name: runs.lead(a, b) for name, (a, b) in pairs.items()})

    return Claim(
        text,
        "conclusions",
        "; ".join((f"{name} " if len(known) > 1 else "") + _points(gap) for name, gap in known.items()) or "no figure",
        "each difference on equal clips lies above zero with its 95 % interval" if len(pairs) > 1
        else "the difference on equal clips lies above zero with its 95 % interval",
        judge,
        approaches,
        reanalysed=(lambda: _leads(known)) if known else None,
        classical=classical,
    )  # fmt: skip


def _unclear_claim() -> Claim:
    clips, y, full = reported.predictions("full")
    other, _, head = reported.predictions("head-only")
    head = head[[other.index(clip) for clip in clips]]
    theirs = _gain_on_unclear((full == y)[None], (head == y)[None], y, None)
    names = " and ".join(unclear_genres())

    def judge(runs: Comparison) -> Found:
        rows, labels, groups = runs.predictions("full", "head-only")
        hits = [rows[name] == labels for name in ("full", "head-only")]
        return _leads({"gain": _gain_on_unclear(*hits, labels, groups)})

    return Claim(
        f"Full fine-tuning wins above all on ambiguous genres ({names}: F1 of its CNN below {_UNCLEAR})",
        "conclusions",
        "no figure; " + _points(theirs),
        "its gain over head-only is larger there than elsewhere, with the 95 % interval above zero",
        judge,
        ("full", "head-only"),
        reanalysed=lambda: _leads({"gain": theirs}),
        on_gtzan=True,
    )


def _compromise_claim() -> Claim:
    def judge(runs: Comparison) -> Found | None:
        if not runs.seconds("full"):
            return None
        quick = runs.seconds("head-only") / runs.seconds("full")
        gap = runs.lead("full", "head-only")
        ours = f"{quick:.2f} of the time of full fine-tuning; full is ahead by {_points(gap)}"
        if quick >= 0.5:
            return Found(ours, NOT_SUPPORTED, "not quick: more than half of the time")
        if gap.high <= 0.15:
            return Found(ours, HOLDS, "quick, and not more than 15 points behind")
        return Found(ours, IN_PART, "quick, but perhaps more than 15 points behind")

    return Claim(
        "Head-only is the quick compromise",
        "conclusions",
        "no time recorded; " + _points(reported.reported_difference("full", "head-only")) + " for full",
        "less than half of the time of full fine-tuning, and at most 15 points behind it",
        judge,
        ("head-only", "full"),
    )


def _limits_on_gtzan(record: Experiment) -> Found:
    """The SVM against the study's own predictions on its own clips."""
    tests = {name: reported.against_study(record, name) for name in reported.WITH_PREDICTIONS}
    ahead = [name for name, test in tests.items() if test["c"] > test["b"] and test["p"] < 0.05]
    ours = f"SVM {record.accuracy('SVM', condition='study: wav2vec')} on its wav2vec split, {record.accuracy('SVM', condition='study: CNN')} on its CNN split; "
    ours += "; ".join(
        f"only the SVM right {t['b']:.0f}, only {name} {t['c']:.0f} (p = {t['p']:.3f})" for name, t in tests.items()
    )
    why = f"beyond chance on its own clips: {', '.join(ahead)}" if ahead else "no network is ahead beyond chance"
    return Found(ours, {2: HOLDS, 1: IN_PART, 0: NOT_SUPPORTED}[len(ahead)], why)


@lru_cache(maxsize=1)
def claims() -> tuple[Claim, ...]:
    """The claims of the study, in the order of the ledger."""
    where = {"cnn": "results/Untitled0.ipynb", "head-only": "results/HFT_results", "full": "results/FFT_results"}
    spectrogram = {"full over CNN": ("full", "cnn"), "head-only over CNN": ("head-only", "cnn")}
    limits = {"CNN": ("cnn", "svm"), "head-only": ("head-only", "svm"), "full": ("full", "svm")}
    listed = [claim(name, place) for name, place in where.items() for claim in (_accuracy_claim, _f1_claim)]
    listed += [_genre_claim("cnn", genre, where["cnn"], above=0.8) for genre in ("classical", "hiphop", "metal")]
    listed += [_genre_claim("cnn", genre, where["cnn"]) for genre in ("disco", "rock")]
    listed += [_genre_claim("full", genre, where["full"]) for genre in ("classical", "jazz")]
    return (
        *listed,
        _lead_claim("Self-supervised learning on raw audio clearly beats spectrograms", spectrogram),
        _lead_claim("Full fine-tuning beats head-only", {"full over head-only": ("full", "head-only")}),
        _unclear_claim(),
        _compromise_claim(),
        _lead_claim(
            "Classical features reach their limits: every network beats an SVM on them",
            limits,
            with_figure=False,
            classical=_limits_on_gtzan,
        ),
    )

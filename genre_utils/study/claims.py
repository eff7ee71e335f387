"""The claims of the study, and what would make each of them hold.

A claim is judged on every set of comparable runs that can say something about it; some also on the study's own stored
data, and some by experiments on GTZAN. Reported figures come from :mod:`genre_utils.study.reported`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from genre_utils import evaluation
from genre_utils.comparison import Comparison
from genre_utils.evaluation import Interval
from genre_utils.profiles import GENRES
from genre_utils.records import CHOI, CNN, FOUR, PRE_TRAINED, SVM, TITLES, TUNED, Experiment
from genre_utils.study import reported

HOLDS, IN_PART, NOT_SUPPORTED, NOT_RUN = "holds", "holds in part", "not supported", "not yet run here"
#: Of figures on different clips; and of music that is not the study's, which can but illustrate.
NOT_COMPARABLE, ILLUSTRATES, DOES_NOT = "not comparable", "illustrates", "does not illustrate"
VERDICTS = (HOLDS, IN_PART, NOT_SUPPORTED, NOT_COMPARABLE, ILLUSTRATES, DOES_NOT, NOT_RUN)
#: Genres on which the study's own CNN has an F1 below one half: what "ambiguous" is taken to mean.
_UNCLEAR = 0.5


@dataclass(frozen=True)
class Found:
    """What one piece of evidence says: a figure in words, the verdict, and its reason."""

    ours: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Claim:
    """One statement of the study: `where` it stands, the `reported` figure with the interval that follows from the
    study's own data, and what would make it hold. `judge` asks comparable runs (None if they cannot say anything);
    `reanalysed`: what the study's own data say; `measured`: experiments on GTZAN: question, what it was asked of, and what
    that record says."""

    text: str
    where: str
    reported: str
    criterion: str
    judge: Callable[[Comparison], Found | None]
    approaches: tuple[str, ...]
    reanalysed: Found | None = None
    measured: tuple[tuple[str, str, Callable[[Experiment], Found]], ...] = ()
    #: Whether it is about GTZAN alone: other corpora are not asked.
    on_gtzan: bool = False


def _points(gap: Interval) -> str:
    return f"{100 * gap.value:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"


def _f1(score: Interval) -> str:
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"


#: Where the study reports an approach.
WHERE = {"cnn": "results/Untitled0.ipynb", "head-only": "results/HFT_results", "full": "results/FFT_results"}
#: F1 of single genres that the study points out, and the limit that it names.
OF_GENRES = (
    ("cnn", "classical", 0.8), ("cnn", "hiphop", 0.8), ("cnn", "metal", 0.8),
    ("cnn", "disco", None), ("cnn", "rock", None), ("full", "classical", None), ("full", "jazz", None),
)  # fmt: skip


def _graded(ours: str, sure: bool, partly: bool, reasons: tuple[str, str, str]) -> Found:
    grade = 0 if sure else 1 if partly else 2
    return Found(ours, VERDICTS[grade], reasons[grade])


def _same_figure(theirs: Interval, ours: Interval, show: Callable[[Interval], str]) -> Found:
    """Is the reported figure found again? The tolerance is the interval of the reported figure."""
    inside, meet = theirs.low <= ours.value <= theirs.high, ours.low <= theirs.high and theirs.low <= ours.high
    reasons = ("ours lies within its interval", "only the two intervals meet", "the two intervals lie apart")
    return _graded(show(ours), inside, meet, reasons)


def _above(score: Interval, limit: float) -> Found:
    """Is an F1 above a limit?"""
    partly = f"the figure lies above {limit}, its interval reaches below"
    reasons = (f"the whole interval lies above {limit}", partly, f"the figure does not lie above {limit}")
    return _graded(_f1(score), score.low > limit, score.value > limit, reasons)


def _reported_f1(approach: str, genre: str) -> Interval:
    """F1 of a genre with an interval from the study's own counts."""
    right, named, support = reported.totals(approach).loc[genre, ["right", "named", "support"]].tolist()
    return evaluation.f1_interval(right, named - right, support - right)


def _reported_macro_f1(approach: str) -> Interval:
    if approach in reported.WITH_PREDICTIONS:
        return evaluation.f1_bootstrap(*reported.predictions(approach)[1:])
    # Of the CNN only totals are known: the interval of the mean of ten, genre by genre.
    parts, figure = [_reported_f1(approach, genre) for genre in GENRES], reported.reported(approach)["macro_f1"]
    half = float(np.sqrt(np.sum([part.half_width**2 for part in parts])) / len(parts))
    return Interval(figure, figure - half, figure + half, 150, "from the totals of each genre")


def _figure(approach: str, what: str, theirs: Interval, ours: Callable, show=_f1, limit: float | None = None) -> Claim:
    """A figure to be found again or, with `limit`, to lie above it; `ours` takes it from a comparison."""

    about = (f"{TITLES[approach]}: {what}", WHERE[approach], show(theirs))

    def judge(runs) -> Found:
        return _same_figure(theirs, ours(runs), show) if limit is None else _above(ours(runs), limit)

    criterion = "our mean lies within the reported figure's interval" if limit is None else f"the interval lies above {limit}"
    stored = None if limit is None else _above(theirs, limit)
    measured = ((*SOUND, lambda found: _other_clips(found, approach)),) if what == "accuracy" else ()
    return Claim(*about, criterion, judge, (approach,), stored, measured, on_gtzan=True)


#: The experiment on real sound, and the contestants in it that stand for the approaches.
SOUND = "transfer", "four genres, by sound, artists kept apart"
BY_SOUND = {"svm": SVM, "cnn": CNN, "head-only": PRE_TRAINED, "full": TUNED}


def _other_clips(found: Experiment, approach: str) -> Found:
    """Our accuracy on a part of GTZAN, beside one on all genres."""
    why = "four genres, not ten" + ("" if approach == "cnn" else ", and the book's small backbone")
    return Found(str(found.accuracy(BY_SOUND[approach], condition=FOUR)), NOT_COMPARABLE, why)


def _figures(approach: str) -> Iterator[Claim]:
    yield _figure(approach, "accuracy", reported.accuracy(approach), lambda runs: runs.accuracy(approach), str)
    yield _figure(approach, "macro F1", _reported_macro_f1(approach), lambda runs: runs.macro_f1(approach))


def _genre_figure(approach: str, genre: str, limit: float | None) -> Claim:
    theirs = _reported_f1(approach, genre)
    what = f"F1 of {genre} is " + (f"{theirs.value:.2f}" if limit is None else f"above {limit}")
    return _figure(approach, what, theirs, lambda runs: runs.f1(approach, genre), limit=limit)


def _told(gaps: Mapping[str, Interval]) -> str:
    return "; ".join((f"{name} " if len(gaps) > 1 else "") + _points(gap) for name, gap in gaps.items())


def _leads(gaps: Mapping[str, Interval]) -> Found:
    """Do all of the differences lie above zero?"""
    sure = [name for name, gap in gaps.items() if gap.low > 0]
    back = [name for name, gap in gaps.items() if gap.high < 0]
    if len(sure) == len(gaps):
        why = "the interval excludes zero" if len(gaps) == 1 else "each interval excludes zero"
        return Found(_told(gaps), HOLDS, why)
    why = f"beyond chance: {', '.join(sure)}" if sure else "no interval lies above zero"
    if back:
        why += f"; the reverse: {', '.join(back)}" if len(gaps) > 1 else "; it lies below: the reverse"
    elif not sure and len(gaps) == 1:
        why = "undecided: the interval contains zero"
    return Found(_told(gaps), IN_PART if sure else NOT_SUPPORTED, why)


def _lead_claim(text: str, pairs: Mapping[str, tuple[str, str]], with_figure: bool = True, measured=()) -> Claim:
    """`pairs` maps a short name of each comparison to (said to be better, said to be worse)."""

    def by_sound(found: Experiment) -> Found:
        leads = _leads({name: found.accuracy(BY_SOUND[a], against=BY_SOUND[b], condition=FOUR) for name, (a, b) in pairs.items()})
        return replace(leads, why=f"{leads.why}; with the book's small backbone")
    known = {name: reported.reported_difference(*pair) for name, pair in pairs.items()} if with_figure else {}
    same_clips = all({*pair} <= set(reported.WITH_PREDICTIONS) for pair in pairs.values())
    apart = Found(_told(known), NOT_COMPARABLE, "the study tested its CNN on other clips than wav2vec 2.0")
    which = "each" if len(pairs) > 1 else "the"
    return Claim(
        text,
        "conclusions",
        _told(known) or "no figure",
        f"{which} difference on equal clips lies above zero with its 95 % interval",
        lambda runs: _leads({name: runs.lead(*pair) for name, pair in pairs.items()}),
        tuple(dict.fromkeys(approach for pair in pairs.values() for approach in pair)),
        (_leads(known) if same_clips else apart) if known else None,
        (*measured, (*SOUND, by_sound)),
    )


def unclear_genres() -> list[str]:
    """Genres on which the study's CNN has an F1 below one half."""
    table = reported.per_genre("cnn")
    return table.loc[table["f1"] < _UNCLEAR, "genre"].tolist()


def _gain_on_unclear(hits_full: np.ndarray, hits_head: np.ndarray, y: np.ndarray, groups) -> Interval:
    """How much more full fine-tuning gains over head-only on the unclear genres than elsewhere; hits: (seeds, clips)."""
    gain = (hits_full.astype(float) - hits_head).mean(axis=0)
    inside = np.isin(y, [GENRES.index(genre) for genre in unclear_genres()])
    counts, method = evaluation.resamples(len(y), groups, 2000)
    with np.errstate(invalid="ignore"):
        draws = [(counts[:, part] @ gain[part]) / counts[:, part].sum(axis=1) for part in (inside, ~inside)]
    low, high = np.nanpercentile(draws[0] - draws[1], [2.5, 97.5])
    return Interval(float(gain[inside].mean() - gain[~inside].mean()), float(low), float(high), len(y), method)


def _unclear_claim() -> Claim:
    (_, y, full), (_, _, head) = (reported.predictions(name) for name in ("full", "head-only"))
    theirs = _gain_on_unclear((full == y)[None], (head == y)[None], y, None)

    def judge(runs: Comparison) -> Found:
        rows, labels, groups = runs.predictions("full", "head-only")
        gain = _gain_on_unclear(rows["full"] == labels, rows["head-only"] == labels, labels, groups)
        return _leads({"gain": gain})

    names = " and ".join(unclear_genres())
    return Claim(
        f"Full fine-tuning wins above all on ambiguous genres ({names}: F1 of its CNN below {_UNCLEAR})",
        "conclusions",
        "no figure; " + _points(theirs),
        "its gain over head-only is larger there than elsewhere, with the 95 % interval above zero",
        judge,
        ("full", "head-only"),
        reanalysed=_leads({"gain": theirs}),
        on_gtzan=True,
    )


def _compromise_claim() -> Claim:
    def judge(runs: Comparison) -> Found | None:
        if not runs.seconds("full"):
            return None
        quick = runs.seconds("head-only") / runs.seconds("full")
        gap = runs.lead("full", "head-only")
        ours = f"{quick:.2f} of the time of full fine-tuning; full is ahead by {_points(gap)}"
        close, far = "quick, and not more than 15 points behind", "quick, but perhaps more than 15 points behind"
        reasons = (close, far, "not quick: more than half of the time")
        return _graded(ours, quick < 0.5 and gap.high <= 0.15, quick < 0.5, reasons)

    return Claim(
        "Head-only is the quick compromise",
        "conclusions",
        "no time recorded; " + _points(reported.reported_difference("full", "head-only")) + " for full",
        "less than half of the time of full fine-tuning, and at most 15 points behind it",
        judge,
        ("head-only", "full"),
    )


def _against_study(record: Experiment, classifier: str, splits: tuple[str, ...]) -> Found:
    """Are the study's wav2vec models ahead of another classifier on their own test clips?"""
    tests = reported.against_study(record, classifier)
    clear = tests[tests["p_holm"] < 0.05]
    ahead, behind = (list(clear.index[clear[a] > clear[b]]) for a, b in (("only_study", "only_it"), ("only_it", "only_study")))
    scores = ", ".join(f"{record.accuracy(classifier, condition=f'study: {name}')} on its {name} split" for name in splits)
    ours = f"{classifier} {scores}; right alone: " + "; ".join(
        f"{classifier} {t.only_it}, {t.Index} {t.only_study} (p = {t.p:.2g}, Holm {t.p_holm:.2g})" for t in tests.itertuples()
    )
    back = f"the reverse: {classifier} is ahead of {' and '.join(behind)} beyond chance, on the study's own test clips"
    beyond = f"beyond chance on its own clips: {', '.join(ahead)}"
    none = back if behind else "no network is ahead beyond chance, corrected for two tests"
    return _graded(ours, len(ahead) == 2, len(ahead) == 1, (beyond, beyond, none))


def claims() -> tuple[Claim, ...]:
    """The claims of the study, in the order of the ledger."""
    spectrogram = {"full over CNN": ("full", "cnn"), "head-only over CNN": ("head-only", "cnn")}
    limits = {"CNN": ("cnn", "svm"), "head-only": ("head-only", "svm"), "full": ("full", "svm")}
    limited = "Classical features reach their limits: every network beats an SVM on them"
    beats = "Self-supervised learning on raw audio clearly beats spectrograms"
    by_svm = "classical", "all clips, as 57 statistics", lambda found: _against_study(found, "SVM", ("wav2vec", "CNN"))
    by_choi = (
        "pretraining-or-raw-audio",
        "all clips, heard by a spectrogram network that was pre-trained on tags",
        lambda found: _against_study(found, CHOI, ("wav2vec", "CNN")),
    )
    return (
        *(claim for approach in WHERE for claim in _figures(approach)),
        *(_genre_figure(*figure) for figure in OF_GENRES),
        _lead_claim(beats, spectrogram, measured=(by_choi,)),
        _lead_claim("Full fine-tuning beats head-only", {"full over head-only": ("full", "head-only")}),
        _unclear_claim(),
        _compromise_claim(),
        _lead_claim(limited, limits, with_figure=False, measured=(by_svm,)),
    )

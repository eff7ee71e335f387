"""The ledger: each claim of the study, what it reported, what is found, how sure that is, and the verdict.

A claim is judged on every *bench* that can say something about it: the study's own stored data, re-analysed; runs of
this book on GTZAN; the table of features of all of GTZAN; and, for claims that compare two approaches, the corpus that
the book composes, which is not GTZAN and says so. Nothing here is typed in: reported figures come from
:mod:`genre_utils.replication`, all others from records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from genre_utils import evaluation, replication, runs
from genre_utils.classical import Classical
from genre_utils.evaluation import Interval
from genre_utils.profiles import GENRES
from genre_utils.runs import RunCard, aligned

HOLDS, IN_PART, NOT_SUPPORTED, NOT_RUN = "holds", "holds in part", "not supported", "not yet run here"
VERDICTS = (HOLDS, IN_PART, NOT_SUPPORTED, NOT_RUN)
#: What evidence is about: data the study stored; GTZAN, measured by this book; else a corpus is named.
OWN_DATA, RUN_HERE = "the study's own data", "GTZAN, measured here"
#: The notebook in which an approach is run.
NOTEBOOKS = {
    "svm": "chapters/02_cnn_baseline.ipynb",
    "cnn": "chapters/02_cnn_baseline.ipynb",
    "head-only": "chapters/04_head_only.ipynb",
    "full": "chapters/05_full_fine_tuning.ipynb",
}
COMPARISON = "chapters/06_comparison.ipynb"
#: Genres on which the study's own CNN has an F1 below one half: what "ambiguous" is taken to mean.
_UNCLEAR = 0.5


@dataclass(frozen=True)
class Found:
    """What one bench says: a figure in words, the verdict, and its reason."""

    ours: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Bench:
    """Run records of one corpus, split and backbone; several seeds of an approach, on one test set.

    Attributes
    ----------
    runs : dict
        Approach -> its cards by seed. Those trained without a backbone serve every backbone.
    place : str
        Folder or file they come from.
    """

    corpus: str
    split: str
    runs: Mapping[str, Sequence[RunCard]]
    place: str = ""

    @property
    def complete(self) -> bool:
        """Whether it is all of GTZAN, so that its figures may be held against the study's."""
        return self.corpus == "gtzan"

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({card.seed for cards in self.runs.values() for card in cards})

    @cached_property
    def n(self) -> int:
        return len(next(iter(self.runs.values()))[0].predictions)

    def predictions(self, *approaches: str):
        """Predictions (seeds, clips) of each approach on the seeds they share, labels, and artists."""
        shared = set.intersection(*({card.seed for card in self.runs[a]} for a in approaches))
        chosen = {(a, c.seed): c for a in approaches for c in self.runs[a] if c.seed in shared}
        both = aligned({f"{a}, seed {seed}": card for (a, seed), card in chosen.items()})
        rows = {a: np.stack([both.predicted[f"{a}, seed {s}"] for s in sorted(shared)]) for a in approaches}
        return rows, both.y, both.groups

    def has(self, *approaches: str) -> bool:
        """Whether all of them were run, on at least one seed in common."""
        seeds = [{card.seed for card in self.runs.get(a, ())} for a in approaches]
        return bool(set.intersection(*seeds))

    def accuracy(self, approach: str) -> Interval:
        """Mean over the seeds; interval over clips (by artist where known) and, with several, seeds."""
        rows, y, groups = self.predictions(approach)
        hits = rows[approach] == y
        if len(hits) > 1:
            return evaluation.over_seeds(hits, groups=groups)
        return evaluation.bootstrap(evaluation.accuracy, y, rows[approach][0], groups)

    def lead(self, a: str, b: str, level: float = 0.95) -> Interval:
        """Accuracy of `a` minus that of `b` on equal clips and seeds (`level` needs more than one seed)."""
        rows, y, groups = self.predictions(a, b)
        if len(rows[a]) > 1:
            return evaluation.over_seeds(rows[a] == y, rows[b] == y, groups, level=level, n=2000 if level == 0.95 else 20_000)
        return evaluation.difference(evaluation.accuracy, y, rows[a][0], rows[b][0], groups)

    def macro_f1(self, approach: str) -> Interval:
        rows, y, groups = self.predictions(approach)
        found = [evaluation.bootstrap(evaluation.macro_f1, y, p, groups) for p in rows[approach]]
        mean = [float(np.mean([getattr(score, part) for score in found])) for part in ("value", "low", "high")]
        return Interval(*mean, len(y), f"{found[0].method}, mean of {len(found)} seeds")

    def f1(self, approach: str, genre: str) -> Interval:
        rows, y, _ = self.predictions(approach)
        k = GENRES.index(genre)
        counts = [[((p == k) & (y == k)).sum(), ((p == k) & (y != k)).sum(), ((p != k) & (y == k)).sum()]
                  for p in rows[approach]]  # fmt: skip
        return evaluation.f1_interval(*np.mean(counts, axis=0))

    def seconds(self, approach: str) -> float:
        """Of the quickest run: whatever else the machine had to do only adds to it."""
        return min(card.cost.seconds for card in self.runs[approach])

    def files(self, approaches: Iterable[str]) -> str:
        """Where the records of `approaches` lie, the first seed of each standing for all."""
        if self.place.endswith(".json"):
            return self.place
        return ", ".join(f"{self.place}/{self.runs[name][0].file_name}" for name in approaches)


Judge = Callable[[Bench], "Found | None"]


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
        Judges it on a bench of runs; None if the bench cannot say anything.
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
    classical: Callable[[Classical], Found] | None = None


# --- how claims are judged -------------------------------------------------------------------------------


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
    table = replication.per_genre("cnn")
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
    text: str, where: str, theirs: Interval, approach: str, ours: Callable[[Bench], Interval], show: Callable[[Interval], str]
) -> Claim:
    """A figure of one approach, to be found again on GTZAN."""
    return Claim(
        text,
        where,
        show(theirs),
        "our mean lies within the reported figure's interval",
        lambda bench: _same_figure(theirs, ours(bench), show),
        (approach,),
        on_gtzan=True,
    )


def _accuracy_claim(approach: str, where: str) -> Claim:
    text = f"{runs.TITLES[approach]}: accuracy"
    return _figure_claim(text, where, replication.accuracy(approach), approach, lambda bench: bench.accuracy(approach), str)


def _f1_claim(approach: str, where: str) -> Claim:
    reported = replication.reported(approach)["macro_f1"]
    if approach in replication.WITH_PREDICTIONS:
        _, y, p = replication.predictions(approach)
        theirs = evaluation.bootstrap(evaluation.macro_f1, y, p)
    else:  # of the CNN only totals are known: the interval of the mean of ten, genre by genre
        parts = [_reported_f1(approach, genre) for genre in GENRES]
        half = np.sqrt(np.sum([part.half_width**2 for part in parts])) / len(parts)
        theirs = Interval(reported, reported - float(half), reported + float(half), 150, "from the totals of each genre")
    text = f"{runs.TITLES[approach]}: macro F1"
    return _figure_claim(text, where, theirs, approach, lambda bench: bench.macro_f1(approach), _f1)


def _reported_f1(approach: str, genre: str) -> Interval:
    """F1 of a genre with an interval from the study's own counts."""
    if approach in replication.WITH_PREDICTIONS:
        _, y, p = replication.predictions(approach)
        k = GENRES.index(genre)
        right, named, support = int(((p == k) & (y == k)).sum()), int((p == k).sum()), int((y == k).sum())
    else:
        totals = replication.reported(approach)["per_class_derived"][genre]
        right, named, support = totals["true_positives"], totals["predicted_as"], totals["support"]
    return evaluation.f1_interval(right, named - right, support - right)


def _genre_claim(approach: str, genre: str, where: str, above: float | None = None) -> Claim:
    theirs = _reported_f1(approach, genre)
    short = runs.TITLES[approach]
    if above is None:
        text = f"{short}: F1 of {genre} is {theirs.value:.2f}"
        return _figure_claim(text, where, theirs, approach, lambda bench: bench.f1(approach, genre), _f1)
    return Claim(
        f"{short}: F1 of {genre} is above {above}",
        where,
        _f1(theirs),
        f"the interval lies above {above}",
        lambda bench: _above(bench.f1(approach, genre), above),
        (approach,),
        reanalysed=lambda: _above(theirs, above),
        on_gtzan=True,
    )


def _lead_claim(text: str, pairs: Mapping[str, tuple[str, str]], reported: bool = True, classical=None) -> Claim:
    """`pairs` maps a short name of each comparison to (said to be better, said to be worse)."""
    known = {name: replication.reported_difference(a, b) for name, (a, b) in pairs.items()} if reported else {}
    approaches = tuple(dict.fromkeys(a for pair in pairs.values() for a in pair))

    def judge(bench: Bench) -> Found:
        return _leads({name: bench.lead(a, b) for name, (a, b) in pairs.items()})

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
    clips, y, full = replication.predictions("full")
    other, _, head = replication.predictions("head-only")
    head = head[[other.index(clip) for clip in clips]]
    theirs = _gain_on_unclear((full == y)[None], (head == y)[None], y, None)
    names = " and ".join(unclear_genres())

    def judge(bench: Bench) -> Found:
        rows, labels, groups = bench.predictions("full", "head-only")
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
    def judge(bench: Bench) -> Found | None:
        if not bench.seconds("full"):
            return None
        quick = bench.seconds("head-only") / bench.seconds("full")
        gap = bench.lead("full", "head-only")
        ours = f"{quick:.2f} of the time of full fine-tuning; full is ahead by {_points(gap)}"
        if quick >= 0.5:
            return Found(ours, NOT_SUPPORTED, "not quick: more than half of the time")
        if gap.high <= 0.15:
            return Found(ours, HOLDS, "quick, and not more than 15 points behind")
        return Found(ours, IN_PART, "quick, but perhaps more than 15 points behind")

    return Claim(
        "Head-only is the quick compromise",
        "conclusions",
        "no time recorded; " + _points(replication.reported_difference("full", "head-only")) + " for full",
        "less than half of the time of full fine-tuning, and at most 15 points behind it",
        judge,
        ("head-only", "full"),
    )


def _limits_on_gtzan(record: Classical) -> Found:
    """The SVM against the study's own predictions on its own clips."""
    tests = {name: record.against_study(name) for name in replication.WITH_PREDICTIONS}
    ahead = [name for name, test in tests.items() if test["c"] > test["b"] and test["p"] < 0.05]
    ours = f"SVM {record.accuracy('study: wav2vec')} on its wav2vec split, {record.accuracy('study: CNN')} on its CNN split; "
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
            reported=False,
            classical=_limits_on_gtzan,
        ),
    )


# --- the benches -----------------------------------------------------------------------------------------


def benches(cards: Iterable[RunCard], place: str = "") -> list[Bench]:
    """Group cards by corpus, split, test clips and backbone; cards without a backbone join every group of their clips."""
    groups: dict[tuple, dict[str, list[RunCard]]] = {}
    for card in sorted((card for card in cards if not card.variant), key=lambda card: card.seed):
        test_set = (card.corpus.name, card.split.name, frozenset(card.ids))
        group = groups.setdefault((test_set, (card.backbone or {}).get("fingerprint")), {})
        group.setdefault(card.approach, []).append(card)
    made = []
    for (test_set, backbone), found in groups.items():
        if backbone is None and any(other == test_set and theirs for other, theirs in groups):
            continue  # they are part of the groups with a backbone
        name = next((card.backbone["name"] for some in found.values() for card in some if card.backbone), "")
        everything = {**groups.get((test_set, None), {}), **found}
        made.append(Bench(test_set[0], test_set[1] + (f", {name}" if name else ""), everything, place))
    return made


def recorded_benches() -> list[Bench]:
    """Benches of every run record that comes with the book, contributed ones too."""
    return [bench for place, cards in runs.recorded_cards().items() for bench in benches(cards, place)]


# --- the ledger ------------------------------------------------------------------------------------------


def ledger(found: Sequence[Bench] | None = None, classical: Classical | None = None) -> pd.DataFrame:
    """One row a claim and bench.

    Parameters
    ----------
    found : sequence of Bench, optional
        By default those of the records that come with the book.
    classical : Classical, optional
        Record of the classical classifiers on all of GTZAN; by default the book's.

    Returns
    -------
    DataFrame
        ``claim``, ``where`` (in the study), ``reported``, ``about`` (:data:`OWN_DATA`, :data:`RUN_HERE` or the name of
        another corpus), ``evidence`` (corpus, split, clips, seeds), ``ours``,
        ``criterion``, ``verdict`` (one of :data:`VERDICTS`), ``why``, ``record``, ``notebook``.
    """
    found = recorded_benches() if found is None else list(found)
    classical = classical or Classical.load()
    rows = []
    for claim in claims():
        told: list[tuple[str, str, Found, str, str]] = []
        if claim.reanalysed:
            text = "GTZAN: the study's own data, re-analysed"
            told.append((OWN_DATA, text, claim.reanalysed(), "genre_utils/data/study.json", COMPARISON))
        if claim.classical:
            text = "GTZAN: 57 features of all clips, the study's splits"
            told.append((RUN_HERE, text, claim.classical(classical), "book/results/classical/gtzan.json", COMPARISON))
        on_all = False
        for bench in found:
            if not bench.has(*claim.approaches) or (claim.on_gtzan and not bench.complete):
                continue
            judged = claim.judge(bench)
            if judged is None:
                continue
            on_all |= bench.complete
            seeds = f"{len(bench.seeds)} seed" + "s" * (len(bench.seeds) > 1)
            title = f"{bench.corpus}, split {bench.split}, {bench.n} test clips, {seeds}"
            book = NOTEBOOKS[claim.approaches[0]] if len(claim.approaches) == 1 else COMPARISON
            about = RUN_HERE if bench.complete else bench.corpus
            told.append((about, title, judged, bench.files(claim.approaches), book))
        if not on_all:
            missing = Found("–", NOT_RUN, "make book PROFILE=gtzan, on one GPU")
            text = "GTZAN, this book's profile gtzan"
            told.append((RUN_HERE, text, missing, "–", NOTEBOOKS[claim.approaches[0]]))
        for about, evidence, judged, record, notebook in told:
            rows.append(
                {
                    "claim": claim.text,
                    "where": claim.where,
                    "reported": claim.reported,
                    "about": about,
                    "evidence": evidence,
                    "ours": judged.ours,
                    "criterion": claim.criterion,
                    "verdict": judged.verdict,
                    "why": judged.why,
                    "record": record,
                    "notebook": notebook,
                }
            )
    return pd.DataFrame(rows)


def page(table: pd.DataFrame, link: Callable[[str], str] = str) -> str:
    """The ledger as Markdown: all verdicts at a glance, then a section a claim with a row a bench.

    Parameters
    ----------
    link : callable
        Makes the text of a record or notebook (a path in the checkout) into a link.
    """
    wide = overview(table)
    parts = [summary(table), "", "| Claim | Reported | " + " | ".join(wide.columns[1:]) + " |", "|---" * (1 + len(wide.columns)) + "|"]
    parts += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in wide.itertuples()]
    parts.append("")
    for claim, rows in table.groupby("claim", sort=False):
        first = rows.iloc[0]
        parts += [
            f"## {claim}",
            "",
            f"Reported: {first['reported']} ({first['where']}). Holds if {first['criterion']}.",
            "",
            "| Evidence | Found | Verdict | Why | Record | Notebook |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows.itertuples():
            cells = (row.evidence, row.ours, f"**{row.verdict}**", row.why, link(row.record), link(row.notebook))
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts).rstrip()


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: what was reported, and the verdicts of each kind of evidence side by side ("–": none)."""
    kinds = [OWN_DATA, RUN_HERE, *(name for name in table["about"].unique() if name not in (OWN_DATA, RUN_HERE))]
    rows = {}
    for claim, part in table.groupby("claim", sort=False):
        said = {kind: part.loc[part["about"] == kind, "verdict"] for kind in kinds}
        # Beside a verdict, "not yet run" says nothing more.
        told = {kind: [v for v in dict.fromkeys(found) if v != NOT_RUN] or list(found) for kind, found in said.items()}
        rows[claim] = {"reported": part["reported"].iloc[0]} | {k: "; ".join(v[:2]) or "–" for k, v in told.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("claim")


def summary(table: pd.DataFrame) -> str:
    """How many claims hold where, in one sentence (Markdown)."""
    count = table["verdict"].value_counts()
    told = ", ".join(f"{count.get(verdict, 0)} times *{verdict}*" for verdict in VERDICTS)
    return f"{table['claim'].nunique()} claims, {len(table)} verdicts: {told}."

"""The ledger: each claim of the study, what it reported, what is found, how sure that is, and the verdict.

The evidence is of several kinds: the study's own stored data, re-analysed; runs of this book on GTZAN; the table of
features of all of GTZAN; and, for claims that compare two approaches, the corpus that the book composes, which is not
GTZAN and says so. Nothing here is typed in: all figures come from records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from genre_utils.comparison import Comparison, recorded_comparisons
from genre_utils.records import Experiment
from genre_utils.study.claims import NOT_RUN, VERDICTS, Claim, Found, claims

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
COLUMNS = [
    "claim", "where", "reported", "about", "evidence", "ours", "criterion", "verdict", "why", "record", "notebook",
]  # fmt: skip


def ledger(found: Sequence[Comparison] | None = None) -> pd.DataFrame:
    """One row a claim and piece of evidence: runs (by default those that come with the book), and what else there is.

    The columns are :data:`COLUMNS`: ``where`` in the study; ``about`` :data:`OWN_DATA`, :data:`RUN_HERE` or the name of
    another corpus; ``evidence``: corpus, split, clips, seeds; ``verdict``: one of :data:`VERDICTS`.
    """
    found, classical = recorded_comparisons() if found is None else found, Experiment.recorded("classical")
    rows = []
    for claim in claims():
        for about, evidence, told, *places in _evidence(claim, found, classical):
            reported = (claim.text, claim.where, claim.reported)
            rows.append((*reported, about, evidence, told.ours, claim.criterion, told.verdict, told.why, *places))
    return pd.DataFrame(rows, columns=COLUMNS)


def _evidence(claim: Claim, found: Sequence[Comparison], classical: Experiment) -> Iterator[tuple]:
    """What there is on a claim: about, evidence, what it says (:class:`Found`), record, notebook."""
    book = NOTEBOOKS[claim.approaches[0]] if len(claim.approaches) == 1 else COMPARISON
    if claim.reanalysed:
        text = "GTZAN: the study's own data, re-analysed"
        yield OWN_DATA, text, claim.reanalysed, "genre_utils/data/study.json", COMPARISON
    if claim.classical:
        text = "GTZAN: 57 features of all clips, the study's splits"
        yield RUN_HERE, text, claim.classical(classical), "book/results/experiments/classical.json", COMPARISON
    on_all = False
    for runs in found:
        if not runs.has(*claim.approaches) or (claim.on_gtzan and not runs.complete):
            continue
        if (told := claim.judge(runs)) is not None:
            on_all |= runs.complete
            seeds = f"{len(runs.seeds)} seed" + "s" * (len(runs.seeds) > 1)
            title = f"{runs.corpus}, split {runs.split}, {runs.n} test clips, {seeds}"
            yield RUN_HERE if runs.complete else runs.corpus, title, told, runs.files(claim.approaches), book
    if not on_all:
        missing = Found("–", NOT_RUN, "make book PROFILE=gtzan, on one GPU")
        yield RUN_HERE, "GTZAN, this book's profile gtzan", missing, "–", NOTEBOOKS[claim.approaches[0]]


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

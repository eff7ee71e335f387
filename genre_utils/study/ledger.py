"""The ledger: each claim of the study, what it reported, what is found, how sure that is, and the verdict.

The evidence is of several kinds, the weightiest first: the study's own stored data, re-analysed; GTZAN, measured by this
book; and, for claims that compare two approaches, music that the book composes, which can but illustrate. Nothing here is
typed in: all figures come from records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from genre_utils.comparison import Comparison, recorded_comparisons
from genre_utils.records import Experiment
from genre_utils.study.claims import (
    DOES_NOT,
    HOLDS,
    ILLUSTRATES,
    NOT_COMPARABLE,
    NOT_RUN,
    VERDICTS,
    Claim,
    Found,
    claims,
)

#: What evidence is about: data the study stored; GTZAN, measured by this book; else a corpus is named.
OWN_DATA, RUN_HERE = "the study's own data", "GTZAN, measured here"
#: The notebook in which an approach is run.
NOTEBOOKS = {
    "svm": "chapters/02_cnn_baseline.ipynb",
    "cnn": "chapters/02_cnn_baseline.ipynb",
    "musicnn": "chapters/04_head_only.ipynb",
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
    found = recorded_comparisons() if found is None else found
    rows = []
    for claim in claims():
        for about, evidence, told, *places in _evidence(claim, found):
            reported = (claim.text, claim.where, claim.reported)
            rows.append((*reported, about, evidence, told.ours, claim.criterion, told.verdict, told.why, *places))
    return pd.DataFrame(rows, columns=COLUMNS)


def _evidence(claim: Claim, found: Sequence[Comparison]) -> Iterator[tuple]:
    """What there is on a claim: about, evidence, what it says (:class:`Found`), record, notebook."""
    book = NOTEBOOKS[claim.approaches[0]] if len(claim.approaches) == 1 else COMPARISON
    if claim.reanalysed:
        text = "GTZAN: the study's own data, re-analysed"
        yield OWN_DATA, text, claim.reanalysed, "genre_utils/data/study.json", COMPARISON
    for question, what, judge in claim.measured:
        record = f"book/results/experiments/{question}.json"
        yield RUN_HERE, f"GTZAN: {what}", judge(Experiment.recorded(question)), record, COMPARISON
    on_all = False
    for runs in found:
        if not runs.has(*claim.approaches) or (claim.on_gtzan and not runs.complete):
            continue
        if (told := claim.judge(runs)) is not None:
            on_all |= runs.complete
            shared = len(runs.has(*claim.approaches))
            seeds = f"{shared} seed" + "s" * (shared > 1)
            title = f"{runs.corpus}, split {runs.split}, {runs.n} test clips, {seeds}"
            if not runs.corpus.startswith("gtzan"):
                told = replace(told, verdict=ILLUSTRATES if told.verdict == HOLDS else DOES_NOT)
            yield RUN_HERE if runs.complete else runs.corpus, title, told, runs.files(claim.approaches), book
    if not on_all:
        missing = Found("–", NOT_RUN, "make book PROFILE=gtzan, on one GPU")
        yield RUN_HERE, "GTZAN, this book's profile gtzan", missing, "–", NOTEBOOKS[claim.approaches[0]]


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: what was reported, and the verdicts of each kind of evidence side by side ("–": none)."""
    kinds = [OWN_DATA, RUN_HERE, *(name for name in table["about"].unique() if name not in (OWN_DATA, RUN_HERE))]
    rows = {}
    for claim, part in table[table["verdict"] != NOT_RUN].groupby("claim", sort=False):
        said = {kind: part.loc[part["about"] == kind, "verdict"].unique() for kind in kinds}
        rows[claim] = {"reported": part["reported"].iloc[0]} | {kind: "; ".join(found) or "–" for kind, found in said.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("claim")


def verdict(rows: pd.DataFrame) -> str:
    """What to believe of one claim, in a sentence (Markdown): the weightiest of its evidence, and what speaks otherwise."""
    said = [row for row in rows.itertuples() if row.verdict not in (NOT_RUN, NOT_COMPARABLE)]
    if not said:
        return "**Nobody has tested it again.**"
    first, *others = sorted(said, key=lambda row: {OWN_DATA: 0, RUN_HERE: 1}.get(row.about, 2))
    sentence = f"**{first.verdict.capitalize()}**, by {first.evidence}: {first.ours} ({first.why})."
    against = [row for row in others if (row.verdict in (HOLDS, ILLUSTRATES)) != (first.verdict in (HOLDS, ILLUSTRATES))]
    return sentence + "".join(f" But {row.evidence}: {row.verdict}." for row in against)


def summary(table: pd.DataFrame) -> str:
    """How many claims hold where, what nobody has run, and what it would take (Markdown)."""
    claims, missing = table["claim"].nunique(), table.loc[table["verdict"] == NOT_RUN, "claim"].nunique()
    count = table.loc[table["verdict"] != NOT_RUN, "verdict"].value_counts()
    told = ", ".join(f"{count[verdict]} *{verdict}*" for verdict in VERDICTS if verdict in count)
    return (f"{claims} claims, {count.sum()} verdicts: {told}. {missing} of {claims} claims wait for the replication itself: the sound "
            "of all 1000 clips, `facebook/wav2vec2-base` and one GPU (`make book PROFILE=gtzan`).")  # fmt: skip

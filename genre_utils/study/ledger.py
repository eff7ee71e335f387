"""The ledger: each claim of the study, what it reported, what is found, how sure that is, and the verdict.

The evidence is of several kinds: the study's own stored data, re-analysed; runs of this book on GTZAN; the table of
features of all of GTZAN; and, for claims that compare two approaches, the corpus that the book composes, which is not
GTZAN and says so. Nothing here is typed in: all figures come from records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from genre_utils.comparison import Comparison, recorded_comparisons
from genre_utils.records import Experiment
from genre_utils.study.claims import NOT_RUN, VERDICTS, Found, claims

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


def ledger(found: Sequence[Comparison] | None = None, classical: Experiment | None = None) -> pd.DataFrame:
    """One row a claim and piece of evidence.

    Parameters
    ----------
    found : sequence of Comparison, optional
        By default those of the records that come with the book.
    classical : Experiment, optional
        Record of the classical classifiers on all of GTZAN; by default the book's.

    Returns
    -------
    DataFrame
        ``claim``, ``where`` (in the study), ``reported``, ``about`` (:data:`OWN_DATA`, :data:`RUN_HERE` or the name of
        another corpus), ``evidence`` (corpus, split, clips, seeds), ``ours``,
        ``criterion``, ``verdict`` (one of :data:`VERDICTS`), ``why``, ``record``, ``notebook``.
    """
    found = recorded_comparisons() if found is None else list(found)
    classical = classical or Experiment.recorded("classical")
    rows = []
    for claim in claims():
        told: list[tuple[str, str, Found, str, str]] = []
        if claim.reanalysed:
            text = "GTZAN: the study's own data, re-analysed"
            told.append((OWN_DATA, text, claim.reanalysed(), "genre_utils/data/study.json", COMPARISON))
        if claim.classical:
            text = "GTZAN: 57 features of all clips, the study's splits"
            told.append((RUN_HERE, text, claim.classical(classical), "book/results/experiments/classical.json", COMPARISON))
        on_all = False
        for runs in found:
            if not runs.has(*claim.approaches) or (claim.on_gtzan and not runs.complete):
                continue
            judged = claim.judge(runs)
            if judged is None:
                continue
            on_all |= runs.complete
            seeds = f"{len(runs.seeds)} seed" + "s" * (len(runs.seeds) > 1)
            title = f"{runs.corpus}, split {runs.split}, {runs.n} test clips, {seeds}"
            book = NOTEBOOKS[claim.approaches[0]] if len(claim.approaches) == 1 else COMPARISON
            about = RUN_HERE if runs.complete else runs.corpus
            told.append((about, title, judged, runs.files(claim.approaches), book))
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
    """The ledger as Markdown: all verdicts at a glance, then a section a claim with a row a piece of evidence.

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

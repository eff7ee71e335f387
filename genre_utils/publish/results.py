"""Pages and tables made from run records: README.md's, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from genre_utils.comparison import comparisons
from genre_utils.errors import RunError
from genre_utils.evaluation import Interval
from genre_utils.records import TITLES, RunCard

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence], numbers: Sequence[str] = ()) -> list[str]:
    """Lines of a Markdown table; the columns `numbers` are flush right."""
    lines = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in (header, *rows)]
    rule = "|".join("---:" if name in numbers else "---" for name in header)
    return [f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def results_markdown(folder: Path) -> str:
    """Table of the records in `folder`: means over seeds, with 95 % intervals over artists and seeds, and the corpus."""
    cards = [RunCard.load(path) for path in sorted(folder.glob("*.json"))]
    if not cards:
        return "No run is recorded yet."
    rows = [
        (found.runs[name][0].title, len(found.runs[name]), _percent(found.accuracy(name)), _percent(found.macro_f1(name)), found.n)
        for found in comparisons(cards)
        for name in TITLES
        if name in found.runs
    ]
    header = ("Approach", "Seeds", "Accuracy (95 %)", "Macro F1 (95 %)", "Test clips")
    profiles, corpora = ({card.profile for card in cards}, {card.corpus.name for card in cards})
    about = f"Profile {', '.join(sorted(profiles))}: these figures are about the corpus {', '.join(sorted(corpora))}."
    return "\n".join([*markdown_table(header, rows, ("Seeds", "Test clips")), "", about])


def ledger_markdown(table: pd.DataFrame, link: Callable[[str], str] = str) -> str:
    """The ledger as Markdown: all verdicts at a glance, then a section a claim with a row a piece of evidence.

    `table` is that of :func:`genre_utils.study.ledger.ledger`; `link` makes a record or notebook into a link.
    """
    from genre_utils.study.claims import NOT_RUN
    from genre_utils.study.ledger import overview, summary, verdict

    wide = overview(table).reset_index()
    parts = [summary(table), "", *markdown_table(["Claim", "Reported", *wide.columns[2:]], wide.to_numpy()), ""]
    header = ("Evidence", "Found", "Verdict", "Why", "From")
    for claim, rows in table.groupby("claim", sort=False):
        first, found = rows.iloc[0], rows[rows["verdict"] != NOT_RUN]
        told = f"Reported: {first['reported']} ({first['where']}). Holds if {first['criterion']}."
        cells = [
            (row.evidence, row.ours, f"**{row.verdict}**", row.why, f"{link(row.record)}; {link(row.notebook)}")
            for row in found.itertuples()
        ]
        parts += [f"## {claim}", "", verdict(rows), "", told, "", *(markdown_table(header, cells) if cells else ()), ""]
    return "\n".join(parts).rstrip()


def linked(places: str) -> str:
    """Paths in the checkout ("a/b.json, c.ipynb") as links of a page in ``book/``: records to download, chapters to read."""

    def link(place: str) -> str:
        if place.endswith(".ipynb"):
            return f"[chapter {Path(place).stem.split('_')[0].lstrip('0')}](../{place})"
        inside = place.removeprefix("book/")
        return f"{{download}}`{Path(place).stem} <{inside}>`" if inside != place else f"`{Path(place).name}`"

    return ", ".join(map(link, places.split(", ")))


def between_marks(text: str) -> str:
    """What stands between the two marks of a page; a :class:`RunError` if it has no such marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RunError(f"the page must hold {BEGIN} and {END} once each, in this order")
    return text.split(BEGIN)[1].split(END)[0].strip()


def write_results(page: Path, table: str) -> bool:
    """Put `table` between the marks of `page`; True if that changed it."""
    text = page.read_text(encoding="utf-8")
    between_marks(text)
    after = f"{text.split(BEGIN)[0]}{BEGIN}\n{table}\n{END}{text.split(END)[1]}"
    page.write_text(after, encoding="utf-8")
    return after != text

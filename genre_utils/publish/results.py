"""Pages and tables made from run records: README.md's, the matrix of runs, the links of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genre_utils.errors import RunError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_ORDER = ("svm", "cnn", "head-only", "full")


def _percent(interval) -> str:
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def results_markdown(folder: Path) -> str:
    """Table of the records in `folder`: means over seeds, with 95 % intervals over artists and seeds, and the corpus."""
    from genre_utils.comparison import comparisons
    from genre_utils.records import TITLES, RunCard

    cards = [RunCard.load(path) for path in sorted(folder.glob("*.json"))]
    if not cards:
        return "No run is recorded yet."
    lines = [
        "| Approach | Seeds | Accuracy (95 %) | Macro F1 (95 %) | Test clips |",
        "|---|---:|---|---|---:|",
    ]
    for found in comparisons(cards):
        for approach in (name for name in TITLES if name in found.runs):
            lines.append(
                f"| {TITLES[approach]} | {len(found.runs[approach])} | {_percent(found.accuracy(approach))} "
                f"| {_percent(found.macro_f1(approach))} | {found.n} |"
            )
    corpora = sorted({card.corpus.name for card in cards})
    profiles = sorted({card.profile for card in cards})
    lines += ["", f"Profile {', '.join(profiles)}: these figures are about the corpus {', '.join(corpora)}."]
    return "\n".join(lines)


def linked(places: str) -> str:
    """Paths in the checkout ("a/b.json, c.ipynb") as links of a page in ``book/``: records to download, chapters to read."""

    def link(place: str) -> str:
        if place.endswith(".ipynb"):
            return f"[{Path(place).stem.split('_')[0].lstrip('0')}](../{place})"
        inside = place.removeprefix("book/")
        return f"{{download}}`{Path(place).stem} <{inside}>`" if inside != place else place

    return ", ".join(map(link, places.split(", ")))


def matrix_frame(paths: Iterable[Path]):
    """One row a run record: approach, split, seed, backbone, corpus and scores, as a data frame.

    Raises
    ------
    RunError
        If there is no file, if one is no run record, or if two are of the same run.
    """
    from genre_utils.records import RunCard, frame

    found: dict[tuple, tuple[Path, RunCard]] = {}
    for path in paths:
        card = RunCard.load(path)
        named = [(card.backbone or {}).get(what, "") for what in ("name", "fingerprint")]
        run = (card.split.name, *named, _ORDER.index(card.approach), card.protocol, tuple(card.genres), card.seed, card.corpus.fingerprint)
        if run in found:
            raise RunError(f"{found[run][0]} and {path} are of the same run: one of them is in the wrong place")
        found[run] = path, card
    if not found:
        raise RunError("there is no run record to collect")
    runs = sorted(found)
    cards = [found[run][1] for run in runs]
    table = frame(cards)[["approach", "title", "seed", "accuracy", "low", "high", "macro_f1", "n"]]
    table.insert(2, "split", [card.split.name for card in cards])
    table.insert(4, "backbone", [run[1] for run in runs])
    table.insert(5, "corpus", [card.corpus.name for card in cards])
    return table


def matrix_markdown(table) -> str:
    """The data frame of :func:`matrix_frame` as a Markdown table."""
    from genre_utils.evaluation import Interval

    lines = [
        "| Approach | Split | Seed | Backbone | Corpus | Accuracy (95 %) | Macro F1 | Test clips |",
        "|---|---|---:|---|---|---|---:|---:|",
    ]
    for row in table.itertuples():
        accuracy = _percent(Interval(row.accuracy, row.low, row.high, row.n))
        lines.append(
            f"| {row.title} | {row.split} | {row.seed} | {row.backbone or '–'} | {row.corpus} | {accuracy} "
            f"| {100 * row.macro_f1:.1f} % | {row.n} |"
        )
    return "\n".join(lines) + "\n"


def between_marks(text: str) -> str:
    """What stands between the two marks of a page.

    Raises
    ------
    RunError
        If the page has no such marks.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RunError(f"the page must hold {BEGIN} and {END} once each, in this order")
    return text.split(BEGIN)[1].split(END)[0].strip()


def write_results(page: Path, table: str) -> bool:
    """Put `table` between the marks of `page`; True if that changed it."""
    text = page.read_text(encoding="utf-8")
    between_marks(text)
    head, rest = text.split(BEGIN)
    after = f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"
    if after != text:
        page.write_text(after, encoding="utf-8")
    return after != text

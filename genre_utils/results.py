"""Pages made from the committed run records: the results table of README.md, the ledger."""

from __future__ import annotations

from pathlib import Path

from genre_utils.errors import RunError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_ORDER = ("svm", "cnn", "head-only", "full")


def recorded_cards(folder: Path) -> list:
    """The run records (``*.json``) in `folder`, classical baseline first, then by seed."""
    from genre_utils.runs import RunCard

    cards = [RunCard.load(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    place = {name: i for i, name in enumerate(_ORDER)}
    return sorted(cards, key=lambda card: (place.get(card.approach, len(place)), card.seed))


def _percent(interval) -> str:
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def results_markdown(folder: Path) -> str:
    """Table of the records in `folder`, with 95 % intervals and the corpus they are about."""
    cards = recorded_cards(folder)
    if not cards:
        return "No run is recorded yet."
    lines = [
        "| Approach | Seed | Accuracy (95 %) | Macro F1 (95 %) | Test clips |",
        "|---|---:|---|---|---:|",
    ]
    for card in cards:
        lines.append(
            f"| {card.title} | {card.seed} | {_percent(card.interval('accuracy'))} "
            f"| {_percent(card.interval('macro_f1'))} | {len(card.predictions)} |"
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

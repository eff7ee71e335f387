"""What the book adds to Jupyter Book, as an extension of Sphinx that ``_config.yml`` names.

Pages become lighter and valid, tables tidy, terms explain themselves, and search looks into prose alone.
"""

from __future__ import annotations

import functools
import html
import re
import zipfile
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path

import latex2mathml.converter
from bs4 import BeautifulSoup, NavigableString, Tag
from docutils import nodes
from sphinx.application import Sphinx

#: An owner of this name is none: nobody has said yet where the repository lies.
UNSET = "OWNER/"
#: What Sphinx leaves for MathJax; the scripts of MathJax and of the icons, and the icons' fonts, which load when they are used.
FORMULA = re.compile(
    r'<(span|div) class="math notranslate nohighlight"[^>]*>\s*\\(?P<mark>[(\[])(?P<tex>.*?)\\[)\]]\s*</\1>', re.DOTALL
)
SCRIPTS = re.compile(
    r'<script [^>]*src="[^"]*(?:mathjax|fontawesome)[^"]*"[^>]*></script>|<link rel="preload" as="font"[^>]*>'
)
#: Text in these is no place for a link to the glossary.
NO_TERMS = ("a", "code", "pre", "h1", "h2", "h3", "h4", "summary", "figcaption", "button", "figure", "svg", "script", "style", "th")
#: For those who take the book along; see :mod:`genre_utils.publish.paper`.
NOTEBOOKS, PAPER = "_downloads/notebooks.zip", "_downloads/book.pdf"


def setup(app: Sphinx) -> dict:
    app.add_config_value("book_on_paper", False, "html")
    app.connect("autodoc-skip-member", lambda app, what, name, member, skip, options: skip or (what == "module" and not callable(member)))
    app.connect("builder-inited", _search_prose)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _search_prose(app: Sphinx) -> None:
    """Keep code, what it printed and drawings out of the index of the search."""
    if app.builder.format != "html":
        return
    index = app.builder.index_page

    def prose(name: str, tree: nodes.document, title: str) -> None:
        tree = tree.deepcopy()
        for node in [*tree.findall(nodes.literal_block), *(raw for raw in tree.findall(nodes.raw) if "<svg" in raw.astext())]:
            node.parent.remove(node)
        index(name, tree, title)

    app.builder.index_page = prose


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    with zipfile.ZipFile(out / NOTEBOOKS, "w", zipfile.ZIP_DEFLATED) as bundle:
        for chapter in sorted(Path(app.srcdir).glob("chapters/*.ipynb")):
            bundle.write(chapter, f"chapters/{chapter.name}")
    tools = out / "_static" / "searchtools.js"  # what a hit shows of a page: no code either
    tools.write_text(tools.read_text("utf-8").replace('[".headerlink", "script"', '[".headerlink", ".highlight", "svg", "script"'), "utf-8")
    if address := app.config.html_baseurl:
        places = "".join(f"<url><loc>{address}{name}.html</loc></url>" for name in sorted(app.env.found_docs))
        sitemap = f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{places}</urlset>\n'
        (out / "sitemap.xml").write_text(sitemap, encoding="utf-8")
    terms = glossary(BeautifulSoup((out / "book" / "glossary.html").read_text("utf-8"), "html.parser"))
    for page in out.rglob("*.html"):
        page.write_text(finished(page.read_text("utf-8"), page.relative_to(out), terms, app.config.book_on_paper), "utf-8")


def finished(page: str, place: Path, terms: dict[str, tuple[str, str]], paper: bool = False) -> str:
    """The page at `place` (relative to the book) as it is published; with `paper`, there will be a PDF to offer."""

    def formula(found: re.Match) -> str:
        kind = "block" if found["mark"] == "[" else "inline"
        return latex2mathml.converter.convert(html.unescape(found["tex"]), display=kind)

    soup = BeautifulSoup(SCRIPTS.sub("", FORMULA.sub(formula, page)), "html.parser")
    for meta in soup.select("meta[name=viewport]")[1:] + soup.select('meta[property="og:url"], meta[property="og:image"]'):
        if meta.get("name") or not meta["content"].startswith("http"):  # the theme says it twice; an address that is none yet
            meta.decompose()
    for again in soup.select("#search-input")[1:]:  # the page of the search has a field of its own
        del again["id"]
    article = soup.find("article")
    if article is None:
        return str(soup)
    # For those who listen to a page or use no mouse: the bar's own text says what it opens, works are no list of list items,
    # and a table that scrolls can be reached.
    for bar in soup.select('[aria-label="Toggle hidden content"]'):
        del bar["aria-label"]
    for works in soup.select(".citation-list[role]"):
        del works["role"]
    for text in article.select("summary > p.expanded"):
        text.decompose()  # says the same as the bar of the fold that is closed
    for text in article.select("summary p"):
        text.name = "span"  # a bar holds no paragraph
        if text.get_text(strip=True) == "Answer":  # what a cell computed, not how
            for code in text.find_parent("details").select(".cell_input"):
                code.decompose()
    for style in article.select("style[scoped]"):
        style.decompose()
    for table in article.find_all("table"):
        table["tabindex"] = "0"
        tidy(table)
    _without_dead_links(article)
    if place.stem not in ("glossary", "api"):
        _explain(article, relpath("book/glossary.html", place.parent), terms)
    offered = {PAPER: "The whole book as PDF"} if paper else {}
    offered[NOTEBOOKS] = "The notebooks (zip)"
    links = " · ".join(f'<a href="{relpath(file, place.parent)}" download>{text}</a>' for file, text in offered.items())
    article.append(BeautifulSoup(f'<p class="take-along">{links}</p>', "html.parser"))
    return str(soup)


def tidy(table: Tag) -> None:
    """One header row, and no index that only counts the rows; empty header cells become plain ones; where many columns
    hold sentences, each cell knows the name of its column."""
    heads = table.thead.find_all("tr") if table.thead else []
    if len(heads) == 2:  # pandas gives the names of the index a row of their own
        names = [cell.get_text(strip=True) for cell in heads[1].find_all(["th", "td"])]
        index = next((i for i in range(len(names)) if not any(names[i:])), len(names))
        above = heads[0].find_all(["th", "td"])
        if 0 < index < len(names) == len(above) and not any(cell.has_attr("colspan") for cell in above):
            for cell, name in zip(above, names[:index], strict=False):
                cell.string = name
            heads[1].decompose()
            heads = heads[:1]
    rows = table.tbody.find_all("tr") if table.tbody else []
    first = [row.find_all(["th", "td"], recursive=False) for row in rows]
    counts = [cells[0].get_text(strip=True) for cells in first if cells and cells[0].name == "th" and not cells[0].has_attr("rowspan")]
    if len(heads) == 1 and rows and counts == [str(i) for i in range(len(rows))]:
        corner = heads[0].find(["th", "td"])
        if not corner.get_text(strip=True):
            for cell in (corner, *(cells[0] for cells in first)):
                cell.decompose()
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
    if len(heads) == 1 and len(names := heads[0].find_all(["th", "td"])) > 4:
        cells = [(name.get_text(" ", strip=True), cell) for row in rows for name, cell in zip(names, row.find_all(["th", "td"]), strict=False)]
        if max(len(cell.get_text(strip=True)) for _, cell in cells) > 36:  # sentences: on a phone each row is a card
            table["class"] = [*table.get("class", []), "cards"]
            for name, cell in cells:
                cell["data-head"] = f"{name}: " if name else ""


def _without_dead_links(article: Tag) -> None:
    """Where the repository has no address yet, no link pretends that it has."""
    for link in article.select(f'a[href*="github.com/{UNSET}"], a[href*="/github/{UNSET}"]'):
        around = link.parent
        alone = around.name == "p" and around.get_text(strip=True) == link.get_text(strip=True)
        around.decompose() if alone else link.unwrap()


def glossary(page: BeautifulSoup) -> dict[str, tuple[str, str]]:
    """Term -> (its anchor, what it means), from the page of the glossary."""
    found = {}
    for term in page.select("dl.glossary > dt"):
        name, told = term.find(string=True).strip(), term.find_next_sibling("dd").get_text(" ", strip=True)
        found[name] = (term["id"], re.sub(r"\s+([,.;:)])", r"\1", " ".join(told.split())))
    return found


@functools.cache
def _word(names: tuple[str, ...]) -> re.Pattern:
    """Finds any of the terms, in the singular or the plural; short forms in capitals only as they are written. The system
    Windows is none."""
    longest = sorted(names, key=len, reverse=True)
    told = [re.escape(name) if name.isupper() else f"(?i:{re.escape(name)})" for name in longest]
    return re.compile(rf"(?<![\w-])(?!Windows)({'|'.join(told)})s?(?![\w-])")


def _explain(article: Tag, place: str, terms: dict[str, tuple[str, str]]) -> None:
    """Make the first use of each term in a section a link to the glossary that says on hover what it means."""
    word, known = _word(tuple(terms)), {name.lower(): name for name in terms}
    section, told = None, set()
    for text in list(_prose(article)):
        around = text.find_parent(lambda tag: tag.name == "section" and tag.find("h2", recursive=False))
        if around is not section:
            section, told = around, set()
        pieces, at = [], 0
        for found in word.finditer(text):
            name = known[found[1].lower()]
            if name in told:
                continue
            told.add(name)
            anchor, means = terms[name]
            link = Tag(name="a", attrs={"class": "term", "href": f"{place}#{anchor}", "data-told": means})
            link.string = found[0]
            pieces += [NavigableString(text[at : found.start()]), link]
            at = found.end()
        if pieces:
            text.replace_with(*pieces, NavigableString(text[at:]))


def _prose(article: Tag) -> Iterator[NavigableString]:
    for text in article.find_all(string=True):
        if type(text) is NavigableString and text.strip() and text.find_parent(["p", "li", "td", "dd"]) and not text.find_parent(NO_TERMS):
            yield text

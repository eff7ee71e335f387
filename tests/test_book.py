"""The built book: complete, without a warning, with working links, alt texts, and nothing fetched from elsewhere."""

from __future__ import annotations

import json
import re
import zipfile
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import nbformat
import pytest
from bs4 import BeautifulSoup
from built_book import ROOT, build, repository_url, require_chapters, toc_pages
from chromium import CHROMIUM

from genre_utils.publish.pages import TITLE
from genre_utils.publish.site import UNSET

PAGES = toc_pages(ROOT)
CHAPTERS = [name for name in PAGES if name.startswith("chapters/")]
each_page = pytest.mark.parametrize("name", PAGES)
each_chapter = pytest.mark.parametrize("name", CHAPTERS)


def test_a_computed_answer_shows_no_code(html):
    folds = [fold for fold in article(html, "chapters/06_comparison").select("details") if fold.summary.get_text(strip=True) == "Answer"]
    computed = [fold for fold in folds if fold.select(".cell_output")]
    assert computed and not any(fold.select(".cell_input") for fold in computed)


@pytest.fixture(scope="session")
def html() -> Path:
    require_chapters()
    return build()


@cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def article(html: Path, name: str):
    return soup(html / f"{name}.html").find("article")


@each_chapter
def test_every_stored_figure_reached_the_page(html, name):
    wanted = 0
    for cell in nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells:
        if not {"remove-cell", "remove-output"} & set(cell.metadata.get("tags", [])):
            wanted += sum(output.get("data", {}).get("text/html", "").count('<svg role="img"') for output in cell.get("outputs", ()))
    assert len(article(html, name).select("svg[role=img]")) >= wanted > 0


@each_page
def test_each_page_has_one_title_and_text(html, name):
    assert len(article(html, name).find_all("h1")) == 1
    assert len(article(html, name).get_text()) > 200


@each_chapter
def test_every_stored_text_output_reached_the_page(html, name):
    text = re.sub(r"\s+", " ", article(html, name).get_text())
    for cell in nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type != "code" or {"remove-cell", "remove-output"} & set(cell.metadata.get("tags", [])):
            continue
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stdout":
                for line in filter(None, map(str.strip, output.text.splitlines())):
                    assert re.sub(r"\s+", " ", line.removeprefix("PASS: ")) in text


@each_chapter
def test_a_bar_says_what_it_hides(html, name):
    bars = {" ".join(bar.get_text().split()) for bar in article(html, name).select("details.hide > summary .collapsed")}
    for cell in nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells:
        if {"hide-input", "hide-cell"} & set(cell.metadata.get("tags", [])) and "parameters" not in cell.metadata.tags:
            assert cell.source.partition("\n")[0].removeprefix(TITLE) in bars
    assert article(html, name).select("details.checked")
    assert not article(html, name).select("summary[aria-label]"), "its text is its name"


@each_page
def test_every_image_has_an_alternative_text(html, name):
    without = [
        str(img)[:120] for img in article(html, name).find_all("img") if not img.get("alt", "").strip()
    ]
    assert not without
    generic = [
        img["alt"]
        for img in article(html, name).find_all("img")
        if img["alt"].startswith(("../_images", "_images"))
    ]
    assert not generic, "a file name is no description"
    assert all(len(drawing["aria-label"]) > 20 for drawing in article(html, name).select("svg[role=img]"))


@each_page
def test_every_player_has_a_caption_and_does_not_play_by_itself(html, name):
    for audio in article(html, name).find_all("audio"):
        assert audio.has_attr("controls") and not audio.has_attr("autoplay")
        figure = audio.find_parent("figure")
        assert figure is not None and figure.figcaption.get_text(strip=True)


@each_page
def test_internal_links_lead_somewhere(html, name):
    page = html / f"{name}.html"
    broken = []
    for tag, attribute in (
        ("a", "href"),
        ("img", "src"),
        ("script", "src"),
        ("link", "href"),
        ("audio", "src"),
    ):
        for node in soup(page).find_all(tag):
            target, fragment = urldefrag(node.get(attribute) or "")
            parts = urlparse(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not file.is_file() or (
                fragment
                and tag == "a"
                and file.suffix == ".html"
                and not soup(file).find(id=unquote(fragment))
            ):
                broken.append(node.get(attribute))
    assert not broken


@each_page
def test_nothing_is_loaded_from_another_host(html, name):
    page = soup(html / f"{name}.html")
    loads = [
        node.get("src") or node.get("href")
        for node in page.find_all(["script", "img", "audio", "iframe", "source"])
    ]
    loads += [link.get("href") for link in page.find_all("link") if "canonical" not in link.get("rel", [])]
    assert not [url for url in loads if url and urlparse(url).netloc]


@each_page
def test_a_page_is_not_too_heavy(html, name):
    page = html / f"{name}.html"
    loaded = [tag.get("src") or tag.get("href") for tag in soup(page).select("script[src], link[rel=stylesheet], link[rel=preload]")]
    files = {(page.parent / unquote(urldefrag(urlparse(where).path).url)).resolve() for where in loaded}
    assert page.stat().st_size + sum(file.stat().st_size for file in files) <= 2_000_000


@each_page
def test_the_page_is_valid_where_it_is_ours(html, name):
    page = soup(html / f"{name}.html")
    anchors = [tag["id"] for tag in page.find_all(id=True)]
    assert {one for one in anchors if anchors.count(one) > 1} == set()
    assert not page.select("summary p, style[scoped], table th:empty")
    assert len(page.select("meta[name=viewport]")) == 1
    for table in article(html, name).select("table.dataframe"):
        assert len(table.thead.find_all("tr")) == 1 or table.thead.select("[colspan]"), "one header row"


@each_page
def test_the_head_says_what_the_page_is_about(html, name):
    page = soup(html / f"{name}.html")
    for said in ("meta[name=description]", 'meta[property="og:title"]', 'meta[property="og:description"]'):
        assert len(page.select_one(said)["content"]) > 5
    described = {soup(html / f"{one}.html").select_one("meta[name=description]")["content"] for one in PAGES}
    assert len(described) == len(PAGES), "each page has its own"


@each_page
def test_no_link_leads_to_a_repository_that_has_no_address(html, name):
    assert UNSET in repository_url(), "the pages below were built without one"
    page = soup(html / f"{name}.html")
    assert not [link["href"] for link in page.select("a[href]") if f"github.com/{UNSET}" in link["href"] or f"/github/{UNSET}" in link["href"]]


@each_page
def test_the_book_can_be_taken_along(html, name):
    offered = [link["href"] for link in article(html, name).select(".take-along a[download]")]
    assert [Path(link).name for link in offered] == (["book.pdf"] if CHROMIUM else []) + ["notebooks.zip"]


def test_the_notebooks_to_take_along_are_the_chapters(html):
    with zipfile.ZipFile(html / "_downloads" / "notebooks.zip") as bundle:
        assert bundle.namelist() == [f"{name}.ipynb" for name in CHAPTERS]
        assert nbformat.reads(bundle.read(f"{CHAPTERS[0]}.ipynb").decode(), as_version=4).cells


@each_chapter
def test_terms_are_explained_where_they_stand(html, name):
    terms = article(html, name).select("a.term")
    assert len({term["href"] for term in terms}) >= 10
    assert all(len(term["data-told"]) > 20 for term in terms)
    assert not article(html, name).select("pre a.term, code a.term, summary a.term, h2 a.term")


def test_formulas_are_drawn_without_a_script(html):
    assert sum(len(article(html, name).find_all("math")) for name in CHAPTERS) >= 5
    assert not [name for name in PAGES if article(html, name).select(".math")]


@each_chapter
def test_source_of_a_directive_never_reaches_the_page(html, name):
    text = article(html, name).get_text()
    assert not re.findall(r"\{(?:cite|ref|doc|term|admonition|note)[:\w]*\}", text)
    assert "Traceback (most recent call last)" not in text


def test_search_index_knows_the_chapters(html):
    index = (html / "searchindex.js").read_text(encoding="utf-8")
    assert all(name in index for name in CHAPTERS)
    words = json.loads(index[index.index("{") : index.rindex("}") + 1])["terms"]
    assert "spectrogram" in words and not {"groupby", "astyp", "linspac", "iloc"} & set(words), "prose, and no code"


#: Figures that prose may state, in per cent, of a hundred or in points: what the study reports, with its intervals; what others report;
#: and assumptions of a thought experiment or names of a level. All else comes from a record, through code.
STATED = {
    "the study's": ["73.33", "73.3", "73", "75", "75.0", "87", "87.0", "65.7", "79.8", "82.5", "79.0", "92.2", "1.7"],
    "of others": ["53.4", "78.6", "76.9"],
    "a level or limit": ["5", "95", "100"],
    "assumed": ["10", "41", "60", "65", "66", "70", "80", "82", "90", "93"],
}
FIGURE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|(?:percentage )?points)|\b(\d+) of (?:its |the )?(?:100|hundred)\b")


def prose(path: Path) -> str:
    if path.suffix == ".ipynb":
        return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    text = path.read_text(encoding="utf-8")
    return re.sub(r"<!-- results:begin -->.*<!-- results:end -->|```.*?```|:width: 100%", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", [*sorted((ROOT / "chapters").glob("*.ipynb")), *sorted((ROOT / "book").glob("*.md"))], ids=lambda p: p.name)
def test_no_figure_of_ours_is_typed_into_prose(path):
    known = {figure for some in STATED.values() for figure in some}
    typed = {one or other for one, other in FIGURE.findall(prose(path))} - known
    assert not typed, f"take {', '.join(sorted(typed))} from a record"

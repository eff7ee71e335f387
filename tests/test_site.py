"""What the book adds to Jupyter Book's pages, and the book on paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from built_book import ROOT, build, require_chapters
from chromium import needs_chromium
from tiny_book import NAMES

from genre_utils.publish import pages, paper, site

TERMS = {"Mel scale": ("term-Mel-scale", "Equal steps sound equally far apart."), "CNN": ("term-CNN", "A network of filters.")}


def finished(body: str, place: str = "chapters/01_dataset.html", **options) -> BeautifulSoup:
    page = f"<html><head></head><body><article><section><h1>Title</h1>{body}</section></article></body></html>"
    return BeautifulSoup(site.finished(page, Path(place), TERMS, **options), "html.parser").article


def test_a_term_leads_to_the_glossary_once_a_section_and_says_what_it_means():
    found = finished(
        "<p>On the <em>mel scale</em>, and mel scales again. A cnn is no CNN. <code>CNN</code></p>"
        "<section><h2>The mel scale</h2><p>The mel scale.</p></section>"
    )
    links = found.select("a.term")
    assert [link.get_text() for link in links] == ["mel scale", "CNN", "mel scale"]
    assert links[0]["href"] == "../book/glossary.html#term-Mel-scale" and links[0]["data-told"] == TERMS["Mel scale"][1]
    assert "A cnn is no CNN." in found.get_text(), "not a letter is lost"


def test_the_glossary_is_read_from_its_page():
    page = '<dl class="glossary"><dt id="term-CNN">CNN<a class="headerlink">#</a></dt><dd><p>A <em>network</em>, of filters.</p></dd></dl>'
    assert site.glossary(BeautifulSoup(page, "html.parser")) == {"CNN": ("term-CNN", "A network, of filters.")}


def test_tables_lose_a_counting_index_and_a_second_header_row():
    counted = "<table><thead><tr><th></th><th>clip</th></tr></thead><tbody><tr><th>0</th><td>a</td></tr><tr><th>1</th><td>b</td></tr></tbody></table>"
    named = (
        "<table><thead><tr><th></th><th>right</th></tr><tr><th>genre</th><th></th></tr></thead>"
        "<tbody><tr><th>blues</th><td>3</td></tr></tbody></table>"
    )
    years = "<table><thead><tr><th></th><th>n</th></tr></thead><tbody><tr><th>2019</th><td>3</td></tr></tbody></table>"
    first, second, third = finished(counted + named + years).find_all("table")
    assert first.get_text("|", strip=True) == "clip|a|b"
    assert second.get_text("|", strip=True) == "genre|right|blues|3" and len(second.thead.find_all("tr")) == 1
    assert third.get_text("|", strip=True) == "n|2019|3" and not third.select("th:empty")
    assert {table["tabindex"] for table in (first, second, third)} == {"0"}


def test_cells_of_a_wide_table_of_sentences_know_their_column():
    row = "<tr><th>CNN</th><td>{}</td><td>c</td><td>d</td><td>e</td></tr>"
    head = "<thead><tr><th></th><th>why</th><th>C</th><th>D</th><th>E</th></tr></thead>"
    wide, plain = (f"<table>{head}<tbody>{row.format(text)}</tbody></table>" for text in ("the interval contains zero, and so we cannot tell", "no"))
    first, second = finished(wide + plain).find_all("table")
    assert first["class"] == ["cards"] and [cell["data-head"] for cell in first.select("tbody :is(td, th)")] == ["", "why: ", "C: ", "D: ", "E: "]
    assert not second.has_attr("class") and not second.select("[data-head]")


def test_links_to_a_repository_without_an_address_are_left_out():
    dead = "https://github.com/OWNER/music/issues"
    found = finished(f'<p><a href="{dead}">Open it in Colab</a></p><p>or <a href="{dead}">ask</a>. <a href="https://github.com/other/x">Other</a></p>')
    assert [link["href"] for link in found.select("a:not([download])")] == ["https://github.com/other/x"]
    assert "Colab" not in found.get_text() and "or ask." in found.get_text()


def test_formulas_become_mathml_and_their_scripts_go():
    formula = r'<p><span class="math notranslate nohighlight">\(x &lt; r/2\)</span></p><script src="../_static/mathjax/tex.js"></script>'
    found = finished(formula)
    assert found.math and not found.select(".math, script") and "<" in found.math.get_text()


@pytest.mark.parametrize("paper", [False, True])
def test_what_can_be_taken_along_is_offered(paper):
    offered = [link["href"] for link in finished("<p>Text.</p>", paper=paper).select("a[download]")]
    assert offered == ["../_downloads/book.pdf"] * paper + ["../_downloads/notebooks.zip"]


def test_without_an_address_there_are_no_buttons():
    own = yaml.safe_load(pages.configured((ROOT / "_config.yml").read_text("utf-8")))
    assert "launch_buttons" not in own and "baseurl" not in own["html"] and not own["html"]["use_repository_button"]


def test_with_an_address_pages_have_buttons_and_addresses_of_their_own(checkout, call):
    config, theirs = checkout / "_config.yml", "Someone/their-book"
    config.write_text(config.read_text("utf-8").replace("OWNER/music-genre-replication", theirs), encoding="utf-8")
    assert call("build", "--committed")[0] == 0
    html = checkout / "build" / "html" / "mini"
    name, home = "chapters/01_dataset", "https://someone.github.io/their-book/"
    page = BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")
    links = [link.get("href") for link in page.select("a[href]")]
    for chapter in NAMES:
        opens = f"https://colab.research.google.com/github/{theirs}/blob/main/chapters/{chapter}.ipynb"
        assert opens in [link.get("href") for link in BeautifulSoup((html / f"chapters/{chapter}.html").read_text("utf-8"), "html.parser").select("a")]
    assert any(link.startswith(f"https://mybinder.org/v2/gh/{theirs}/main") for link in links)
    assert f"https://github.com/{theirs}" in links
    assert page.select_one("link[rel=canonical]")["href"] == f"{home}{name}.html"
    assert page.select_one('meta[property="og:url"]')["content"] == f"{home}{name}.html"
    assert page.select_one('meta[property="og:image"]')["content"] == f"{home}_static/book.png"
    assert f"<loc>{home}{name}.html</loc>" in (html / "sitemap.xml").read_text("utf-8")
    lost = BeautifulSoup((html / "404.html").read_text("utf-8"), "html.parser")
    assert all(link["href"].startswith(("/their-book/", "http", "#")) for link in lost.select("link[href], a.internal[href]"))


# --- On paper -------------------------------------------------------------------------------------------


def test_printing_without_chromium_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(pages.WorkFailed, match="apt-get install chromium"):
        paper.print_book(tmp_path, tmp_path / "_toc.yml", "Title")


@pytest.fixture(scope="module")
def book():
    require_chapters()
    return build()


@needs_chromium
def test_one_document_has_every_page_with_all_folds_open_and_pictures_for_players(book):
    document = BeautifulSoup(paper.one_document(book, ROOT / "_toc.yml", "Title"), "html.parser")
    assert len(document.find_all("article")) == len(document.select("nav li.level1")) > 15
    assert not document.select("audio, script, button, details:not([open]), a.headerlink")
    assert len(document.select("svg.sound path[d]")) >= 40
    anchors = [tag["id"] for tag in document.find_all(id=True)]
    assert len(set(anchors)) == len(anchors)
    assert not [a["href"] for a in document.select('a[href^="#"]') if a["href"][1:] not in anchors]
    assert any("Solution to exercise 1" in fold.summary.get_text() for fold in document.find_all("details"))


@needs_chromium
def test_the_table_of_contents_has_the_page_on_which_a_chapter_begins(book):
    from pypdf import PdfReader

    reader = PdfReader(book / "_downloads" / "book.pdf")
    assert 60 < len(reader.pages) < 160
    texts = [" ".join(page.extract_text().split()) for page in reader.pages]
    for chapter in ("1. The data set", "4. Head only", "6. The comparison"):
        (told,) = (text.split(chapter)[1].split()[0] for text in texts[1:4] if chapter in text)
        assert chapter in texts[int(told) - 1][:40]
    assert {"3. How wav2vec 2.0 works", "Glossary"} <= {entry.title for entry in reader.outline if not isinstance(entry, list)}

"""The whole book as one PDF: the built pages in one document, printed by headless Chromium.

Printed twice, because only the first print tells on which page a section lies, and the table of contents says so.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import tempfile
from os.path import normpath
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import numpy as np
import soundfile as sf
from bs4 import BeautifulSoup, Tag
from sphinx_external_toc.parsing import parse_toc_yaml

from genre_utils.errors import WorkFailed
from genre_utils.paths import package_data
from genre_utils.publish.site import PAPER

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Where the table of contents says on which page an anchor lies.
NUMBER = r'<span data-of="([^"]*)"></span>'
#: What a reader on paper cannot use; code that a page folds stays in the notebooks, and so does the guessing's machinery.
_SCREEN_ONLY = ".headerlink, .take-along, button, script, style, .visually-hidden, .tag_hide-input > details"


def browser() -> str:
    """The browser that prints; a WorkFailed if there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise WorkFailed("printing needs Chromium or Chrome, and there is none here: install it (Debian: apt-get install chromium)")
    return found


def print_book(pages: Path, toc: Path, title: str, address: str = "") -> Path:
    """Print the built `pages` in the order of `toc` to ``_downloads/book.pdf`` among them, and return that file.

    A WorkFailed if there is no Chromium, or if it does not print.
    """
    from pypdf import PdfReader

    found = browser()
    target, page, document = pages / PAPER, pages / "paper.html", one_document(pages, toc, title, address)
    numbers: dict[str, int] = {}
    try:
        for _ in range(2):
            page.write_text(re.sub(NUMBER, lambda of, known=numbers: f"<span>{known.get(of[1], '')}</span>", document), encoding="utf-8")
            _print(found, page, target)
            reader = PdfReader(target)
            numbers = {name.removeprefix("/"): reader.get_destination_page_number(where) + 1 for name, where in reader.named_destinations.items()}
    finally:
        page.unlink(missing_ok=True)
    return target


def _print(browser: str, page: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [browser, "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                   f"--user-data-dir={folder}", "--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={target}",
                   *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []), page.as_uri()]  # fmt: skip
        target.unlink(missing_ok=True)
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=300)
        except subprocess.TimeoutExpired:
            raise WorkFailed(f"{browser} did not finish printing {page} within five minutes") from None
    if not target.is_file():
        raise WorkFailed(f"{browser} did not print {page}:\n{done.stderr.strip()[-2000:]}")


def one_document(pages: Path, toc: Path, title: str, address: str = "") -> str:
    """The pages as one HTML document, with a cover and a table of contents, in which :data:`NUMBER` waits for each page number."""
    site = parse_toc_yaml(toc)
    parts = [("", [site.root.docname])] + [(tree.caption or "", [str(doc) for doc in tree.files()]) for tree in site.root.subtrees]
    names = [name for _, some in parts for name in some]
    soups = {name: BeautifulSoup((pages / f"{name}.html").read_text("utf-8"), "html.parser") for name in names}
    articles = {name: _on_paper(soup.find("article"), name, names) for name, soup in soups.items()}

    def entry(heading: Tag, anchor: str, level: int) -> str:
        text = f'<a href="#{anchor}">{heading.get_text(" ", strip=True)}</a>'
        return f'<li class="level{level}">{text}<span data-of="{anchor}"></span></li>'

    contents = []
    for caption, some in parts:
        contents += [f"<li class='part'>{caption}</li>"] if caption else []
        for name in some:
            contents.append(entry(articles[name].h1, _anchor(name), 1))
            contents += [entry(head, head.find_parent("section")["id"], 2) for head in articles[name].find_all("h2") if head.find_parent("section")]
    where = f" Read, heard and run, the book is at {address}" if address else ""
    cover = f"<header><h1>{title}</h1><p>Sounds are drawn here as their loudness along time: listen to them in the book's pages.{where}</p></header>"
    styles = f'<link rel="stylesheet" href="_static/pygments.css"><style>{package_data("paper.css").read_text("utf-8")}</style>'
    body = "".join(str(article) for article in articles.values())
    return (f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>{styles}</head><body>{cover}'
            f'<nav><h2>Contents</h2><ul>{"".join(contents)}</ul></nav>{body}</body></html>')  # fmt: skip


def _anchor(name: str, fragment: str = "") -> str:
    return name.replace("/", "-") + (f"--{fragment}" if fragment else "")


def _on_paper(article: Tag, name: str, names: list[str]) -> Tag:
    """An article whose anchors are its own in the whole book, with all folds open, and drawings in place of players."""
    for tag in article.select(_SCREEN_ONLY):
        tag.decompose()
    for fold in article.find_all("details"):
        fold["open"] = ""
    for audio in article.find_all("audio"):
        audio.replace_with(BeautifulSoup(_envelope(audio["src"]), "html.parser"))
    for tag in article.find_all(id=True):
        tag["id"] = _anchor(name, tag["id"])
    for tag in article.find_all(["image", "use"]) + article.select("[clip-path]"):  # inside drawings
        for attribute in ("xlink:href", "href"):
            if tag.get(attribute, "").startswith("#"):
                tag[attribute] = "#" + _anchor(name, tag[attribute][1:])
        if tag.get("clip-path", "").startswith("url(#"):
            tag["clip-path"] = f"url(#{_anchor(name, tag['clip-path'][5:])}"
    for image in article.select("img[src]"):
        if not urlparse(image["src"]).scheme:
            image["src"] = normpath(Path(name).parent / image["src"])
    for link in article.select("a[href]"):
        if urlparse(link["href"]).scheme:
            continue
        target, fragment = urldefrag(link["href"])
        page = normpath(Path(name).parent / unquote(target)).removesuffix(".html") if target else name
        if page in names:
            link["href"] = "#" + _anchor(page, fragment)
        else:
            link.unwrap()
    article["id"] = _anchor(name)
    return article


def _envelope(source: str, bars: int = 150) -> str:
    """A player's sound (a data URI) as a drawing of its loudness along time."""
    wave, _ = sf.read(io.BytesIO(base64.b64decode(source.partition("base64,")[2])))
    peaks = [20 * np.abs(part).max(initial=0.0) for part in np.array_split(wave, bars)]
    path = "".join(f"M{x} {20 - peak:.1f}V{20 + peak:.1f}" for x, peak in enumerate(peaks))
    return f'<svg class="sound" viewBox="0 0 {bars} 40" preserveAspectRatio="none" role="img" aria-label="Loudness along time"><path d="{path}"/></svg>'

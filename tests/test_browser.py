"""The built book in a real browser: no console error, every player loads, every page fits a phone."""

from __future__ import annotations

import functools
import http.server
import math
import threading
from pathlib import Path

import axe_core_python
import pytest
from built_book import ROOT, build, require_chapters, toc_pages
from chromium import SLOW_LINE, AsPublished, needs_chromium, start_chromium

PAGES = toc_pages()
CHAPTERS = [name for name in PAGES if name.startswith("chapters/")]
AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
pytestmark = needs_chromium

_LOAD_PLAYERS = """
const done = arguments[arguments.length - 1];
const players = [...document.querySelectorAll('audio')];
const settled = (a) => new Promise((resolve) => {
  const answer = () => resolve([a.duration, a.error && a.error.message, a.closest('figure')?.innerText || '']);
  if (a.readyState >= 1 || a.error) return answer();
  a.addEventListener('loadedmetadata', answer); a.addEventListener('error', answer);
  a.querySelectorAll('source').forEach((s) => s.addEventListener('error', answer));
  a.preload = 'metadata'; a.load();
});
Promise.all(players.map(settled)).then(done);
"""


@pytest.fixture(scope="module")
def site():
    """Address of the built book on a loopback server (fonts do not load from file:// in Chromium)."""
    require_chapters()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(AsPublished, directory=str(build()))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(site):
    driver = start_chromium()
    yield driver
    driver.quit()


def show(browser, site: str, name: str, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")  # forget what earlier pages said
    browser.get(f"{site}/{name}.html")


#: What of an article reaches beyond the screen and cannot be scrolled to.
_CUT_OFF = """
const scrolls = e => /auto|scroll/.test(getComputedStyle(e).overflowX);
return [...document.querySelectorAll('.bd-article *')].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || box.right <= innerWidth) return false;
  for (let around = e; around.tagName != 'ARTICLE'; around = around.parentElement) if (scrolls(around)) return false;
  return true;
}).map(e => `${e.tagName} ${e.textContent.slice(0, 60)}`);
"""


def save_screenshot(browser, name: str) -> None:
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(folder / (name.replace("/", "-") + ".png")))


@pytest.mark.parametrize("name", PAGES)
def test_page_opens_without_a_console_error_and_its_players_load(site, browser, name):
    show(browser, site, name, 1200, 1600)
    players = browser.execute_async_script(_LOAD_PLAYERS)
    silent = [
        (caption, error)
        for length, error, caption in players
        if error or not (length and math.isfinite(length))
    ]
    assert not silent
    save_screenshot(browser, name)
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("name", PAGES)
def test_page_does_not_scroll_sideways_on_a_phone(site, browser, name):
    show(browser, site, name, 390, 844)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    save_screenshot(browser, f"phone/{name}")
    assert width <= 390
    assert browser.execute_script(_CUT_OFF) == []


@pytest.mark.parametrize("name", ["book/intro", max(CHAPTERS, key=lambda name: (ROOT / f"{name}.ipynb").stat().st_size)])
def test_a_first_visit_on_a_slow_line_sees_the_page_within_three_seconds(site, browser, name):
    """The first page and the largest chapter at 1.6 Mbit/s; ``benchmarks/pages.py`` measures all, with a slow processor too."""
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", SLOW_LINE)
        browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        browser.get(f"{site}/{name}.html")
        asked = "return performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)"
        (paint_ms,) = WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(asked))
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", SLOW_LINE | {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    assert paint_ms < 3_000


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_not_too_heavy(site, browser, name):
    """What a first visit loads, packed as it travels."""
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    show(browser, site, name, 1200, 900)
    loaded = browser.execute_script(
        "return ['navigation', 'resource'].flatMap(k => performance.getEntriesByType(k)).map(e => [e.name, e.transferSize])"
    )
    assert sum(size for _, size in loaded) <= 1_500_000, sorted(loaded, key=lambda one: -one[1])[:5]
    assert len(loaded) > 5


@pytest.mark.parametrize("name", PAGES)
def test_drawings_can_be_read_on_a_phone(site, browser, name):
    show(browser, site, name, 360, 800)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure.drawing > svg')].flatMap(svg => { const scale = svg.getBoundingClientRect().width /"
        " svg.viewBox.baseVal.width; return [...svg.querySelectorAll('text')].map(t => scale * parseFloat(getComputedStyle(t).fontSize)); })"
    )
    assert not sizes or min(sizes) >= 9


@pytest.mark.parametrize("name", CHAPTERS)
def test_images_are_drawn(site, browser, name):
    show(browser, site, name, 1200, 1600)
    empty = browser.execute_script(
        "return [...document.querySelectorAll('article img')].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
    )
    assert not empty


@pytest.mark.parametrize(("theme", "width"), [("light", 360), ("dark", 1280)])
@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_nothing_serious_keeps_anybody_out(site, browser, name, theme, width):
    """axe: names of buttons, contrast, roles, what the keyboard can reach."""
    show(browser, site, name, width, 900)
    browser.execute_script("localStorage.mode = localStorage.theme = arguments[0]", theme)
    browser.refresh()  # a change while the page is shown fades in, and axe would measure colours on their way
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run({resultTypes: ['violations']}).then(r => arguments[0](r.violations))")
    serious = {(one["id"], node["html"][:100]) for one in found if one["impact"] in ("critical", "serious") for node in one["nodes"]}
    assert not serious


@pytest.mark.parametrize("wish", ["light", "dark"])
def test_pages_are_dark_where_the_system_is(site, browser, wish):
    show(browser, site, "book/intro", 1200, 900)
    browser.execute_script("localStorage.clear()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": wish}]})
    browser.refresh()
    assert browser.execute_script("return document.documentElement.dataset.theme") == wish


def test_the_browser_draws_the_formulas(site, browser):
    page = next(name for name in CHAPTERS if "<math" in (build() / f"{name}.html").read_text("utf-8"))
    show(browser, site, page, 1200, 1600)
    wide = browser.execute_script("return [...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().width)")
    assert wide and min(wide) > 3


def test_search_finds_a_chapter(site, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    show(browser, site, "search", 1200, 900)
    browser.get(f"{site}/search.html?q=wav2vec")
    wait = WebDriverWait(browser, 20)
    found = wait.until(
        lambda d: d.execute_script(
            "return [...document.querySelectorAll('#search-results a')].map(a => a.href)"
        )
    )
    assert any("/chapters/" in link or "/book/" in link for link in found)


def test_the_front_page_leads_to_the_introduction(site, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{site}/index.html")
    WebDriverWait(browser, 10).until(lambda d: d.current_url.endswith("/book/intro.html"))

"""The guessing round: what its HTML holds, and what it does in a browser."""

import json
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from chromium import needs_chromium, start_chromium

from genre_utils import evaluation, plots
from genre_utils.profiles import GENRES

RATE_HZ = 22_050
RNG = np.random.default_rng(0)
WAVE = 0.3 * np.sin(np.linspace(0, 9000, 4 * RATE_HZ)) + 0.02 * RNG.standard_normal(4 * RATE_HZ)
WAVE = WAVE.astype(np.float32)
ALONG = RNG.dirichlet(np.ones(10), 7)
TIMES_S = np.linspace(0, 4, 7)
SCORES = np.full(10, 0.02) + 0.8 * np.eye(10)[3]  # disco
SAID = {"svm": np.roll(SCORES, 1), "full": SCORES}
TRUTH = ["jazz", "rock", "blues"]
ANSWERS = {"svm": ["jazz", "pop", "metal"], "full": ["jazz", "rock", "metal"]}


def a_round(truth=TRUTH, said=ANSWERS, n=3, **more) -> str:
    return plots.guessing_round([(WAVE, RATE_HZ)] * n, truth, said, max_s=1, **more).data


def rows(page: BeautifulSoup) -> list[list[str]]:
    return [[cell.text for cell in row.find_all(["th", "td"])] for row in page.table.find_all("tr")]


def test_round_hides_the_answers_and_the_names_of_its_clips():
    page = BeautifulSoup(a_round(), "html.parser")
    assert [audio["aria-label"] for audio in page.find_all("audio")] == ["Clip 1", "Clip 2", "Clip 3"]
    assert not page.details.has_attr("open")
    assert not page.find_all("button"), "buttons that do nothing without scripts"
    assert not [tag for tag in page.find_all(src=True) if not tag["src"].startswith("data:")]
    script = page.script.text
    assert not re.search(r"fetch|XMLHttp|[sS]torage|cookie|sendBeacon", script)
    shown = page.ol.text + page.find("p").text
    assert not [genre for genre in GENRES if genre in shown]


def test_round_says_without_scripts_what_is_right_and_how_each_model_did():
    page = BeautifulSoup(a_round(), "html.parser")
    two, one = evaluation.wilson(2, 3), evaluation.wilson(1, 3)
    assert rows(page) == [
        ["clip", "label", "SVM", "fine-tuned"],
        ["1", "jazz", "jazz ✓", "jazz ✓"],
        ["2", "rock", "pop ✗", "rock ✓"],
        ["3", "blues", "metal ✗", "metal ✗"],
        ["right", "", "1 of 3", "2 of 3"],
        ["95 % interval", "", *(f"{100 * s.low:.0f} to {100 * s.high:.0f} %" for s in (one, two))],
    ]


def test_round_carries_wilsons_interval_of_every_possible_score():
    data = json.loads(BeautifulSoup(a_round(), "html.parser").section["data-answers"])
    expected = [evaluation.wilson(k, 3) for k in range(4)]
    assert data["wilson"] == [[round(100 * s.low), round(100 * s.high)] for s in expected]
    assert data["said"] == {"SVM": ANSWERS["svm"], "fine-tuned": ANSWERS["full"]}


def test_any_name_survives_html():
    odd = 'drum & "bass" </section>'
    page = BeautifulSoup(a_round([odd], {"svm": [odd]}, 1, genres=(odd, "pop")), "html.parser")
    assert json.loads(page.section["data-answers"])["truth"] == [odd]
    assert rows(page)[1][1] == odd


@pytest.mark.parametrize(
    ("truth", "said", "n"),
    [
        ([], {}, 0),
        (TRUTH, ANSWERS, 2),
        (TRUTH, {"svm": ["jazz"]}, 3),
        (["jazz", "rock", "polka"], ANSWERS, 3),
    ],
)
def test_round_refuses_what_it_cannot_score(truth, said, n):
    with pytest.raises(ValueError, match="some clips|no button"):
        a_round(truth, said, n)


@pytest.fixture(scope="module")
def browser():
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    def show(body: str):
        page = tmp_path / "page.html"
        page.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">{body}', "utf-8")
        browser.get_log("browser")
        browser.get(page.as_uri())
        return browser

    return show


def severe(browser) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@needs_chromium
def test_a_round_played_to_its_end_by_keyboard_is_scored_beside_the_models(open_page):
    from selenium.webdriver.common.keys import Keys

    page = open_page(a_round())
    clips = page.find_elements("css selector", "li")
    status = page.find_element("css selector", "[role=status]")
    for i, guess in enumerate(("jazz", "rock", "reggae")):
        choices = clips[i].find_elements("tag name", "button")
        assert [button.text for button in choices] == list(GENRES)
        choices[GENRES.index(guess)].send_keys(Keys.ENTER)
        assert not clips[i].find_elements("tag name", "button"), "one guess a clip"
        verdict = page.switch_to.active_element
        assert verdict.text.startswith(f"You said {guess}: "), "a screen reader hears the verdict at once"
        if i == 0:
            assert "right. SVM: jazz ✓, fine-tuned: jazz ✓" in verdict.text
            assert status.text == "1 of 3 clips guessed, 1 right."
    assert "wrong, it is labelled blues" in verdict.text
    mine = evaluation.wilson(2, 3)
    low, high = round(100 * mine.low), round(100 * mine.high)
    assert status.text.startswith("You named 2 of 3; SVM 1, fine-tuned 2. ")
    assert f"interval reaches from {low} to {high} %: {high - low} points." in status.text
    assert page.find_element("tag name", "details").get_attribute("open")
    mine = [cell.text for cell in page.find_elements("css selector", "tr > :nth-child(3)")]
    assert mine == ["you", "jazz ✓", "rock ✓", "reggae ✗", "2 of 3", f"{low} to {high} %"]
    assert severe(page) == []


@needs_chromium
def test_two_rounds_and_a_script_that_runs_twice_do_not_disturb_each_other(open_page):
    page = open_page(a_round() + a_round())
    page.execute_script(BeautifulSoup(a_round(), "html.parser").script.text)
    assert len(page.find_elements("css selector", "li button")) == 2 * 3 * len(GENRES)
    assert severe(page) == []


@needs_chromium
def test_a_round_fits_a_phone(open_page):
    page = open_page(a_round())
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

"""Every figure of the book: it draws, it reads at 9 points, and it says in words what it shows."""

import base64
import inspect
import io
import re
from pathlib import Path

import librosa
import matplotlib
import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.ndimage import gaussian_filter

from genre_utils import evaluation, plots, records
from genre_utils.features import mel_db
from genre_utils.plots import display as plot_display
from genre_utils.plots import style as plot_style
from genre_utils.profiles import GENRES

RNG = np.random.default_rng(0)
RATE_HZ = 22_050
TIME_S = np.arange(5 * RATE_HZ) / RATE_HZ
WAVE = (0.4 * np.sin(2 * np.pi * 440 * TIME_S * (1 + TIME_S / 10)) + 0.05 * RNG.standard_normal(len(TIME_S))).astype(
    np.float32
)
# As rough as a real spectrogram, not as white noise, so that the sizes below mean something.
MEL = gaussian_filter(RNG.normal(-50, 60, (128, 216)), (2, 1.2)) + np.linspace(20, -20, 128)[:, None]
MEL = np.clip(MEL, -80, 0)
Y = np.repeat(np.arange(10), 12)
APPROACHES = ("svm", "cnn", "head-only", "full")
PREDICTED = {
    a: np.where(RNG.random(120) < rate, Y, RNG.integers(0, 10, 120))
    for a, rate in zip(APPROACHES, (0.6, 0.6, 0.65, 0.85), strict=True)
}
RIGHT = {a: p == Y for a, p in PREDICTED.items()}
SCORES = {a: evaluation.wilson(int(r.sum()), 120) for a, r in RIGHT.items()}
TABLES = {a: evaluation.per_genre(Y, p, n=100) for a, p in PREDICTED.items()}
MATRICES = {a: evaluation.confusion(Y, p) for a, p in PREDICTED.items()}
PROBS = RNG.dirichlet(np.ones(10) * 0.3, 120)
HISTORY = [
    {"epoch": e, "train_loss": 2.3 / e, "val_loss": 2.3 / e**0.5, "val_accuracy": 1 - 0.9 / e**0.5} for e in range(1, 13)
]
CURVE = {n: evaluation.wilson(round(120 * (0.3 + 0.08 * i)), 120) for i, n in enumerate((10, 50, 100, 400))}

FIGURES = {
    "mel": lambda: plots.mel_gallery({"blues.00000": MEL}, RATE_HZ, columns=1),
    "waveform and mel": lambda: plots.waveform_and_mel({"blues.00000": WAVE}, RATE_HZ),
    "replicas": lambda: plots.waveform_and_mel({"jazz.00001": WAVE, "jazz.00007": WAVE}, RATE_HZ),
    "gallery": lambda: plots.mel_gallery(dict.fromkeys(GENRES, MEL), RATE_HZ),
    "spectra": lambda: plots.spectra({"22 050 Hz": (WAVE, RATE_HZ), "11 025 Hz": (WAVE[::2], 11_025)}),
    "statistics": lambda: plots.statistics_by_genre(RNG.normal(Y, 2), np.array(GENRES)[Y], "tempo", "BPM"),
    "mel filters": lambda: plots.mel_filters(librosa.filters.mel(sr=RATE_HZ, n_fft=2048, n_mels=128), RATE_HZ),
    "map": lambda: plots.feature_map(RNG.normal(size=(120, 2)) + Y[:, None], np.array(GENRES)[Y]),
    "scores over time": lambda: plots.scores_over_time(WAVE, RATE_HZ, PROBS[:9], np.linspace(0, 5, 9), truth="jazz"),
    "learning curves": lambda: plots.learning_curves(HISTORY, best_epoch=9, approach="cnn"),
    "share curves": lambda: plots.share_curves({"probe": ([1, 2], [0.2, 0.4]), "codes": ([1, 2], [0, 0.3])}, "step"),
    "data efficiency": lambda: plots.interval_curves({"head-only": CURVE, "cnn": CURVE}, "training clips", log=True),
    "feature maps": lambda: plots.mel_gallery({"mel": MEL, "clicks": MEL - MEL.min(), "tones": MEL}, RATE_HZ, columns=3),
    "first layer": lambda: plots.first_layer_filters(RNG.normal(size=(64, 10))),
    "layer probe": lambda: plots.interval_curves({name: dict(enumerate(CURVE.values())) for name in ("pre-trained", "random")}, "layer"),
    "intervals": lambda: plots.accuracy_intervals([("fine-tuned", "full", SCORES["full"])]),
    "repeats": lambda: plots.accuracy_intervals([("by artist", "svm", SCORES["svm"])], {"by artist": [0.6, 0.65, 0.7]}),
    "study and ours": lambda: plots.accuracy_intervals(
        [("study, CNN", "cnn", evaluation.wilson(110, 150)), ("ours, CNN", "cnn", evaluation.wilson(60, 120))]
    ),
    "leads": lambda: plots.lead_intervals(
        [("full over CNN", "full", evaluation.Interval(0.14, 0.03, 0.23, 100)), ("head", "", evaluation.Interval(0.02, -0.1, 0.1, 100))],
        "lead in points",
    ),
    "confusion": lambda: plots.confusion("cnn", MATRICES["cnn"]),
    "per genre": lambda: plots.per_genre_bars(TABLES),
    "one per genre": lambda: plots.per_genre_bars({"cnn": TABLES["cnn"]}),
    "five a genre": lambda: plots.per_genre_bars(TABLES | {"musicnn": TABLES["cnn"]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> dict[str, tuple]:
    plots.set_style()  # as every chapter does
    return {name: draw() for name, draw in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_draws_small_readable_and_described(name, drawn):
    fig, _ = drawn[name]
    assert isinstance(fig, Figure)
    alt = plots.alt_text(fig)
    assert re.match(r"[A-Z0-9]", alt)
    assert alt.endswith(".")
    assert 40 <= len(alt) <= 900, alt
    assert "nan" not in alt.lower().split()
    svg = BeautifulSoup(plots.figure_html(fig), "html.parser").svg
    assert (svg["role"], svg["aria-label"]) == ("img", alt)
    limit = 147_000 if name == "gallery" else 70_000  # ten spectrograms in one (110,000 bytes, as base64)
    assert len(str(svg)) < limit, "a dozen figures and the sound must fit into a notebook of 1 MB"
    words = {text.get_text(strip=True) for text in svg.find_all("text")}
    assert {label.get_text() for label in (fig.axes[0].xaxis.label, fig.axes[0].title)} <= words | {""}
    assert "currentcolor" in str(svg).lower(), "its dark parts follow the page"
    assert fig.get_figwidth() == plot_style.WIDTH_IN, "on a phone its words would be too small"
    small = {
        text.get_text(): text.get_fontsize()
        for text in fig.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_fontsize() < 9
    }
    assert not small, f"type below 9 points: {small}"
    width, height = fig.canvas.get_width_height()
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba())[..., :3].std() > 5, "an empty picture"
    assert width > height * 0.6


def test_all_that_figures_say_stands_in_one_file(monkeypatch):
    """In a language of one letter no other word is left but those that a chapter hands over."""
    for name, words in plot_style.WORDS.items():
        if isinstance(words, str):
            said = "".join(part if part.startswith("{") else re.sub(r"[^\W\d_]", "ж", part) for part in re.split(r"({.*?})", words))
            monkeypatch.setitem(plot_style.WORDS, name, said)
    handed = {*GENRES, *plots.APPROACH_LABELS.values(), "study, CNN", "ours, CNN", "full over CNN", "head", "lead in points", "22 050 Hz", "11 025 Hz",
              "training clips", "by artist", "pre-trained", "random", "tempo", "BPM", "probe", "codes", "clicks", "tones", "mel", "layer", "step"}  # fmt: skip
    for name, draw in FIGURES.items():
        fig, _ = draw()
        said = " ".join([plots.alt_text(fig), *(text.get_text() for text in fig.findobj(Text) if text.get_visible())])
        assert "ж" in said or name == "leads", name
        for words in sorted(handed, key=len, reverse=True):
            said = said.replace(words, "").replace(words.capitalize(), "")
        assert not re.findall(r"[A-Za-z]{2,}", said), name


def test_every_figure_function_is_tried():
    here = Path(__file__)
    source = "".join(path.read_text(encoding="utf-8") for path in (here, here.with_name("test_listening.py")))
    offered = {name for name, what in vars(plots).items() if inspect.isfunction(what)}
    assert {n for n in offered if f"plots.{n}(" not in source} == set()


@pytest.mark.parametrize("name", ["mel", "scores over time", "waveform and mel", "replicas"])
def test_sound_is_drawn_in_seconds_and_hertz(name, drawn):
    fig, _ = drawn[name]
    labels = {text.get_text() for text in fig.findobj(Text)}
    assert {"time (s)", "frequency (Hz)"} <= labels
    last = max(ax.get_xlim()[1] for ax in fig.axes)
    assert last == pytest.approx(2.756 if name == "wrong rate" else 5.0, abs=0.05)


def test_a_tone_is_bright_at_its_frequency_and_a_click_at_its_moment():
    tone = mel_db(np.sin(2 * np.pi * 1024 * TIME_S).astype(np.float32))
    click = mel_db((np.abs(TIME_S - 3) < 0.001).astype(np.float32))
    fig, axes = plots.mel_gallery({"tone": tone, "click": click}, RATE_HZ)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba()).astype(float)[..., :3].sum(axis=2)

    def brightest(ax, along: int) -> int:
        x0, y0, x1, y1 = (round(edge) for edge in ax.get_window_extent().extents)
        inside = pixels[len(pixels) - y1 + 2 : len(pixels) - y0 - 2, x0 + 2 : x1 - 2]
        return int(inside.mean(axis=along).argmax()) + 2

    heard, seen = axes.flat
    height = heard.get_window_extent().y1 - heard.transData.transform((0, 1024))[1]
    assert brightest(heard, 1) == pytest.approx(height, abs=3), "the tone lies at the height of 1024 Hz"
    place = seen.transData.transform((3, 0))[0] - seen.get_window_extent().x0
    assert brightest(seen, 0) == pytest.approx(place, abs=3), "the click lies at 3 s"


def test_alt_text_of_intervals_gives_the_figures(drawn):
    assert f"fine-tuned {SCORES['full']}" in plots.alt_text(drawn["intervals"][0])


def test_one_approach_has_one_colour_everywhere():
    assert set(plots.APPROACH_COLOURS) == set(plots.APPROACH_LABELS) == set(records.TITLES)
    for name in ("svm", "cnn", "head-only", "full"):
        _, axes = plots.learning_curves(HISTORY, 1, name)
        assert axes[0].lines[0].get_color().upper() == plots.APPROACH_COLOURS[name].upper()
    assert len(set(plots.GENRE_COLOURS.values())) == len(GENRES)


def _machado_deuteranopia(hex_colour: str) -> np.ndarray:
    """The colour as a deuteranope sees it, linear RGB (Machado et al. 2009, severity 1)."""
    rgb = np.array(matplotlib.colors.to_rgb(hex_colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    return np.clip(np.array(seen) @ linear, 0, 1)


def test_colours_of_approaches_differ_for_a_colour_blind_reader():
    seen = [_machado_deuteranopia(c) ** (1 / 2.2) for c in plots.APPROACH_COLOURS.values()]
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(gaps) > 0.15


def test_figures_leave_the_readers_style_alone():
    before = dict(matplotlib.rcParams)
    plots.waveform_and_mel({"": WAVE}, RATE_HZ)
    assert dict(matplotlib.rcParams) == before


def test_chance_stands_where_it_is_among_so_many_genres():
    for genres in (10, 4):
        _, ax = plots.accuracy_intervals([("fine-tuned", "full", SCORES["full"])], genres=genres)
        assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [1 / genres]


def test_set_style_gives_the_readers_own_figures_the_books_colours():
    with matplotlib.rc_context():
        plots.set_style()
        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        assert cycle[:5] == list(plots.APPROACH_COLOURS.values())


@pytest.fixture
def shown(monkeypatch):
    bundles = []
    monkeypatch.setattr(plot_display, "display", lambda data, raw: bundles.append(data))
    return bundles


def test_shown_figure_carries_its_alt_text_in_the_page(shown):
    fig = plots.feature_map(np.zeros((1, 2)), ["jazz"], 'a "quoted" <title>')
    plots.show(fig, caption="Figure & more")
    [bundle] = shown
    assert set(bundle) == {"text/html", "text/plain"}, "a PNG beside it would be stored twice"
    page = BeautifulSoup(bundle["text/html"], "html.parser")
    assert page.svg["aria-label"].startswith('a "quoted" <title>')
    assert bundle["text/plain"] == f"Figure: {page.svg['aria-label']}"
    assert int(page.svg["width"]) == 430
    assert "max-width:100%" in page.svg["style"]
    assert "Figure &amp; more" in bundle["text/html"]


def test_several_figures_stand_in_one_row_that_wraps(shown):
    plots.show(*(plots.confusion(name, matrix) for name, matrix in MATRICES.items()))
    page = BeautifulSoup(shown[0]["text/html"], "html.parser")
    assert "flex-wrap:wrap" in page.div["style"] and len(page.div.find_all("figure")) == len(MATRICES)
    assert [f"Figure: {svg['aria-label']}" in shown[0]["text/plain"] for svg in page.find_all("svg")] == [True] * len(MATRICES)


def test_drawings_on_one_page_do_not_share_an_anchor():
    drawn = [BeautifulSoup(plots.figure_html(FIGURES[name]()), "html.parser") for name in ("repeats", "leads", "map", "spectra")]
    anchors = [tag["id"] for page in drawn for tag in page.find_all(id=True)]
    assert anchors and len(set(anchors)) == len(anchors)
    for page in drawn:
        used = {tag["xlink:href"] for tag in page.find_all("use")} | set(re.findall(r"url\((#\w+)\)", str(page)))
        assert used <= {f"#{tag['id']}" for tag in page.find_all(id=True)}


def test_own_alt_text_wins_and_a_missing_one_is_refused(shown):
    fig = Figure()
    fig.subplots().plot([1, 2])
    with pytest.raises(ValueError, match="no alt text"):
        plots.show(fig)
    plots.show(fig, alt="A rising line.")
    assert shown[0]["text/plain"] == "Figure: A rising line."


def test_shown_pyplot_figure_is_not_shown_a_second_time(shown):
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"backend": "agg"}):
        fig = plt.figure()
        plots.show(fig, alt="Nothing.")
        assert fig.number not in plt.get_fignums()


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40))
@example("A\\0 and \\g<0>")
def test_any_alt_text_survives_html(text):
    fig = Figure(figsize=(0.3, 0.3))
    assert BeautifulSoup(plots.figure_html(fig, alt=text), "html.parser").svg["aria-label"] == text


def test_player_is_labelled_short_and_never_starts_by_itself():
    page = BeautifulSoup(plots.players([(np.tile(WAVE, 4), RATE_HZ, "blues <1>")]).data, "html.parser")
    audio = page.audio
    assert audio["aria-label"] == "blues <1>"
    assert page.figcaption.text == "blues <1> (5.0 s)"
    assert "autoplay" not in audio.attrs
    assert audio["preload"] == "metadata"
    kind, content = audio["src"].split(";base64,")
    assert kind == "data:audio/mpeg"
    sound = base64.b64decode(content)
    assert len(sound) < 85_000
    import soundfile

    decoded, rate_hz = soundfile.read(io.BytesIO(sound))
    assert len(decoded) / rate_hz == pytest.approx(5, abs=0.15)
    assert np.corrcoef(np.abs(np.fft.rfft(decoded[:RATE_HZ])), np.abs(np.fft.rfft(WAVE[:RATE_HZ])))[0, 1] > 0.5


def test_players_wrap_on_a_narrow_screen():
    page = BeautifulSoup(plots.players([(WAVE, RATE_HZ, "a"), (WAVE, RATE_HZ, "b")], max_s=1).data, "html.parser")
    assert "flex-wrap:wrap" in page.div["style"]
    assert [audio["aria-label"] for audio in page.find_all("audio")] == ["a", "b"]


@pytest.mark.parametrize("bad", [np.zeros((2, 100)), np.zeros(0)])
def test_player_refuses_what_is_not_one_wave(bad):
    with pytest.raises(ValueError, match="mono"):
        plots.players([(bad, RATE_HZ, "x")])


def test_listening_and_looking_concern_the_same_seconds():
    page = BeautifulSoup(plots.listen_and_look(np.tile(WAVE, 2), RATE_HZ, "jazz.00007", max_s=2).data, "html.parser")
    assert page.audio["aria-label"] == "jazz.00007"
    assert "2.0 seconds" in page.svg["aria-label"]

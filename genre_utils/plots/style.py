"""Colours, type sizes and the few primitives that every figure of the book shares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from genre_utils.evaluation import Interval
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES

#: All that figures, players and the guessing round say; a translation of them is a translation of this file.
WORDS: dict[str, Any] = json.loads(package_data("words.json").read_text(encoding="utf-8"))
#: Almost black. In a drawing that stands in a page it becomes the colour of the page's text.
INK = "#1A1A1A"
#: One colour an approach, everywhere (Okabe and Ito, "Color universal design", 2008).
APPROACH_COLOURS = {"svm": "#E69F00", "cnn": "#0072B2", "musicnn": "#CC79A7", "head-only": "#009E73", "full": "#D55E00"}
APPROACH_MARKERS = {"svm": "s", "cnn": "o", "musicnn": "v", "head-only": "^", "full": "D"}
#: Short names for axes; :data:`genre_utils.records.TITLES` has the long ones.
APPROACH_LABELS: dict[str, str] = WORDS["approaches"]
#: The contestants of the recorded experiments that are no approach of the study.
CONTESTANT_COLOURS = {
    "pre-trained": "#009E73",
    "pre-trained, recorded music too": "#56B4E9",
    "pre-trained, contrastive task only": INK,
    "log-mel statistics": "#E69F00",
    "SVM on 57 statistics": "#E69F00",
    "CNN from scratch": "#0072B2",
    "MusiCNN, frozen": "#CC79A7",
}
#: Paul Tol's "muted" scheme (personal.sron.nl/~pault), safe for colour-blind readers; its darkest hues are lightened here and
#: its grey is darkened, so that all can be told apart on a light page and on a dark one.
_MUTED = "#5A4FCF #88CCEE #CDBB5F #B455A3 #1E8A4C #44AA99 #777777 #CC6677 #999933 #A83A70"
GENRE_COLOURS = dict(zip(GENRES, _MUTED.split(), strict=True))
GENRE_MARKERS = dict(zip(GENRES, "osD^vP*X<>", strict=True))

GREY = "#6E6E6E"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SEQUENTIAL = "magma"

#: Width of a figure, in inches: its words, of 9 points at least, can be read on a phone too.
WIDTH_IN = 4.3
STYLE: dict[str, Any] = {
    "figure.dpi": 100, "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "legend.fontsize": 9, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False,
    "lines.linewidth": 1.8, "image.cmap": SEQUENTIAL, "grid.color": GREY, "grid.alpha": 0.25,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "patch.edgecolor"), INK),
    "axes.prop_cycle": cycler(color=[*APPROACH_COLOURS.values(), GREY]),
}  # fmt: skip


def say(name: str, /, **values) -> str:
    """One of the :data:`WORDS`, with its gaps filled."""
    return WORDS[name].format(**values)


def set_style() -> None:
    """Give all figures, those of the book and a chapter's own, the book's type and colours."""
    matplotlib.rcParams.update(STYLE)


def new_figure(height_in: float = 3.2, rows: int = 1, columns: int = 1, **options) -> tuple[Figure, Any]:
    """A figure and its axes. It is not registered with pyplot, so that nothing is shown twice."""
    fig = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def described(fig: Figure, axes: Any, sentence: str) -> tuple[Figure, Any]:
    """What a figure function returns, once `fig` has its alt text: one sentence that says what there is to see."""
    fig.set_label(sentence)
    return fig, axes


def alt_text(fig: Figure) -> str:
    return str(fig.get_label())


def colour(name: str) -> str:
    """Colour of an approach, contestant or genre; grey for anything else."""
    return (APPROACH_COLOURS | CONTESTANT_COLOURS | GENRE_COLOURS).get(name, GREY)


def label(name: str) -> str:
    return APPROACH_LABELS.get(name, name)


def percent_axis(ax: Axes, which: str = "y", limits: tuple[float, float] = (0, 1)) -> None:
    """Fractions shown as per cent."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    ax.set(**{f"{which}lim": limits})
    ax.grid(axis=which, zorder=0)
    ax.set_axisbelow(True)


def errors(scores: Sequence[Interval]) -> np.ndarray:
    """Error-bar lengths, shape (2, n), of some intervals."""
    return np.transpose([(max(0, s.value - s.low), max(0, s.high - s.value)) for s in scores])

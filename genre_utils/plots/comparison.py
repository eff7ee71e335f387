"""Figures that compare approaches: intervals, confusions, paired tests, cost, calibration, luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genre_utils.evaluation import Interval, wilson
from genre_utils.plots.style import (
    APPROACH_MARKERS,
    GREY,
    LIGHT,
    bounds,
    colour,
    describe,
    figure_function,
    label,
    new_figure,
    percent_axis,
    spread,
)
from genre_utils.profiles import GENRES


@figure_function
def accuracy_intervals(
    rows: Sequence[tuple[str, str, Interval]] | Mapping[str, Interval], name: str = "accuracy", chance: float | None = 0.1
) -> tuple[Figure, Axes]:
    """A forest plot: one line a result, its value and 95 % interval.

    Parameters
    ----------
    rows : sequence of (text, approach, interval), or mapping approach -> interval
        `text` is what stands on the axis ("study, n = 100"), `approach` gives the colour.
    chance : float or None
        Drawn as a dotted line.
    """
    if isinstance(rows, Mapping):
        rows = [(label(approach), approach, interval) for approach, interval in rows.items()]
    fig, ax = new_figure(0.42 * len(rows) + 1.0)
    for y, (_, approach, score) in enumerate(rows):
        error = bounds([score.value], [score.low], [score.high])
        ax.errorbar([score.value], [y], xerr=error, color=colour(approach), marker=APPROACH_MARKERS.get(approach, "o"),
                    capsize=4, markersize=7)  # fmt: skip
        text = f"{100 * score.value:.1f} %  (n = {score.n})"
        ax.annotate(text, (score.value, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9)
    ax.set_yticks(range(len(rows)), [text for text, _, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.8)
    percent_axis(ax, "x")
    if chance:
        ax.axvline(chance, color=GREY, linestyle=":")
        ax.annotate("chance", (chance, -0.75), xytext=(4, 0), textcoords="offset points", va="top", fontsize=9)
    ax.set_xlabel(f"{name}, with 95 % interval")
    describe(fig, f"{name.capitalize()} with 95 % intervals: {'; '.join(f'{text} {score}' for text, _, score in rows)}.")
    return fig, ax


@figure_function
def lead_intervals(rows: Sequence[tuple[str, str, Interval]], name: str = "difference in points") -> tuple[Figure, Axes]:
    """A forest plot of differences: filled where the interval excludes zero, open where it does not.

    Parameters
    ----------
    rows : sequence of (text, approach, interval)
        Differences as fractions; drawn in points (hundredths).
    """
    fig, ax = new_figure(0.36 * len(rows) + 1.0)
    for y, (_, approach, gap) in enumerate(rows):
        error = 100 * bounds([gap.value], [gap.low], [gap.high])
        hue = colour(approach)
        face = hue if gap.low > 0 or gap.high < 0 else "white"
        ax.errorbar([100 * gap.value], [y], xerr=error, color=hue, markerfacecolor=face, capsize=4, markersize=7,
                    marker=APPROACH_MARKERS.get(approach, "o"))  # fmt: skip
    ax.axvline(0, color=GREY, linestyle=":")
    ax.set_yticks(range(len(rows)), [text for text, _, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(name)
    told = (f"{text} {100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]" for text, _, gap in rows)
    describe(fig, f"{name.capitalize()}: {'; '.join(told)}.")
    return fig, ax


def _draw_confusion(ax: Axes, matrix: np.ndarray, genres: Sequence[str], limit: float, ticks: bool = True):
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=limit)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            ink = "white" if share[row, column] > 0.55 else "black"
            ax.text(column, row, f"{int(count)}", ha="center", va="center", fontsize=9, color=ink)
    ax.set_xticks(range(len(genres)), genres, rotation=90)
    ax.set_yticks(range(len(genres)), genres if ticks else [])
    ax.set_xlabel("predicted")
    ax.spines[:].set_visible(False)
    return image


def _worst(matrix: np.ndarray, genres: Sequence[str]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    if not wrong.any():
        return "no error"
    return f"most often {genres[row]} taken for {genres[column]} ({int(wrong[row, column])} times)"


@figure_function
def confusion(matrix: np.ndarray, genres: Sequence[str] = GENRES, title: str = "") -> tuple[Figure, Axes]:
    """A confusion matrix, counts of shape (k, k), rows true; colours show the share of each row."""
    matrix = np.asarray(matrix)
    fig, ax = new_figure(5.0, width_in=5.6)
    image = _draw_confusion(ax, matrix, genres, 1)
    fig.colorbar(image, ax=ax, label="share of the true genre", shrink=0.8)
    ax.set(ylabel="true", title=title)
    right, n = int(np.trace(matrix)), int(matrix.sum())
    describe(fig, f"Confusion matrix {title}: {right} of {n} clips right, {_worst(matrix, genres)}.")
    return fig, ax


@figure_function
def confusions(matrices: Mapping[str, np.ndarray], genres: Sequence[str] = GENRES) -> tuple[Figure, np.ndarray]:
    """Confusion matrices side by side (two to a row): name -> counts (k, k)."""
    columns = min(2, len(matrices))
    rows = -(-len(matrices) // columns)
    fig, axes = new_figure(3.9 * rows, rows=rows, columns=columns, squeeze=False, width_in=6.5 if columns == 2 else 4.4)
    parts = []
    for i, (name, matrix) in enumerate(matrices.items()):
        ax = axes.flat[i]
        _draw_confusion(ax, np.asarray(matrix), genres, 1, ticks=i % columns == 0)
        ax.set_title(label(name))
        if i % columns == 0:
            ax.set_ylabel("true")
        right, n = int(np.trace(matrix)), int(np.sum(matrix))
        parts.append(f"{label(name)} {right} of {n} right, {_worst(np.asarray(matrix), genres)}")
    for ax in axes.flat[len(matrices) :]:
        ax.set_visible(False)
    describe(fig, f"Confusion matrices side by side: {'; '.join(parts)}.")
    return fig, axes


@figure_function
def per_genre_bars(
    tables: Mapping[str, pd.DataFrame], score: str = "f1", name: str = "F1"
) -> tuple[Figure, Axes]:
    """A score of each genre with its interval, one bar an approach.

    `tables` maps an approach to the table of :func:`genre_utils.evaluation.per_genre`.
    """
    genres = list(next(iter(tables.values()))["genre"])
    fig, ax = new_figure(0.16 * len(genres) * max(2, len(tables)) + 1.1)
    height = 0.8 / len(tables)
    parts = []
    for i, (approach, table) in enumerate(tables.items()):
        table = table.set_index("genre").loc[genres]
        y = np.arange(len(genres)) + (i - (len(tables) - 1) / 2) * height
        error = bounds(table[score], table[f"{score}_low"], table[f"{score}_high"])
        ax.barh(y, table[score], height * 0.9, xerr=error, color=colour(approach), label=label(approach),
                error_kw={"elinewidth": 1, "ecolor": "#333333", "capsize": 2})  # fmt: skip
        best, worst = table[score].idxmax(), table[score].idxmin()
        parts.append(f"{label(approach)} best on {best} ({table[score][best]:.2f}), worst on {worst} ({table[score][worst]:.2f})")
    ax.set_yticks(range(len(genres)), genres)
    ax.invert_yaxis()
    ax.set(xlabel=f"{name}, with 95 % interval", xlim=(0, 1))
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    if len(tables) > 1:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(tables))
    describe(fig, f"{name} by genre with 95 % intervals: {'; '.join(parts)}.")
    return fig, ax


@figure_function
def mcnemar_grid(table: pd.DataFrame, names: Sequence[str] | None = None) -> tuple[Figure, Axes]:
    """Who beats whom on the same clips, from :func:`genre_utils.evaluation.pairwise_mcnemar`.

    A cell counts the clips that its row got right and its column got wrong; below stands Holm's p.
    """
    names = list(names or dict.fromkeys([*table["a"], *table["b"]]))
    wins, p = np.full((len(names),) * 2, np.nan), {}
    for row in table.itertuples():
        i, j = names.index(row.a), names.index(row.b)
        wins[i, j], wins[j, i] = row.only_a, row.only_b
        p[i, j] = p[j, i] = row.p_holm
    fig, ax = new_figure(0.8 * len(names) + 1.0, width_in=5.6)
    ax.imshow(np.where(np.isnan(wins), 0, wins), cmap="Greens", vmin=0, vmax=max(1, 1.6 * np.nanmax(wins)), aspect="auto")
    for (i, j), value in p.items():
        strong = "bold" if value < 0.05 else "normal"
        ax.text(j, i, f"{wins[i, j]:.0f}\np = {value:.3f}", ha="center", va="center", fontsize=9, weight=strong)
    titles = [label(n) for n in names]
    ax.set_xticks(range(len(names)), titles)
    ax.set_yticks(range(len(names)), titles)
    ax.set(xlabel="wrong", ylabel="right")
    ax.spines[:].set_visible(False)
    parts = [
        f"{label(r.a)} against {label(r.b)} {r.only_a} to {r.only_b} (p = {r.p_holm:.3f})" for r in table.itertuples()
    ]
    describe(fig, f"Clips that one approach gets right and the other wrong, with Holm-adjusted p: {'; '.join(parts)}.")
    return fig, ax


@figure_function
def cost_accuracy(
    costs_s: Mapping[str, float], scores: Mapping[str, Interval], xlabel: str = "training time (s, log scale)"
) -> tuple[Figure, Axes]:
    """What an accuracy cost: approach -> seconds and approach -> interval."""
    fig, ax = new_figure(3.0)
    for approach, score in scores.items():
        error = bounds([score.value], [score.low], [score.high])
        ax.errorbar([costs_s[approach]], [score.value], yerr=error, color=colour(approach), capsize=4, markersize=8,
                    marker=APPROACH_MARKERS.get(approach, "o"))  # fmt: skip
        where = (costs_s[approach], score.value)
        ax.annotate(label(approach), where, xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.margins(x=0.25)
    percent_axis(ax)
    ax.set(xlabel=xlabel, ylabel="accuracy")
    parts = [f"{label(a)} {score} for {costs_s[a]:,.1f} s" for a, score in scores.items()]
    describe(fig, f"Accuracy against cost: {'; '.join(parts)}.")
    return fig, ax


@figure_function
def reliability(tables: Mapping[str, tuple[pd.DataFrame, float]]) -> tuple[Figure, Axes]:
    """Accuracy against confidence: approach -> what :func:`genre_utils.evaluation.calibration` returns."""
    fig, ax = new_figure(4.0, width_in=5.4)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as confident as right")
    for approach, (table, ece) in tables.items():
        error = bounds(table["accuracy"], table["accuracy_low"], table["accuracy_high"])
        ax.errorbar(table["confidence"], table["accuracy"], error, color=colour(approach), capsize=3, linewidth=1.4,
                    marker=APPROACH_MARKERS.get(approach, "o"), label=f"{label(approach)}: ECE {ece:.2f}")  # fmt: skip
    percent_axis(ax)
    percent_axis(ax, "x")
    ax.set(xlabel="confidence", ylabel="accuracy, with 95 % interval")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    parts = [f"{label(a)} {ece:.2f}" for a, (_, ece) in tables.items()]
    describe(fig, f"Accuracy against confidence; expected calibration error: {', '.join(parts)}.")
    return fig, ax


@figure_function
def seeds_strip(scores: Mapping[str, Sequence[float]], interval: Mapping[str, Interval] | None = None):
    """One dot a seed, approach by approach; grey bars show the interval from the test clips alone."""
    fig, ax = new_figure(0.5 * len(scores) + 1.0)
    for y, (approach, values) in enumerate(scores.items()):
        if interval and approach in interval:
            ax.plot([interval[approach].low, interval[approach].high], [y, y], color=LIGHT, linewidth=9, zorder=1)
        jitter = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [0]
        ax.scatter(values, y + np.asarray(jitter), color=colour(approach), s=42, zorder=3, edgecolors="white",
                   marker=APPROACH_MARKERS.get(approach, "o"))  # fmt: skip
    ax.set_yticks(range(len(scores)), [label(a) for a in scores])
    ax.set_ylim(len(scores) - 0.5, -0.5)
    percent_axis(ax, "x")
    ax.set_xlabel("accuracy (a dot per seed" + ("; grey: 95 % interval of one run)" if interval else ")"))
    parts = [f"{label(a)} {spread(v)} over {len(v)} seeds" for a, v in scores.items()]
    describe(fig, f"Accuracy by seed: {'; '.join(parts)}.")
    return fig, ax


def interval_slider(scores: Mapping[str, tuple[str, float]], sizes: Sequence[int], start: int = 100):
    """Interactive: drag the number of test clips and see Wilson's interval move (plotly figure).

    Parameters
    ----------
    scores : mapping
        Text on the axis -> (approach, accuracy as a fraction).
    sizes : sequence of int
        Numbers of test clips the slider stops at; `start` is where it stands at first.

    Every position is computed here: the chart needs no kernel and no network.
    """
    import plotly.graph_objects as go

    def at(n: int) -> dict[str, list[float]]:
        found = [wilson(round(value * n), n) for _, value in scores.values()]
        return {
            "x": [round(100 * i.value, 2) for i in found],
            "high": [round(100 * (i.high - i.value), 2) for i in found],
            "low": [round(100 * (i.value - i.low), 2) for i in found],
            "text": [f"{100 * i.low:.0f} to {100 * i.high:.0f} %" for i in found],
        }

    first = at(start)
    fig = go.Figure(
        go.Scatter(
            x=first["x"], y=list(scores), mode="markers+text", text=first["text"], textposition="top center",
            error_x={"type": "data", "array": first["high"], "arrayminus": first["low"], "thickness": 3, "width": 8},
            marker={"size": 13, "color": [colour(approach) for approach, _ in scores.values()]}, hoverinfo="text+y",
        )
    )  # fmt: skip
    steps = []
    for n in sizes:
        to = at(n)
        change = {"x": [to["x"]], "text": [to["text"]], "error_x.array": [to["high"]], "error_x.arrayminus": [to["low"]]}
        steps.append({"label": str(n), "method": "restyle", "args": [change, [0]]})
    current = {"prefix": "test clips: ", "font": {"size": 16}}
    fig.update_layout(
        sliders=[{"active": list(sizes).index(start), "steps": steps, "currentvalue": current, "pad": {"t": 45}}],
        xaxis={"title": "accuracy with its 95 % interval (%)", "range": [20, 101]},
        yaxis={"range": [len(scores) - 0.6, -0.7], "automargin": True},
        showlegend=False,
        height=420,
    )
    return fig

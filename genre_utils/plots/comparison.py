"""Figures that compare approaches and splits: intervals, confusions, paired tests, cost, luck, leaks."""
# ruff: noqa: I001 (several names a line)

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genre_utils.evaluation import Interval, wilson
from genre_utils.plots.style import (
    APPROACH_MARKERS, BLUE, GREY, ORANGE, RED, colour, described, errors, label, new_figure, percent_axis,
)  # fmt: skip
from genre_utils.profiles import GENRES

#: One line of a forest plot: the text on the axis, the approach that gives the colour, the figure.
Row = tuple[str, str, Interval]


def _forest(rows: Sequence[Row], inches_a_row: float, scale: float = 1) -> tuple[Figure, Axes]:
    """Values with their intervals from top to bottom; open markers where the interval holds zero."""
    fig, ax = new_figure(inches_a_row * len(rows) + 1.0)
    for y, (_, approach, score) in enumerate(rows):
        hue = colour(approach)
        face = hue if score.low > 0 or score.high < 0 else "white"
        ax.errorbar([scale * score.value], [y], xerr=scale * errors([score]), color=hue, markerfacecolor=face,
                    marker=APPROACH_MARKERS.get(approach, "o"), capsize=4, markersize=7)  # fmt: skip
    ax.set_yticks(range(len(rows)), [text for text, _, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.8)
    return fig, ax


def accuracy_intervals(
    rows: Sequence[Row], repeats: Mapping[str, Sequence[float]] | None = None
) -> tuple[Figure, Axes]:
    """A forest plot: one line a result, its accuracy and 95 % interval, and chance among ten genres.

    `repeats` maps the text of a row to accuracies of single seeds or splits, drawn as dots below the line.
    """
    repeats = repeats or {}
    fig, ax = _forest(rows, 0.42 if not repeats else 0.6)
    told = []
    for y, (text, approach, score) in enumerate(rows):
        above = f"{100 * score.value:.1f} %  (n = {score.n})"
        ax.annotate(above, (score.value, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9)
        told.append(f"{text} {score}")
        values = repeats.get(text, ())
        if len(values):
            ax.scatter(values, y + np.resize((0.18, 0.27, 0.36), len(values)), s=14, color=colour(approach), alpha=0.7)
            told[-1] += f" ({len(values)} from {100 * min(values):.0f} to {100 * max(values):.0f} %)"
    percent_axis(ax, "x")
    ax.axvline(0.1, color=GREY, linestyle=":")
    ax.annotate("chance", (0.1, -0.75), xytext=(4, 0), textcoords="offset points", va="top", fontsize=9)
    ax.set_xlabel("accuracy, with 95 % interval" + ("; a dot for each repeat" if repeats else ""))
    return described(fig, ax, f"Accuracy with 95 % intervals: {'; '.join(told)}.")


def lead_intervals(rows: Sequence[Row], name: str) -> tuple[Figure, Axes]:
    """A forest plot of differences, given as fractions and drawn in points (hundredths)."""
    fig, ax = _forest(rows, 0.36, scale=100)
    ax.axvline(0, color=GREY, linestyle=":")
    ax.set_xlabel(name)
    told = (f"{text} {100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]" for text, _, gap in rows)
    return described(fig, ax, f"{name.capitalize()}: {'; '.join(told)}.")


def _worst(matrix: np.ndarray, genres: Sequence[str]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    if not wrong.any():
        return "no error"
    return f"most often {genres[row]} taken for {genres[column]} ({int(wrong[row, column])} times)"


def confusion(matrices: Mapping[str, np.ndarray], genres: Sequence[str] = GENRES) -> tuple[Figure, np.ndarray]:
    """Confusion matrices, two to a row: approach -> counts, shape (k, k), rows true; colours: share of the row."""
    columns = min(2, len(matrices))
    rows = -(-len(matrices) // columns)
    size = {"height_in": 3.9 * rows, "width_in": 6.5} if columns == 2 else {"height_in": 4.6, "width_in": 4.6}
    fig, axes = new_figure(rows=rows, columns=columns, squeeze=False, sharey=True, **size)
    for ax in axes.flat[len(matrices) :]:
        ax.set_visible(False)
    told = []
    for ax, (name, matrix) in zip(axes.flat, matrices.items(), strict=False):
        sns.heatmap(
            matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), vmin=0, vmax=1, cmap="Blues", cbar=False,
            annot=np.where(matrix > 0, matrix.astype(str), ""), fmt="", annot_kws={"size": 9}, square=True,
            xticklabels=genres, yticklabels=genres, ax=ax,
        )  # fmt: skip
        ax.tick_params(axis="x", rotation=90)
        ax.set(title=label(name), xlabel="predicted", ylabel="true" if ax in axes[:, 0] else "")
        told.append(f"{label(name)} {np.trace(matrix)} of {matrix.sum()} clips right, {_worst(matrix, genres)}")
    return described(fig, axes, f"Confusion matrix: {'; '.join(told)}.")


def per_genre_bars(tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, Axes]:
    """F1 of each genre with its interval: approach -> table of :func:`genre_utils.evaluation.per_genre`."""
    by_genre = {label(approach): table.set_index("genre") for approach, table in tables.items()}
    f1 = pd.DataFrame({name: table["f1"] for name, table in by_genre.items()})
    fig, ax = new_figure(0.16 * len(f1) * max(2, len(tables)) + 1.1)
    f1.plot.barh(
        ax=ax, xerr=[np.clip([t["f1"] - t["f1_low"], t["f1_high"] - t["f1"]], 0, 1) for t in by_genre.values()],
        color=[colour(approach) for approach in tables], width=0.8, capsize=2, error_kw={"elinewidth": 1},
    )  # fmt: skip
    ax.invert_yaxis()
    ax.set(xlabel="F1, with 95 % interval", ylabel="", xlim=(0, 1), axisbelow=True)
    ax.grid(axis="x")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(tables))
    told = [
        f"{name} best on {scores.idxmax()} ({scores.max():.2f}), worst on {scores.idxmin()} ({scores.min():.2f})"
        for name, scores in f1.items()
    ]
    return described(fig, ax, f"F1 by genre with 95 % intervals: {'; '.join(told)}.")


#: What a test clip can have in training, closest first: key of :func:`genre_utils.splits.leakage` -> its name.
_RELATIVES = {
    "same_clip_in_train": "same clip",
    "replica_in_train": "exact replica",
    "same_song_in_train": "same recording",
    "same_artist_in_train": "same artist",
}


def leakage_bars(leakage: Mapping[str, Mapping[str, int]]) -> tuple[Figure, Axes]:
    """How many test clips have a relative in training: split -> counts of :func:`genre_utils.splits.leakage`."""
    counts = pd.DataFrame(leakage).T
    kinds = {key: name for key, name in _RELATIVES.items() if counts[key].any()}
    fig, ax = new_figure(0.65 * len(counts) + 1.5)
    share = counts[list(kinds)].div(counts["n_test"] / 100, axis=0).rename(columns=kinds)
    share.plot.barh(ax=ax, color=(GREY, RED, ORANGE, BLUE)[-len(kinds) :], width=0.8)
    for bars, key in zip(ax.containers, kinds, strict=True):
        ax.bar_label(bars, counts[key], padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="test clips with a relative among the training clips (%)", xlim=(0, 100))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(kinds))
    told = [
        f"{split}: " + ", ".join(f"{row[key]} of {row['n_test']} {name}" for key, name in kinds.items())
        for split, row in leakage.items()
    ]
    return described(fig, ax, f"Test clips that leak into training, by split. {'; '.join(told)}.")


def cost_accuracy(costs_s: Mapping[str, float], scores: Mapping[str, Interval]) -> tuple[Figure, Axes]:
    """What an accuracy cost: approach -> seconds and approach -> interval."""
    fig, ax = new_figure(3.0)
    for approach, score in scores.items():
        where = (costs_s[approach], score.value)
        ax.errorbar(*where, yerr=errors([score]), color=colour(approach), capsize=4, markersize=8,
                    marker=APPROACH_MARKERS.get(approach, "o"))  # fmt: skip
        ax.annotate(label(approach), where, xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.margins(x=0.25)
    percent_axis(ax)
    ax.set(xlabel="recorded time (s, log scale)", ylabel="accuracy")
    told = [f"{label(a)} {score} for {costs_s[a]:,.1f} s" for a, score in scores.items()]
    return described(fig, ax, f"Accuracy against cost: {'; '.join(told)}.")


def interval_slider(scores: Mapping[str, tuple[str, float]], sizes: Sequence[int], start: int = 100):
    """Interactive: drag the number of test clips (one of `sizes`) and see Wilson's interval move, without a kernel.

    `scores` maps the text on the axis to (approach, accuracy as a fraction); the result is a plotly figure.
    """
    import plotly.graph_objects as go

    def at(n: int) -> dict[str, list]:
        found = [wilson(round(value * n), n) for _, value in scores.values()]
        return {
            "x": [round(100 * i.value, 2) for i in found],
            "text": [f"{100 * i.low:.0f} to {100 * i.high:.0f} %" for i in found],
            "error_x.array": [round(100 * (i.high - i.value), 2) for i in found],
            "error_x.arrayminus": [round(100 * (i.value - i.low), 2) for i in found],
        }

    colours = [colour(approach) for approach, _ in scores.values()]
    fig = go.Figure(go.Scatter(y=list(scores), mode="markers+text", textposition="top center", hoverinfo="text+y"))
    fig.update_traces(marker={"size": 13, "color": colours}, error_x={"thickness": 3, "width": 8})
    fig.update_traces(at(start))
    steps = [
        {"label": str(n), "method": "restyle", "args": [{key: [values] for key, values in at(n).items()}, [0]]}
        for n in sizes
    ]
    current = {"prefix": "test clips: ", "font": {"size": 16}}
    fig.update_layout(
        sliders=[{"active": list(sizes).index(start), "steps": steps, "currentvalue": current, "pad": {"t": 45}}],
        xaxis={"title": "accuracy with its 95 % interval (%)", "range": [20, 101]},
        yaxis={"range": [len(scores) - 0.6, -0.7], "automargin": True},
        showlegend=False,
        height=420,
    )
    return fig

"""Figures of what came out: learning curves, accuracies with intervals, leads, confusions, genres."""
# ruff: noqa: I001 (several names a line)

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genre_utils.evaluation import Interval
from genre_utils.plots.style import (
    APPROACH_MARKERS, BLUE, GREEN, GREY, INK, ORANGE, colour, described, errors, label, new_figure, percent_axis, say,
)  # fmt: skip
from genre_utils.profiles import GENRES

#: From nothing, which leaves the page's own ground, to blue.
_FADING = LinearSegmentedColormap.from_list("fading", [(*to_rgb(BLUE), 0), (*to_rgb(BLUE), 1)])
#: One line of a forest plot: the text on the axis, the approach that gives the colour, the figure.
Row = tuple[str, str, Interval]


def _forest(rows: Sequence[Row], values: Sequence[str], inches_a_row: float = 0.42, scale: float = 1) -> tuple[Figure, Axes]:
    """Intervals from top to bottom, each below its text and its value in words, so that a phone has room for them; open
    markers where the interval holds zero."""
    fig, ax = new_figure(inches_a_row * len(rows) + 1.0)
    for y, ((text, approach, score), value) in enumerate(zip(rows, values, strict=True)):
        for words, side, x in ((text, "left", 0), (value, "right", 1)):
            ax.annotate(words, (x, y), (0, 5), ("axes fraction", "data"), "offset points", ha=side, va="bottom", fontsize=9)
        hue = colour(approach)
        face = hue if score.low > 0 or score.high < 0 else "none"
        ax.errorbar([scale * score.value], [y], xerr=scale * errors([score]), color=hue, markerfacecolor=face,
                    marker=APPROACH_MARKERS.get(approach, "o"), capsize=4, markersize=7)  # fmt: skip
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(len(rows) - 0.6, -1.1)
    return fig, ax


def accuracy_intervals(
    rows: Sequence[Row], repeats: Mapping[str, Sequence[float]] | None = None, genres: int = 10
) -> tuple[Figure, Axes]:
    """A forest plot: one line a result, its accuracy and 95 % interval, and chance among so many `genres`.

    `repeats` maps the text of a row to accuracies of single seeds or splits, drawn as dots below the line.
    """
    repeats = repeats or {}
    values = [say("accuracy_of_n", accuracy=100 * score.value, n=score.n) for _, _, score in rows]
    fig, ax = _forest(rows, values, 0.42 if not repeats else 0.6)
    told = []
    for y, (text, approach, score) in enumerate(rows):
        values, found = repeats.get(text, ()), {"name": text, "accuracy": score}
        told.append(say("named_accuracy", **found))
        if len(values):
            ax.scatter(values, y + np.resize((0.18, 0.27, 0.36), len(values)), s=14, color=colour(approach), alpha=0.7)
            found |= {"n": len(values), "lowest": 100 * min(values), "highest": 100 * max(values)}
            told[-1] = say("named_accuracy_and_repeats", **found)
    percent_axis(ax, "x")
    ax.axvline(1 / genres, color=GREY, linestyle=":", linewidth=1)
    ax.annotate(say("chance"), (1 / genres, -1.05), xytext=(4, 0), textcoords="offset points", va="top", fontsize=9)
    ax.set_xlabel(say("accuracy_and_repeats" if repeats else "accuracy_and_interval"))
    return described(fig, ax, say("alt_accuracy_intervals", rows="; ".join(told)))


def lead_intervals(rows: Sequence[Row], name: str) -> tuple[Figure, Axes]:
    """A forest plot of differences, given as fractions and drawn in points (hundredths)."""
    fig, ax = _forest(rows, [say("points", points=100 * gap.value) for _, _, gap in rows], scale=100)
    ax.axvline(0, color=GREY, linestyle=":", linewidth=1)
    ax.set_xlabel(name)
    told = (
        say("named_lead", name=text, lead=100 * gap.value, low=100 * gap.low, high=100 * gap.high) for text, _, gap in rows
    )
    return described(fig, ax, say("alt_lead_intervals", name=name.capitalize(), rows="; ".join(told)))


def _worst(matrix: np.ndarray, genres: Sequence[str]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    if not wrong.any():
        return say("no_error")
    return say("most_often", true=genres[row], predicted=genres[column], n=int(wrong[row, column]))


def confusion(approach: str, matrix: np.ndarray, genres: Sequence[str] = GENRES) -> tuple[Figure, Axes]:
    """A confusion matrix of counts, shape (k, k), rows true; colours: share of the row."""
    fig, ax = new_figure(4.3)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    sns.heatmap(
        share, vmin=0, vmax=1, cmap=_FADING, cbar=False, annot=np.where(matrix > 0, matrix.astype(str), ""), fmt="",
        annot_kws={"size": 9}, square=True, xticklabels=genres, yticklabels=genres, rasterized=True, ax=ax,
    )  # fmt: skip
    for text, dark in zip(ax.texts, share.flat, strict=True):
        text.set_color("white" if dark > 0.5 else INK)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    ax.set(title=label(approach), xlabel=say("predicted"), ylabel=say("true"))
    found = {"name": label(approach), "right": np.trace(matrix), "n": matrix.sum(), "worst": _worst(matrix, genres)}
    return described(fig, ax, say("alt_confusion", **found))


def per_genre_bars(tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, Axes]:
    """F1 of each genre with its interval: approach -> table of :func:`genre_utils.evaluation.per_genre`."""
    by_genre = {label(approach): table.set_index("genre") for approach, table in tables.items()}
    f1 = pd.DataFrame({name: table["f1"] for name, table in by_genre.items()})
    fig, ax = new_figure(0.12 * len(f1) * max(2, len(tables)) + 1.1)
    f1.plot.barh(
        ax=ax, xerr=[np.clip([t["f1"] - t["f1_low"], t["f1_high"] - t["f1"]], 0, 1) for t in by_genre.values()],
        color=[colour(approach) for approach in tables], width=0.8, capsize=2, error_kw={"elinewidth": 1},
    )  # fmt: skip
    ax.invert_yaxis()
    ax.set(xlabel=say("f1_and_interval"), ylabel="", xlim=(0, 1), axisbelow=True)
    ax.grid(axis="x")
    ax.get_legend().remove()
    fig.legend(loc="outside upper center", ncols=3)
    told = [
        say("best_and_worst", name=name, best=scores.idxmax(), highest=scores.max(), worst=scores.idxmin(), lowest=scores.min())
        for name, scores in f1.items()
    ]
    return described(fig, ax, say("alt_per_genre_bars", rows="; ".join(told)))


def learning_curves(history: Sequence[Mapping], best_epoch: int, approach: str) -> tuple[Figure, np.ndarray]:
    """Losses and validation accuracy by epoch; a line marks `best_epoch`, whose weights were kept.

    `history` has rows with ``epoch, train_loss, val_loss, val_accuracy`` (a fraction); missing values are skipped.
    """
    table = pd.DataFrame(history).set_index("epoch")
    accuracy, train = table["val_accuracy"].astype(float), table["train_loss"].dropna()
    fig, axes = new_figure(3.8, rows=2, sharex=True)
    axes[0].plot(table["val_loss"].dropna(), color=colour(approach), label=say("validation"))
    axes[0].plot(train, color=colour(approach), linestyle=":", label=say("training"))
    axes[1].plot(accuracy.dropna(), color=colour(approach))
    percent_axis(axes[1])
    axes[0].set_ylabel(say("loss"))
    axes[1].set_ylabel(say("validation_accuracy"))
    axes[1].set_xlabel(say("epoch"))
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.axvline(best_epoch, color=GREY, linewidth=1, linestyle="--")
    axes[0].legend()
    axes[0].set_title(say("dashed_epoch", epoch=best_epoch), fontsize=9)
    losses = {"first": train.iloc[0], "last": train.iloc[-1]}
    best = {"best": 100 * accuracy.max(), "epoch": accuracy.idxmax()}
    return described(fig, axes, say("alt_learning_curves", name=label(approach), **losses, **best))


def share_curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str = ""
) -> tuple[Figure, Axes]:
    """Several shares (0 to 1) over steps or epochs: name -> (steps, shares)."""
    fig, ax = new_figure(3.0)
    told = []
    for i, (name, (steps, shares)) in enumerate(lines.items()):
        ax.plot(steps, shares, label=name, color=(GREEN, BLUE, ORANGE, GREY)[i % 4], marker="os^D"[i % 4], markersize=4,
                linestyle=("-", "--", ":", "-.")[i % 4])  # fmt: skip
        told.append(say("from_to", name=name, first=100 * shares[0], last=100 * shares[-1]))
    percent_axis(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    what = ylabel.capitalize() or say("shares")
    return described(fig, ax, say("alt_share_curves", what=what, x=xlabel, rows="; ".join(told)))


def interval_curves(
    curves: Mapping[str, Mapping[int, Interval]], xlabel: str, log: bool = False
) -> tuple[Figure, Axes]:
    """Accuracies with their intervals over layers or numbers of training clips: name -> x -> interval."""
    fig, ax = new_figure(3.0 + 0.16 * len(curves))
    told = []
    for i, (name, curve) in enumerate(curves.items()):
        x, scores, beside = np.array(list(curve), dtype=float), list(curve.values()), i - (len(curves) - 1) / 2
        ax.errorbar(
            x * 1.02**beside if log else x + 0.1 * beside,  # or the bars would hide each other
            [score.value for score in scores], errors(scores), label=label(name), color=colour(name),
            marker=APPROACH_MARKERS.get(name, "o"), linestyle=("-", "--", ":")[i % 3], capsize=3,
        )  # fmt: skip
        best = max(curve, key=lambda at: curve[at].value)
        values = {"highest": curve[best], "first": min(curve), "first_value": scores[0]}
        told.append(say("best_at", name=label(name), best=best, **values))
    if log:
        ax.set_xscale("log", base=2)
    ticks = sorted({x for curve in curves.values() for x in curve})
    ax.set_xticks(ticks, [str(x) for x in ticks])
    ax.minorticks_off()
    percent_axis(ax)
    fig.legend(loc="outside upper center", ncols=2 if len(curves) < 3 else 1)
    ax.set(xlabel=xlabel, ylabel=say("accuracy"))
    return described(fig, ax, say("alt_interval_curves", x=xlabel, rows="; ".join(told)))

"""Figures of training: curves, memory, what is frozen, forgetting, pre-training, data efficiency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genre_utils.evaluation import Interval
from genre_utils.plots.style import (
    APPROACH_MARKERS,
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    bounds,
    colour,
    describe,
    figure_function,
    horizontal_bars,
    label,
    new_figure,
    percent_axis,
)

History = Sequence[Mapping[str, float]]


def _column(history: History, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values of the rows that have `key`."""
    rows = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
    epochs, values = np.array(rows, dtype=float).reshape(-1, 2).T
    return epochs, values


@figure_function
def learning_curves(history: History, best_epoch: int | None = None, approach: str = "") -> tuple[Figure, np.ndarray]:
    """Losses and validation accuracy by epoch.

    Parameters
    ----------
    history : sequence of mappings
        Rows with ``epoch, train_loss, val_loss, val_accuracy`` (a fraction); missing values are skipped.
    best_epoch : int, optional
        Marked by a vertical line: the epoch whose weights were kept.
    """
    fig, axes = new_figure(2.9, columns=2)
    tint = colour(approach) if approach else BLUE
    for key, name, dash in (("train_loss", "training", ":"), ("val_loss", "validation", "-")):
        axes[0].plot(*_column(history, key), color=tint, linestyle=dash, label=name)
    epochs, accuracy = _column(history, "val_accuracy")
    axes[1].plot(epochs, accuracy, color=tint, marker=APPROACH_MARKERS.get(approach, "o"), markersize=4)
    percent_axis(axes[1])
    axes[0].legend()
    axes[0].set(xlabel="epoch", ylabel="loss (nats)")
    axes[1].set(xlabel="epoch", ylabel="validation accuracy")
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if best_epoch is not None:
        for ax in axes:
            ax.axvline(best_epoch, color=GREY, linewidth=1, linestyle="--")
        axes[1].annotate(f"kept: epoch {best_epoch}", (best_epoch, 0.03), xytext=(4, 0), textcoords="offset points",
                         fontsize=9, ha="left" if best_epoch < np.mean(epochs) else "right")  # fmt: skip
    train, best = _column(history, "train_loss")[1], int(np.argmax(accuracy))
    describe(
        fig,
        f"Learning curves {label(approach)}: the training loss goes from {train[0]:.2f} to {train[-1]:.2f}, and the "
        f"validation accuracy peaks at {100 * accuracy[best]:.0f} % in epoch {epochs[best]:.0f}.",
    )
    return fig, axes


@figure_function
def learning_overlay(
    histories: Mapping[str, History], key: str = "val_accuracy", name: str = "validation accuracy"
) -> tuple[Figure, Axes]:
    """The same column of several runs' histories over the epochs."""
    fig, ax = new_figure(3.0)
    ends = []
    for i, (run, history) in enumerate(histories.items()):
        epochs, values = _column(history, key)
        style = {"color": colour(run), "marker": APPROACH_MARKERS.get(run, "osD^v"[i % 5])}
        ax.plot(epochs, values, label=label(run), markersize=4, linestyle=("-", "--", ":", "-.")[i % 4], **style)
        ends.append(f"{label(run)} ends at {values[-1]:.2f}")
    ax.set(xlabel="epoch", ylabel=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "accuracy" in key:
        percent_axis(ax)
    ax.legend()
    describe(fig, f"{name.capitalize()} by epoch: {'; '.join(ends)}.")
    return fig, ax


@figure_function
def memory_bars(peaks_mb: Mapping[str, float], title: str = "") -> tuple[Figure, Axes]:
    """Peak memory in megabytes of several approaches or settings."""
    fig, ax = new_figure(0.42 * len(peaks_mb) + 1.0)
    texts = [f"{mb:,.0f} MB" for mb in peaks_mb.values()]
    horizontal_bars(ax, [label(n) for n in peaks_mb], list(peaks_mb.values()), [colour(n) for n in peaks_mb], texts)
    ax.set(xlabel="peak memory (MB)", title=title)
    each = ", ".join(f"{label(n)} {text}" for n, text in zip(peaks_mb, texts, strict=True))
    describe(fig, f"Peak memory: {each}.")
    return fig, ax


@figure_function
def frozen_parts(parts: Mapping[str, Mapping[str, tuple[int, bool]]]) -> tuple[Figure, Axes]:
    """What is trained and what stays frozen.

    Parameters
    ----------
    parts : mapping
        Approach -> part of the model -> (parameters, trained?), from input to output.
    """
    fig, ax = new_figure(0.75 * len(parts) + 1.3)
    sentences = []
    for row, (approach, blocks) in enumerate(parts.items()):
        # Square roots, or a head of a few thousand parameters would be invisible beside a Transformer.
        widths = np.sqrt([max(n, 1) for n, _ in blocks.values()])
        widths = np.maximum(widths / widths.sum(), 0.12)
        lefts = np.concatenate([[0], np.cumsum(widths / widths.sum())])
        for i, (part, (count, trained)) in enumerate(blocks.items()):
            hue = colour(approach) if trained else LIGHT
            ax.barh(row, lefts[i + 1] - lefts[i], left=lefts[i], color=hue, edgecolor="white", linewidth=2,
                    hatch=None if trained else "//", height=0.72)  # fmt: skip
            ink = "white" if trained else "black"
            middle = (lefts[i] + lefts[i + 1]) / 2
            ax.text(middle, row, f"{part}\n{_short(count)}", ha="center", va="center", fontsize=9, color=ink)
        trained_total = sum(n for n, trained in blocks.values() if trained)
        total = sum(n for n, _ in blocks.values())
        sentences.append(f"{label(approach)} trains {trained_total:,} of {total:,} parameters")
    ax.set_yticks(range(len(parts)), [label(a) for a in parts])
    ax.invert_yaxis()
    ax.set_xticks([])
    ax.set_xlabel("coloured: trained    hatched grey: frozen    (width: square root of the parameters)")
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    describe(fig, f"What is trained: {'; '.join(sentences)}.")
    return fig, ax


def _short(count: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


@figure_function
def pretraining_curve(
    steps: Sequence[float], loss: Sequence[float], accuracy: Sequence[float] | None = None, chance_loss: float | None = None
) -> tuple[Figure, np.ndarray]:
    """Contrastive loss, and how often the true code is picked, against optimiser steps."""
    columns = 1 if accuracy is None else 2
    fig, axes = new_figure(2.8, columns=columns, squeeze=False)
    axes = axes[0]
    axes[0].plot(steps, loss, color=BLUE)
    axes[0].set(xlabel="step", ylabel="contrastive loss (nats)")
    if chance_loss is not None:
        axes[0].axhline(chance_loss, color=GREY, linestyle="--", linewidth=1, label=f"guessing: {chance_loss:.2f}")
        axes[0].legend()
    text = f"Pre-training: the contrastive loss goes from {loss[0]:.2f} to {loss[-1]:.2f} in {steps[-1]:,.0f} steps"
    if accuracy is not None:
        axes[1].plot(steps, accuracy, color=ORANGE)
        percent_axis(axes[1], limits=(0, max(0.05, 1.1 * max(accuracy))))
        axes[1].set(xlabel="step", ylabel="true code picked")
        text += f", and the true code is picked {100 * accuracy[-1]:.0f} % of the time"
    describe(fig, text + ".")
    return fig, axes


@figure_function
def shares_over_steps(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> tuple[Figure, Axes]:
    """Several shares (0 to 1) against optimiser steps: name -> (steps, shares)."""
    fig, ax = new_figure(3.0)
    ends = []
    for i, (name, (steps, shares)) in enumerate(lines.items()):
        steps, shares = list(steps), list(shares)
        ax.plot(steps, shares, label=name, color=(GREEN, BLUE, ORANGE, GREY)[i % 4], marker="os^D"[i % 4], markersize=4,
                linestyle=("-", "--", ":", "-.")[i % 4])  # fmt: skip
        ends.append(f"{name} from {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} %")
    percent_axis(ax)
    ax.set_xlabel("step")
    ax.legend()
    describe(fig, f"Shares over the steps of training: {'; '.join(ends)}.")
    return fig, ax


@figure_function
def data_efficiency(curves: Mapping[str, Mapping[int, Interval]]) -> tuple[Figure, Axes]:
    """Accuracy against the number of training clips: name -> clips -> interval."""
    fig, ax = new_figure(3.2)
    sentences = []
    for i, (name, curve) in enumerate(curves.items()):
        clips, scores = list(curve), list(curve.values())
        values = [s.value for s in scores]
        error = bounds(values, [s.low for s in scores], [s.high for s in scores])
        shifted = np.array(clips) * (1.02 ** (i - (len(curves) - 1) / 2))  # so that the bars do not hide each other
        ax.errorbar(shifted, values, error, label=label(name), color=colour(name), capsize=3,
                    marker=APPROACH_MARKERS.get(name, "o"), linestyle=("-", "--", ":")[i % 3])  # fmt: skip
        sentences.append(f"{label(name)} from {scores[0]} with {clips[0]} clips to {scores[-1]} with {clips[-1]}")
    ax.set_xscale("log", base=2)
    ticks = sorted({n for curve in curves.values() for n in curve})
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    percent_axis(ax)
    ax.set(xlabel="training clips (log scale)", ylabel="test accuracy")
    ax.legend()
    describe(fig, f"Accuracy against the number of training clips, with 95 % intervals: {'; '.join(sentences)}.")
    return fig, ax

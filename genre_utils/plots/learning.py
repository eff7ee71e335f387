"""Figures of training: curves over epochs, steps, layers and labels; what is frozen."""
# ruff: noqa: I001 (several names a line)

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genre_utils.evaluation import Interval
from genre_utils.plots.style import (
    APPROACH_MARKERS, BLUE, GREEN, GREY, LIGHT, ORANGE, colour, described, errors, label, new_figure, percent_axis,
)  # fmt: skip


def _loss_and_share(losses: Mapping[str, pd.Series], share: pd.Series, hue: str) -> tuple[Figure, np.ndarray]:
    """Left the losses, right a share in per cent, both over the index of the series."""
    fig, axes = new_figure(2.9, columns=2)
    for (name, loss), dash in zip(losses.items(), ("-", ":"), strict=False):
        axes[0].plot(loss.dropna(), color=hue, linestyle=dash, label=name)
    axes[1].plot(share.dropna(), color=hue)
    for ax in axes:
        ax.set_xlabel(share.index.name)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return fig, axes


def learning_curves(history: Sequence[Mapping], best_epoch: int, approach: str) -> tuple[Figure, np.ndarray]:
    """Losses and validation accuracy by epoch; a line marks `best_epoch`, whose weights were kept.

    `history` has rows with ``epoch, train_loss, val_loss, val_accuracy`` (a fraction); missing values are skipped.
    """
    table = pd.DataFrame(history).set_index("epoch")
    accuracy, train = table["val_accuracy"].astype(float), table["train_loss"].dropna()
    losses = {"validation": table["val_loss"], "training": train}
    fig, axes = _loss_and_share(losses, accuracy, colour(approach))
    percent_axis(axes[1])
    axes[0].set_ylabel("loss (nats)")
    axes[1].set_ylabel("validation accuracy")
    for ax in axes:
        ax.axvline(best_epoch, color=GREY, linewidth=1, linestyle="--")
    axes[0].legend()
    axes[1].set_title(f"dashed: epoch {best_epoch}, whose weights are used", fontsize=9)
    return described(fig, axes, f"Learning curves {label(approach)}: the training loss goes from {train.iloc[0]:.2f} "
                     f"to {train.iloc[-1]:.2f}, and the validation accuracy peaks at {100 * accuracy.max():.0f} % "
                     f"in epoch {accuracy.idxmax():.0f}.")  # fmt: skip


def pretraining_curve(curve: pd.DataFrame, chance_loss: float) -> tuple[Figure, np.ndarray]:
    """Contrastive loss (`chance_loss`: of guessing), and how often the true code is picked, over optimiser steps.

    `curve` has the columns ``step, contrastive, accuracy``.
    """
    curve = curve.set_index("step")
    loss, accuracy = curve["contrastive"], curve["accuracy"]
    fig, axes = _loss_and_share({"the network": loss}, accuracy, BLUE)
    percent_axis(axes[1], limits=(0, 1.1 * accuracy.max()))
    axes[0].axhline(chance_loss, color=GREY, linestyle="--", linewidth=1, label=f"guessing: {chance_loss:.2f}")
    axes[0].legend()
    axes[0].set_ylabel("contrastive loss (nats)")
    axes[1].set_ylabel("true code picked")
    return described(fig, axes, f"Pre-training: the contrastive loss goes from {loss.iloc[0]:.2f} to "
                     f"{loss.iloc[-1]:.2f} in {curve.index[-1]:,.0f} steps, and the true code is picked "
                     f"{100 * accuracy.iloc[-1]:.0f} % of the time.")  # fmt: skip


def share_curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str = ""
) -> tuple[Figure, Axes]:
    """Several shares (0 to 1) over steps or epochs: name -> (steps, shares)."""
    fig, ax = new_figure(3.0)
    told = []
    for i, (name, (steps, shares)) in enumerate(lines.items()):
        ax.plot(steps, shares, label=name, color=(GREEN, BLUE, ORANGE, GREY)[i % 4], marker="os^D"[i % 4], markersize=4,
                linestyle=("-", "--", ":", "-.")[i % 4])  # fmt: skip
        told.append(f"{name} from {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} %")
    percent_axis(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return described(fig, ax, f"{ylabel.capitalize() or 'Shares'} by {xlabel}: {'; '.join(told)}.")


def _interval_curves(curves: Mapping[str, Mapping[float, Interval]], shift) -> tuple[Figure, Axes]:
    """Accuracies with intervals: name -> x -> interval; `shift(x, i)` keeps the bars from hiding each other."""
    fig, ax = new_figure(3.2)
    for i, (name, curve) in enumerate(curves.items()):
        x, scores = np.array(list(curve), dtype=float), list(curve.values())
        ax.errorbar(
            shift(x, i - (len(curves) - 1) / 2), [score.value for score in scores], errors(scores), label=label(name),
            color=colour(name), marker=APPROACH_MARKERS.get(name, "o"), linestyle=("-", "--", ":")[i % 3], capsize=3,
        )  # fmt: skip
    percent_axis(ax)
    ax.legend()
    return fig, ax


def data_efficiency(curves: Mapping[str, Mapping[int, Interval]]) -> tuple[Figure, Axes]:
    """Accuracy against the number of training clips: name -> clips -> interval."""
    fig, ax = _interval_curves(curves, lambda x, i: x * 1.02**i)
    ax.set_xscale("log", base=2)
    ticks = sorted({n for curve in curves.values() for n in curve})
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set(xlabel="training clips (log scale)", ylabel="test accuracy")
    told = []
    for name, curve in curves.items():
        least, most = min(curve), max(curve)
        told.append(f"{label(name)} from {curve[least]} with {least} clips to {curve[most]} with {most}")
    return described(fig, ax, f"Accuracy against the number of training clips, with 95 % intervals: {'; '.join(told)}.")


def layer_probe(curves: Mapping[str, Sequence[Interval]]) -> tuple[Figure, Axes]:
    """Accuracy of a linear probe on each layer, with intervals: backbone -> one interval a layer."""
    by_layer = {name: dict(enumerate(scores)) for name, scores in curves.items()}
    fig, ax = _interval_curves(by_layer, lambda x, i: x + 0.1 * i)
    name_layers(ax, max(map(len, curves.values())))
    ax.set_ylabel("probe accuracy")
    told = []
    for name, scores in curves.items():
        best = int(np.argmax([score.value for score in scores]))
        told.append(f"{name} is best at layer {best} with {scores[best]}")
    return described(fig, ax, f"Accuracy of a linear probe on each layer, with 95 % intervals: {'; '.join(told)}.")


def name_layers(ax: Axes, layers: int) -> None:
    ax.set_xticks(range(layers), ["input", *map(str, range(1, layers))])
    ax.set_xlabel("Transformer layer")


def layer_bars(values: Sequence[float], approach: str, name: str, equal: float | None = None) -> tuple[Figure, Axes]:
    """One number a layer, from the Transformer's input to its last; `equal` is drawn as a dashed line."""
    fig, ax = new_figure(2.6)
    ax.bar(range(len(values)), values, color=colour(approach))
    if equal is not None:
        ax.axhline(equal, color=GREY, linestyle="--", linewidth=1, label="all equal")
        ax.legend()
    name_layers(ax, len(values))
    ax.set_ylabel(name)
    most, least = int(np.argmax(values)), int(np.argmin(values))
    told = f"most at layer {most} ({values[most]:.2f}), least at {least} ({values[least]:.2f})"
    return described(fig, ax, f"{name.capitalize()} by layer: {told}.")


def frozen_parts(parts: Mapping[str, Mapping[str, tuple[int, bool]]]) -> tuple[Figure, Axes]:
    """What is trained and what stays frozen: approach -> part of its model -> (parameters, trained?)."""
    fig, ax = new_figure(0.75 * len(parts) + 1.3)
    told = []
    for row, (approach, blocks) in enumerate(parts.items()):
        # Square roots, or a head of a few thousand parameters would be invisible beside a Transformer.
        widths = np.sqrt([count for count, _ in blocks.values()])
        widths = np.maximum(widths / widths.sum(), 0.12)
        lefts = np.cumsum(widths) - widths
        for (part, (count, trained)), left, width in zip(blocks.items(), lefts, widths, strict=True):
            bar = ax.barh(row, width, left=left, color=colour(approach) if trained else LIGHT, edgecolor="white",
                          linewidth=2, hatch=None if trained else "//", height=0.72)  # fmt: skip
            text = f"{part}\n{count / 1e6:.3g} M" if count >= 1e6 else f"{part}\n{count / 1e3:.3g} k"
            ax.bar_label(bar, [text], label_type="center", fontsize=9, color="white" if trained else "black")
        counts = {trained: sum(n for n, t in blocks.values() if t == trained) for trained in (True, False)}
        told.append(f"{label(approach)} trains {counts[True]:,} of {sum(counts.values()):,} parameters")
    ax.set_yticks(range(len(parts)), [label(a) for a in parts])
    ax.invert_yaxis()
    ax.set_xticks([])
    ax.set_xlabel("coloured: trained    hatched grey: frozen    (width: square root of the parameters)")
    ax.spines[["left", "bottom"]].set_visible(False)
    return described(fig, ax, f"What is trained: {'; '.join(told)}.")

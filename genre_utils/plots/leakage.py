"""Figures of the audit and of the splits: replicas, leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genre_utils.evaluation import Interval
from genre_utils.plots.audio import draw_mel, draw_wave
from genre_utils.plots.style import (
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    RED,
    bounds,
    describe,
    figure_function,
    new_figure,
    percent_axis,
)


@figure_function
def similarity_histogram(
    similarities: np.ndarray, threshold: float, known: np.ndarray | None = None, name: str = "similarity"
) -> tuple[Figure, Axes]:
    """Similarity of pairs of clips, shape (pairs,), the threshold, and the pairs known to be replicas."""
    similarities = np.asarray(similarities, dtype=float)
    fig, ax = new_figure(2.9)
    bins = np.linspace(similarities.min(), max(similarities.max(), threshold), 60)
    ax.hist(similarities, bins=bins, color=BLUE, label="all pairs")
    ax.set_yscale("log")
    ax.axvline(threshold, color=RED, linestyle="--", label=f"threshold {threshold:.2f}")
    if known is not None and len(known):
        ax.plot(known, np.full(len(known), 0.7), "v", color=ORANGE, markeredgecolor="black", label="known replicas")
    ax.set(xlabel=name, ylabel="pairs (log scale)")
    ax.yaxis.set_major_formatter("{x:,g}")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    found = int((similarities >= threshold).sum())
    describe(
        fig,
        f"Histogram of the {name} of {len(similarities)} pairs of clips: {found} lie at or above the threshold "
        f"{threshold:.2f}.",
    )
    return fig, ax


@figure_function
def replica_pair(
    waves: Sequence[np.ndarray], mels: Sequence[np.ndarray], names: Sequence[str], rate_hz: int, hop_length: int = 512
) -> tuple[Figure, np.ndarray]:
    """Two clips side by side, waveform above mel-spectrogram."""
    fig, axes = new_figure(3.8, rows=2, columns=2, sharey="row", sharex=True, height_ratios=(1, 2))
    for column, (wave, mel, name) in enumerate(zip(waves, mels, names, strict=True)):
        draw_wave(axes[0, column], wave, rate_hz)
        draw_mel(axes[1, column], mel, rate_hz, hop_length)
        axes[0, column].set_title(name)
        axes[0, column].set_xlabel("")
    for ax in axes[:, 1]:
        ax.set_ylabel("")
    describe(fig, f"Waveforms and mel-spectrograms of {names[0]} and {names[1]} side by side, for comparison.")
    return fig, axes


@figure_function
def leakage_bars(
    leakage: Mapping[str, Mapping[str, int]], kinds: Mapping[str, str] | None = None
) -> tuple[Figure, Axes]:
    """How many test clips of each split have a relative in the training side.

    Parameters
    ----------
    leakage : mapping
        Split name -> counts with ``n_test`` and the keys of `kinds`.
    kinds : mapping, optional
        Key -> what it is called. By default replica, same song and same artist.
    """
    kinds = kinds or {
        "replica_in_train": "exact replica",
        "same_song_in_train": "same recording",
        "same_artist_in_train": "same artist",
    }
    fig, ax = new_figure(0.6 * len(leakage) + 1.6)
    height = 0.8 / len(kinds)
    for i, (key, name) in enumerate(kinds.items()):
        share = [100 * counts[key] / counts["n_test"] for counts in leakage.values()]
        where = np.arange(len(leakage)) + (i - (len(kinds) - 1) / 2) * height
        ax.barh(where, share, height, color=(RED, ORANGE, BLUE, GREY)[i % 4], label=name)
        for y, counts, value in zip(where, leakage.values(), share, strict=True):
            text = f"{counts[key]}"
            ax.annotate(text, (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_yticks(np.arange(len(leakage)), list(leakage))
    ax.invert_yaxis()
    ax.set(xlabel="test clips with a relative among the training clips (%)", xlim=(0, 100))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28 if len(leakage) < 4 else -0.18), ncols=len(kinds))
    ax.spines["left"].set_color(LIGHT)
    parts = [
        f"{split}: " + ", ".join(f"{counts[key]} of {counts['n_test']} {name}" for key, name in kinds.items())
        for split, counts in leakage.items()
    ]
    describe(fig, f"Test clips that leak into training, by split. {'; '.join(parts)}.")
    return fig, ax


@figure_function
def split_bars(scores: Mapping[str, Sequence[float]], intervals: Mapping[str, Interval]) -> tuple[Figure, Axes]:
    """The same classifier under different kinds of split: mean as a bar, its interval, a dot per repeat.

    Parameters
    ----------
    scores : mapping
        Kind of split -> accuracy of each repeat.
    intervals : mapping
        Kind of split -> interval of the mean.
    """
    fig, ax = new_figure(0.75 * len(scores) + 1.0)
    for y, (name, values) in enumerate(scores.items()):
        mean, hue = intervals[name], (RED, BLUE, GREEN, ORANGE)[y % 4]
        ax.barh(y, mean.value, 0.62, color=hue, alpha=0.45)
        jitter = np.linspace(-0.22, 0.22, len(values))
        ax.scatter(values, y + jitter, s=14, color=hue, edgecolors="white", linewidths=0.4, zorder=3)
        error = bounds([mean.value], [mean.low], [mean.high])
        ax.errorbar([mean.value], [y], xerr=error, color="black", capsize=5, marker="|", markersize=14, zorder=4)
    ax.set_yticks(range(len(scores)), list(scores))
    ax.set_ylim(len(scores) - 0.5, -0.5)
    percent_axis(ax, "x")
    ax.set_xlabel("test accuracy (a dot per repeat; bar: mean; black: its 95 % interval)")
    parts = [f"{name} {intervals[name]}" for name in scores]
    describe(fig, f"Mean accuracy of one classifier by kind of split, with 95 % intervals: {'; '.join(parts)}.")
    return fig, ax

"""Figures of what is inside a network: shapes, receptive fields, filters, masks, codes, layers."""

from __future__ import annotations

from collections.abc import Sequence

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genre_utils.evaluation import Interval
from genre_utils.plots.audio import draw_mel
from genre_utils.plots.style import (
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    RED,
    SEQUENTIAL,
    bounds,
    describe,
    figure_function,
    new_figure,
    percent_axis,
)


@figure_function
def shapes_ledger(layers: Sequence[tuple[str, tuple[int, ...], int]]) -> tuple[Figure, Axes]:
    """The tensor after each layer, drawn to a logarithmic scale.

    Parameters
    ----------
    layers : sequence of (name, shape, parameters)
        Shape without the batch: (channels, bands, frames) or (features,).
    """
    fig, ax = new_figure(0.44 * len(layers) + 0.8)
    largest = max(np.log2(np.prod(shape)) for _, shape, _ in layers)
    for row, (name, shape, parameters) in enumerate(layers):
        width = np.log2(np.prod(shape)) / largest * 0.9
        ax.barh(row, width, color=BLUE if len(shape) > 1 else ORANGE, alpha=0.85, height=0.7)
        ax.text(0.012, row, " × ".join(map(str, shape)), va="center", fontsize=9, color="white", weight="bold")
        ax.annotate(f"{parameters:,}", (1.0, row), ha="right", va="center", fontsize=9)
    ax.set_yticks(range(len(layers)), [name for name, _, _ in layers])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.01)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_title("shape after the layer (length: log of the values held), parameters on the right", fontsize=9)
    total = sum(n for _, _, n in layers)
    first, last = (" by ".join(map(str, layers[i][1])) for i in (0, -1))
    describe(fig, f"Shapes through {len(layers)} layers, from {first} to {last}, with {total:,} parameters in all.")
    return fig, ax


@figure_function
def filter_grid(filters: np.ndarray, columns: int = 8, title: str = "") -> tuple[Figure, np.ndarray]:
    """Small 2-D kernels, shape (n, height, width), on one symmetric colour scale."""
    filters = np.asarray(filters)
    rows = -(-len(filters) // columns)
    fig, axes = new_figure(0.75 * rows + 0.5, rows=rows, columns=columns, squeeze=False)
    limit = np.abs(filters).max()
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, kernel in zip(axes.flat, filters, strict=False):
        image = ax.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit, origin="lower")
    fig.colorbar(image, ax=axes, label="weight", shrink=0.9)
    fig.suptitle(title, fontsize=11)
    height, width = filters.shape[1:]
    describe(fig, f"{len(filters)} learned filters of {height} by {width} weights {title}, the largest {limit:.2f}.")
    return fig, axes


@figure_function
def feature_maps(
    mel: np.ndarray, maps: dict[str, np.ndarray], rate_hz: int, hop_length: int = 512
) -> tuple[Figure, np.ndarray]:
    """A mel-spectrogram (bands, frames) beside what single filters make of it: name -> map of the same shape."""
    panels = {"mel-spectrogram": mel} | maps
    fig, axes = new_figure(2.7, columns=len(panels), sharey=True)
    for ax, (name, values) in zip(axes, panels.items(), strict=True):
        draw_mel(ax, values, rate_hz, hop_length, cmap="magma" if values is mel else "viridis")
        ax.set_title(name, fontsize=10)
        if ax is not axes[0]:
            ax.set_ylabel("")
    describe(fig, f"A mel-spectrogram and beside it the answers of {len(maps)} filters to it: {', '.join(maps)}.")
    return fig, axes


@figure_function
def class_activation(
    mel: np.ndarray, activation: np.ndarray, rate_hz: int, hop_length: int = 512, genre: str = ""
) -> tuple[Figure, np.ndarray]:
    """Where the evidence for a genre lies: activation (any smaller shape) over the mel-spectrogram."""
    fig, axes = new_figure(2.9, columns=2, sharey=True)
    draw_mel(axes[0], mel, rate_hz, hop_length, cmap="gray")
    draw_mel(axes[1], mel, rate_hz, hop_length, cmap="gray")
    seconds = mel.shape[1] * hop_length / rate_hz
    overlay = axes[1].imshow(
        activation, origin="lower", aspect="auto", extent=(0, seconds, 0, len(mel)), cmap=SEQUENTIAL, alpha=0.6,
        interpolation="bilinear",
    )  # fmt: skip
    axes[1].set_ylabel("")
    axes[0].set_title("mel-spectrogram")
    axes[1].set_title(f"evidence for {genre}" if genre else "evidence")
    fig.colorbar(overlay, ax=axes, label="activation", shrink=0.9)
    when = (activation.sum(axis=0).argmax() + 0.5) / activation.shape[1] * seconds
    describe(fig, f"Mel-spectrogram and, over it, the evidence for {genre or 'the genre'}, strongest at {when:.1f} s.")
    return fig, axes


@figure_function
def receptive_field(kernels: Sequence[int], strides: Sequence[int], rate_hz: int = 16_000) -> tuple[Figure, Axes]:
    """How much sound one output of each layer of a 1-D convolutional encoder sees.

    The receptive field grows as r += (kernel - 1) * jump, jump *= stride.
    """
    field, jump, rows = 1, 1, []
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * jump
        jump *= stride
        rows.append((kernel, stride, 1000 * field / rate_hz, 1000 * jump / rate_hz))
    fig, ax = new_figure(0.42 * len(rows) + 1.0)
    for i, (kernel, stride, field_ms, jump_ms) in enumerate(rows):
        ax.barh(i, field_ms, color=BLUE, height=0.6)
        ax.barh(i, jump_ms, color=ORANGE, height=0.25)
        text = f"{field_ms:.3g} ms, every {jump_ms:.3g} ms"
        ax.annotate(text, (field_ms, i), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_yticks(range(len(rows)), [f"layer {i + 1}: kernel {k}, stride {s}" for i, (k, s, _, _) in enumerate(rows)])
    ax.invert_yaxis()
    ax.set(xlabel="time (ms): receptive field (blue), hop (orange)", xlim=(0, 1.75 * rows[-1][2]))
    describe(
        fig,
        f"Receptive field of {len(rows)} convolutions: the last layer sees {rows[-1][2]:.1f} milliseconds of sound "
        f"and moves on by {rows[-1][3]:.1f} milliseconds.",
    )
    return fig, ax


@figure_function
def first_layer_filters(
    filters: np.ndarray, rate_hz: int = 16_000, shown: int = 6, n_mels: int | None = None
) -> tuple[Figure, np.ndarray]:
    """The learned filters of the first layer: some as waveforms, all as frequency responses.

    Parameters
    ----------
    filters : ndarray, shape (n, kernel)
    n_mels : int, optional
        Draw the centres of as many mel bands beside the peaks of the filters (default: n).
    """
    filters = np.asarray(filters)
    n, kernel = filters.shape
    hz = np.fft.rfftfreq(512, 1 / rate_hz)
    response = np.abs(np.fft.rfft(filters, 512, axis=1))
    peaks = hz[response.argmax(axis=1)]
    order = np.argsort(peaks)
    fig, axes = new_figure(3.6, columns=2, width_ratios=(1, 1.6))
    picks = order[np.linspace(0, n - 1, min(shown, n)).round().astype(int)]
    time_ms = 1000 * np.arange(kernel) / rate_hz
    for i, pick in enumerate(picks):
        axes[0].plot(time_ms, i + 0.45 * filters[pick] / (np.abs(filters[pick]).max() + 1e-12), color=BLUE)
    axes[0].set_yticks(range(len(picks)), [f"{peaks[p]:.0f} Hz" for p in picks])
    axes[0].set(xlabel="time (ms)", title=f"{len(picks)} filters")
    image_db = librosa.amplitude_to_db(response[order].T, ref=np.max)
    axes[1].imshow(
        image_db, origin="lower", aspect="auto", extent=(0, n, 0, rate_hz / 2), vmin=-40, vmax=0, cmap=SEQUENTIAL
    )
    mel = librosa.mel_frequencies(n_mels=(n_mels or n) + 2, fmin=0, fmax=rate_hz / 2)[1:-1]
    axes[1].plot(np.linspace(0, n, len(mel)), mel, color="white", linestyle="--", label="mel bands")
    axes[1].legend(labelcolor="white", loc="upper left")
    axes[1].set(xlabel="filter, sorted by peak", ylabel="frequency (Hz)", title="frequency response", ylim=(0, rate_hz / 2))
    describe(
        fig,
        f"{n} learned filters of {1000 * kernel / rate_hz:.2f} milliseconds: half of them peak below "
        f"{np.median(peaks):.0f} hertz; a dashed line shows where mel bands would lie.",
    )
    return fig, axes


@figure_function
def masked_mel(
    mel: np.ndarray, rate_hz: int, hop_length: int, mask: np.ndarray, frame_s: float = 0.02
) -> tuple[Figure, np.ndarray]:
    """Masked latent frames, bool shape (frames,), over the mel-spectrogram (bands, n) of their sound.

    Above the whole sound, below what is left of it for the Transformer.
    """
    mask = np.asarray(mask, dtype=bool)
    fig, axes = new_figure(4.4, rows=2, sharex=True)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int))).reshape(-1, 2)
    for ax, name in zip(axes, ("the sound", "what the Transformer is given of it"), strict=True):
        draw_mel(ax, mel, rate_hz, hop_length)
        ax.set_title(name)
    axes[0].set_xlabel("")
    for start, end in edges:
        axes[1].axvspan(start * frame_s, end * frame_s, facecolor=LIGHT, edgecolor=GREY, hatch="//", linewidth=0)
    seconds = mel.shape[1] * hop_length / rate_hz
    describe(
        fig,
        f"Mel-spectrogram of {seconds:.1f} seconds, and the same with {len(edges)} hatched stretches that hide "
        f"{100 * mask.mean():.0f} % of {len(mask)} latent frames.",
    )
    return fig, axes


@figure_function
def codebook_usage(counts: np.ndarray, columns: int = 32) -> tuple[Figure, np.ndarray]:
    """How often each code is chosen: counts, shape (groups, codes), as one heat map a group."""
    counts = np.asarray(counts, dtype=float)
    groups, codes = counts.shape
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns = min(columns, codes)
    rows = -(-codes // columns)
    fig, axes = new_figure(max(1.8, 0.5 + 0.2 * rows * groups), rows=groups, squeeze=False)
    used, perplexities = [], []
    for group, (ax, p) in enumerate(zip(axes[:, 0], share, strict=True)):
        grid = np.full(rows * columns, np.nan)
        grid[:codes] = 100 * p
        image = ax.imshow(grid.reshape(rows, columns), cmap="viridis", vmin=0, vmax=100 * share.max(), aspect="auto")
        ax.set(xticks=[], yticks=[])
        used.append(int((p > 0).sum()))
        perplexities.append(float(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum())))
        name = f"codebook {group + 1}: {used[-1]} of {codes} codes used, perplexity {perplexities[-1]:.0f}"
        ax.set_title(name, fontsize=10)
    fig.colorbar(image, ax=axes[:, 0], label="share (%)")
    parts = [f"codebook {g + 1} uses {u} (perplexity {q:.0f})" for g, (u, q) in enumerate(zip(used, perplexities, strict=True))]
    describe(fig, f"How often each of {codes} codes is chosen: {', '.join(parts)}.")
    return fig, axes[:, 0]


@figure_function
def temperature_curve(start: float, end: float, decay: float, steps: int) -> tuple[Figure, Axes]:
    """The Gumbel-softmax temperature ``max(start * decay**step, end)`` over training steps."""
    fig, ax = new_figure(2.4)
    step = np.linspace(0, steps, 400)
    ax.plot(step, np.maximum(start * decay**step, end), color=BLUE)
    ax.axhline(end, color=GREY, linestyle="--", linewidth=1)
    ax.set(xlabel="step", ylabel="temperature", ylim=(0, start * 1.05))
    reached = np.log(end / start) / np.log(decay)
    describe(fig, f"The temperature falls from {start} and reaches its floor {end} after {reached:,.0f} steps.")
    return fig, ax


@figure_function
def layer_probe(curves: dict[str, Sequence[Interval]], baseline: Interval | None = None) -> tuple[Figure, Axes]:
    """Accuracy of a linear probe on each layer, with intervals: backbone -> one interval a layer."""
    fig, ax = new_figure(3.2)
    hues = (GREEN, GREY, BLUE, ORANGE)
    parts = []
    for i, (name, scores) in enumerate(curves.items()):
        values = [s.value for s in scores]
        error = bounds(values, [s.low for s in scores], [s.high for s in scores])
        x = np.arange(len(scores)) + 0.1 * (i - (len(curves) - 1) / 2)
        ax.errorbar(x, values, error, label=name, color=hues[i % 4], marker="^os D"[i % 3], capsize=3,
                    linestyle=("-", "--", ":")[i % 3])  # fmt: skip
        best = int(np.argmax(values))
        parts.append(f"{name} is best at layer {best} with {scores[best]}")
    if baseline is not None:
        ax.axhspan(baseline.low, baseline.high, color=LIGHT, alpha=0.6, zorder=0)
        ax.axhline(baseline.value, color=GREY, linewidth=1, label="clip statistics")
    layers = max(len(s) for s in curves.values())
    ax.set_xticks(range(layers), ["input", *map(str, range(1, layers))])
    percent_axis(ax)
    ax.set(xlabel="Transformer layer", ylabel="probe accuracy")
    ax.legend()
    describe(fig, f"Accuracy of a linear probe on each layer, with 95 % intervals: {'; '.join(parts)}.")
    return fig, ax


@figure_function
def attention_distance(distances_s: np.ndarray, everywhere_s: float | None = None) -> tuple[Figure, Axes]:
    """How far each head looks: mean attended distance in seconds, shape (layers, heads).

    `everywhere_s` is the distance of a head that looks at all frames equally; it is drawn as a dashed line.
    """
    distances_s = np.asarray(distances_s)
    fig, ax = new_figure(2.8)
    for layer, row in enumerate(distances_s):
        jitter = np.linspace(-0.12, 0.12, len(row))
        ax.plot(layer + 1 + jitter, row, "o", color=BLUE, markersize=6, alpha=0.8)
        ax.hlines(row.mean(), layer + 0.75, layer + 1.25, color=RED)
    if everywhere_s is not None:
        ax.axhline(everywhere_s, color=GREY, linestyle="--", linewidth=1, label="looking everywhere equally")
        ax.legend(loc="lower right")
    ax.set_xticks(range(1, len(distances_s) + 1))
    top = 1.1 * max(distances_s.max(), everywhere_s or 0)
    ax.set(xlabel="Transformer layer (a dot per head, a line for their mean)", ylabel="distance (s)", ylim=(0, top))
    describe(
        fig,
        f"Mean distance attended to, per head: layer 1 looks {distances_s[0].mean():.2f} seconds away on average, "
        f"layer {len(distances_s)} {distances_s[-1].mean():.2f} seconds.",
    )
    return fig, ax


@figure_function
def layer_weights(weights: np.ndarray) -> tuple[Figure, Axes]:
    """The softmax weights a head gives to each layer's states, shape (layers + 1,)."""
    weights = np.asarray(weights)
    fig, ax = new_figure(2.5)
    ax.bar(range(len(weights)), weights, color=GREEN)
    ax.axhline(1 / len(weights), color=GREY, linestyle="--", linewidth=1, label="equal weights")
    ax.set_xticks(range(len(weights)), ["input", *map(str, range(1, len(weights)))])
    ax.set(xlabel="Transformer layer", ylabel="weight")
    ax.legend()
    best = int(weights.argmax())
    describe(fig, f"Weights of {len(weights)} layers: layer {best} has most, {weights[best]:.2f} of 1.")
    return fig, ax


@figure_function
def architecture(parts: Sequence[tuple[str, str]]) -> tuple[Figure, Axes]:
    """A chain of named boxes with a line below each: (name, what it does), from left to right."""
    fig, ax = new_figure(1.7)
    width = 1 / len(parts)
    for i, (name, text) in enumerate(parts):
        hue = (BLUE, RED, GREEN, ORANGE, GREY)[i % 5]
        ax.add_patch(Rectangle((i * width + 0.01, 0.5), width - 0.035, 0.42, color=hue))
        middle = i * width + (width - 0.015) / 2
        ax.text(middle, 0.71, name, ha="center", va="center", color="white", fontsize=10, weight="bold")
        ax.text(middle, 0.42, text, ha="center", va="top", fontsize=9)
        if i:
            ax.annotate("", (i * width + 0.01, 0.71), (i * width - 0.025, 0.71), arrowprops={"arrowstyle": "->"})
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_axis_off()
    describe(fig, "From left to right: " + "; ".join(f"{n}: {' '.join(t.split())}" for n, t in parts) + ".")
    return fig, ax


@figure_function
def state_drift(drifts: dict[str, Sequence[float]]) -> tuple[Figure, Axes]:
    """How far each layer's states moved, as a share of their spread: model -> one number a layer."""
    fig, ax = new_figure(2.7)
    parts = []
    for i, (name, values) in enumerate(drifts.items()):
        width = 0.8 / len(drifts)
        x = np.arange(len(values)) + (i - (len(drifts) - 1) / 2) * width
        ax.bar(x, values, width * 0.92, color=(RED, GREY, BLUE)[i % 3], label=name)
        far = int(np.argmax(values))
        parts.append(f"{name} moves most at layer {far} ({values[far]:.2f}), least by {min(values):.2f}")
    layers = max(len(v) for v in drifts.values())
    ax.set_xticks(range(layers), ["input", *map(str, range(1, layers))])
    ax.set(xlabel="Transformer layer", ylabel="change / spread")
    if len(drifts) > 1:
        ax.legend()
    describe(fig, f"How far the hidden states of each layer moved: {'; '.join(parts)}.")
    return fig, ax

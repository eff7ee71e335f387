"""Figures of what is inside a network: its parts, receptive fields, filters, masks, codes, evidence."""

from __future__ import annotations

from collections.abc import Sequence

import librosa
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.ndimage import zoom

from genre_utils.plots.audio import draw_mel
from genre_utils.plots.style import BLUE, GREEN, GREY, LIGHT, ORANGE, RED, described, new_figure


def architecture(parts: Sequence[tuple[str, str]]) -> tuple[Figure, Axes]:
    """A chain of up to four named boxes with a line below each: (name, what it does), from left to right."""
    fig, ax = new_figure(1.7)
    width = 1 / len(parts)
    for i, ((name, text), hue) in enumerate(zip(parts, (BLUE, RED, GREEN, ORANGE), strict=False)):
        ax.add_patch(Rectangle((i * width + 0.01, 0.5), width - 0.035, 0.42, color=hue))
        middle = i * width + (width - 0.015) / 2
        ax.text(middle, 0.71, name, ha="center", va="center", color="white", fontsize=10, weight="bold")
        ax.text(middle, 0.42, text, ha="center", va="top", fontsize=9)
        if i:
            ax.annotate("", (i * width + 0.01, 0.71), (i * width - 0.025, 0.71), arrowprops={"arrowstyle": "->"})
    ax.set_axis_off()
    return described(fig, ax, "From left to right: " + "; ".join(f"{n}: {' '.join(t.split())}" for n, t in parts) + ".")


def receptive_field(kernels: Sequence[int], strides: Sequence[int], rate_hz: int = 16_000) -> tuple[Figure, Axes]:
    """How much sound one output of each layer of a 1-D convolutional encoder sees."""
    hops = np.cumprod([1, *strides])
    fields_ms = 1000 * (1 + np.cumsum((np.array(kernels) - 1) * hops[:-1])) / rate_hz
    hops_ms = 1000 * hops[1:] / rate_hz
    names = [f"layer {i}: kernel {k}, stride {s}" for i, (k, s) in enumerate(zip(kernels, strides, strict=True), 1)]
    fig, ax = new_figure(0.42 * len(names) + 1.0)
    bars = ax.barh(names, fields_ms, color=BLUE, height=0.6)
    ax.barh(names, hops_ms, color=ORANGE, height=0.25)
    texts = [f"{field:.3g} ms, every {hop:.3g} ms" for field, hop in zip(fields_ms, hops_ms, strict=True)]
    ax.bar_label(bars, texts, padding=4, fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="time (ms): receptive field (blue), hop (orange)", xlim=(0, 1.75 * fields_ms[-1]))
    return described(fig, ax, f"Receptive field of {len(names)} convolutions: the last layer sees "
                     f"{fields_ms[-1]:.1f} milliseconds of sound and moves on by {hops_ms[-1]:.1f} milliseconds.")


def filter_grid(filters: np.ndarray, title: str) -> tuple[Figure, np.ndarray]:
    """Small 2-D kernels, shape (n, height, width), eight to a row, on one symmetric colour scale."""
    rows = -(-len(filters) // 8)
    fig, axes = new_figure(0.75 * rows + 0.5, rows=rows, columns=8, squeeze=False)
    limit = np.abs(filters).max()
    for ax, kernel in zip(axes.flat, filters, strict=True):
        image = ax.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit, origin="lower")
        ax.set_axis_off()
    fig.colorbar(image, ax=axes, label="weight", shrink=0.9)
    fig.suptitle(title, fontsize=11)
    height, width = filters.shape[1:]
    told = f"{len(filters)} learned filters of {height} by {width} weights {title}"
    return described(fig, axes, f"{told}, the largest {limit:.2f}.")


def class_activation(mel: np.ndarray, activation: np.ndarray, rate_hz: int, genre: str) -> tuple[Figure, np.ndarray]:
    """Where the evidence for a genre lies: activation (any smaller shape) over the mel-spectrogram."""
    fig, axes = new_figure(2.9, columns=2, sharey=True)
    for ax, title in zip(axes, ("mel-spectrogram", f"evidence for {genre}"), strict=True):
        draw_mel(ax, mel, rate_hz, cmap="gray")
        ax.set_title(title)
        ax.label_outer()
    fine = zoom(activation, np.divide(mel.shape, activation.shape), order=1, mode="nearest", grid_mode=True)
    overlay = draw_mel(axes[1], fine, rate_hz, alpha=0.6)
    axes[1].set_ylabel("")
    fig.colorbar(overlay, ax=axes, label="activation", shrink=0.9)
    when_s = fine.sum(axis=0).argmax() * 512 / rate_hz
    return described(fig, axes, f"Mel-spectrogram and, over it, the evidence for {genre}, strongest at {when_s:.1f} s.")


def first_layer_filters(filters: np.ndarray, rate_hz: int = 16_000) -> tuple[Figure, np.ndarray]:
    """The learned filters of the first layer, shape (n, kernel): six as waveforms, all as frequency responses."""
    n, kernel = filters.shape
    response = np.abs(np.fft.rfft(filters, 512, axis=1))
    peaks = np.fft.rfftfreq(512, 1 / rate_hz)[response.argmax(axis=1)]
    order = np.argsort(peaks)
    picks = order[np.linspace(0, n - 1, 6).astype(int)]
    fig, axes = new_figure(3.4, columns=2, width_ratios=(2, 3))
    for row, pick in enumerate(picks):
        scaled = 0.42 * filters[pick] / np.abs(filters[pick]).max()
        axes[0].plot(1000 * np.arange(kernel) / rate_hz, row + scaled, color=BLUE)
    axes[0].set_yticks(range(6), [f"{peaks[pick]:.0f} Hz" for pick in picks])
    axes[0].set(xlabel="time (ms)", title="6 filters")
    image_db = librosa.amplitude_to_db(response[order].T, ref=np.max)
    axes[1].imshow(image_db, origin="lower", aspect="auto", extent=(0, n, 0, rate_hz / 2), vmin=-40, vmax=0)
    mel_hz = librosa.mel_frequencies(n_mels=n + 2, fmax=rate_hz / 2)[1:-1]
    axes[1].plot(np.linspace(0, n, n), mel_hz, color="white", linestyle="--", label="mel bands")
    axes[1].legend(labelcolor="white", loc="upper left")
    axes[1].set(xlabel="filter, sorted by peak", ylabel="frequency (Hz)", title="frequency response")
    return described(fig, axes, f"{n} learned filters of {1000 * kernel / rate_hz:.2f} milliseconds: half of them "
                     f"peak below {np.median(peaks):.0f} hertz; a dashed line shows where mel bands would lie.")


def masked_mel(mel: np.ndarray, rate_hz: int, hop_length: int, mask: np.ndarray) -> tuple[Figure, np.ndarray]:
    """Masked latent frames, bool shape (frames,), over the mel-spectrogram (bands, frames) of their sound."""
    fig, axes = new_figure(4.4, rows=2, sharex=True)
    for ax, title in zip(axes, ("the sound", "what the Transformer is given of it"), strict=True):
        draw_mel(ax, mel, rate_hz, hop_length)
        ax.set_title(title)
        ax.label_outer()
    frame_s = hop_length / rate_hz
    stretches = np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)
    for start, end in stretches:
        axes[1].axvspan(start * frame_s, end * frame_s, facecolor=LIGHT, edgecolor=GREY, hatch="//", linewidth=0)
    axes[1].set_xlim(0, mel.shape[1] * frame_s)
    return described(fig, axes, f"Mel-spectrogram of {mel.shape[1] * frame_s:.1f} seconds, and the same with "
                     f"{len(stretches)} hatched stretches that hide {100 * mask.mean():.0f} % of {len(mask)} latent "
                     "frames.")  # fmt: skip


def codebook_usage(counts: np.ndarray) -> tuple[Figure, Axes]:
    """How often each code is chosen: counts, shape (codebooks, codes), as one row a codebook."""
    share = counts / counts.sum(axis=1, keepdims=True)
    codes = counts.shape[1]
    told = []
    for number, p in enumerate(share, 1):
        p = p[p > 0]
        told.append(f"codebook {number}: {len(p)} of {codes} used, perplexity {np.exp(-(p * np.log(p)).sum()):.0f}")
    fig, ax = new_figure(0.5 * len(share) + 1.0)
    sns.heatmap(100 * share, cmap="viridis", vmin=0, xticklabels=False, cbar_kws={"label": "share (%)"}, ax=ax)
    ax.set_yticklabels(range(1, len(share) + 1), rotation=0)
    ax.set(xlabel="codes", ylabel="codebook", title="\n".join(told))
    return described(fig, ax, f"How often each code is chosen, {'; '.join(told)}.")

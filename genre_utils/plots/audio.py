"""Figures of sound and of features: waveforms, mel-spectrograms, spectra, filters, scores along time, statistics, maps."""
# ruff: noqa: I001 (several names a line)

from __future__ import annotations

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.signal import welch

from genre_utils.features import MelSettings, mel_db
from genre_utils.plots.style import (
    BLUE, GENRE_COLOURS, GENRE_MARKERS, GREY, ORANGE, RED, SEQUENTIAL, described, new_figure, say,
)  # fmt: skip
from genre_utils.profiles import GENRES


def draw_mel(ax: Axes, mel: np.ndarray, rate_hz: int, hop_length: int = 512, **options):
    """A mel-spectrogram (bands, frames) with seconds and hertz on its axes; returns the image."""
    options = {"y_axis": "mel", "fmax": rate_hz / 2, "cmap": SEQUENTIAL, "rasterized": True} | options
    image = librosa.display.specshow(mel, sr=rate_hz, hop_length=hop_length, x_axis="s", ax=ax, **options)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set(xlabel=say("time"), ylabel=say("frequency"))
    return image


def _mel_db(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    return mel_db(np.asarray(wave, dtype=np.float32), MelSettings(rate_hz=rate_hz))


def waveform_and_mel(sounds: Mapping[str, np.ndarray], rate_hz: int) -> tuple[Figure, np.ndarray]:
    """Each wave above its mel-spectrogram, on one time axis; several waves stand side by side: name -> (n,)."""
    shared = {"sharex": True, "sharey": "row", "squeeze": False}
    fig, axes = new_figure(4.2, rows=2, columns=len(sounds), height_ratios=(1, 2), **shared)
    for (name, wave), (upper, lower) in zip(sounds.items(), axes.T, strict=True):
        librosa.display.waveshow(np.asarray(wave), sr=rate_hz, ax=upper, axis="s", color=BLUE)
        for artist in (*upper.lines, *upper.collections):
            artist.set_rasterized(True)
        upper.set(xlabel="", ylabel=say("amplitude"), title=name)
        draw_mel(lower, _mel_db(wave, rate_hz), rate_hz)
        lower.set_xlim(0, len(wave) / rate_hz)
    for ax in axes.flat:
        ax.label_outer()
    seconds = max(len(wave) for wave in sounds.values()) / rate_hz
    alt = say("alt_waveform_and_mel", names=say("beside").join(sounds), seconds=seconds, top_hz=rate_hz // 2)
    return described(fig, axes, alt)


def mel_filters(bank: np.ndarray, rate_hz: int) -> tuple[Figure, Axes]:
    """Every eighth filter of a mel filter bank, shape (bands, bins), over frequency, each scaled to 1."""
    hz = np.linspace(0, rate_hz / 2, bank.shape[1])
    fig, ax = new_figure(2.3)
    shown = bank[4::8]
    for i, row in enumerate(shown):
        ax.plot(hz, row / row.max(), color=(BLUE, ORANGE)[i % 2], linewidth=1.2)
    ax.set(xlabel=say("frequency"), ylabel=say("weight"), xlim=(0, rate_hz / 2), ylim=(0, 1.05))
    widths = [np.ptp(hz[row > 0]) for row in shown]
    alt = say("alt_mel_filters", shown=len(shown), n=len(bank), lowest_hz=widths[0], highest_hz=widths[-1])
    return described(fig, ax, alt)


def mel_gallery(
    mels: Mapping[str, np.ndarray], rate_hz: int, hop_length: int = 512, columns: int = 2
) -> tuple[Figure, np.ndarray]:
    """Mel-spectrograms, or other maps of that shape, side by side: name -> (bands, frames)."""
    rows = -(-len(mels) // columns)
    fig, axes = new_figure(max(2.8, 1.2 * rows + 0.6), rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(mels) :]:
        ax.set_visible(False)
    for ax, (name, mel) in zip(axes.flat, mels.items(), strict=False):
        draw_mel(ax, mel, rate_hz, hop_length, shading="gouraud")  # smooth
        ax.set_title(name, fontsize=10, pad=2)
        ax.set(xlabel="", ylabel="")
        if rows > 2:
            ax.set_yticks([256, 1024, 4096])
    fig.supxlabel(say("time"), fontsize=10)
    fig.supylabel(say("frequency"), fontsize=10)
    seconds = max(mel.shape[1] for mel in mels.values()) * hop_length / rate_hz
    return described(fig, axes, say("alt_mel_gallery", seconds=seconds, top_hz=rate_hz // 2, names=", ".join(mels)))


def spectra(waves: Mapping[str, tuple[np.ndarray, int]]) -> tuple[Figure, Axes]:
    """Average spectra of up to three waves on one hertz axis, name -> (wave, rate_hz); dotted: the lowest's end."""
    fig, ax = new_figure(3.0)
    for (name, (wave, rate_hz)), hue, dash in zip(waves.items(), (BLUE, RED, ORANGE), ("-", "--", ":"), strict=False):
        hz, power = welch(wave, rate_hz, nperseg=min(2048, len(wave)))
        ax.plot(hz, 10 * np.log10(power + 1e-12), label=name, color=hue, linestyle=dash)
    lowest = min(waves, key=lambda name: waves[name][1])
    ends_hz = waves[lowest][1] / 2
    ax.axvline(ends_hz, color=GREY, linewidth=1, linestyle=":")
    ax.annotate(say("ends_here", name=lowest), (ends_hz, 0.98), xycoords=("data", "axes fraction"), va="top", fontsize=9)
    ax.set(xlabel=say("frequency"), ylabel=say("level"), xlim=(0, None))
    ax.legend()
    limits = ", ".join(say("spectrum_up_to", name=name, top_hz=rate_hz // 2) for name, (_, rate_hz) in waves.items())
    return described(fig, ax, say("alt_spectra", limits=limits))


def statistics_by_genre(values: np.ndarray, genres: Sequence[str], name: str, unit: str) -> tuple[Figure, Axes]:
    """One feature, shape (n,), as a violin for each genre with every clip as a dot."""
    values, genres = np.asarray(values), np.asarray(genres)
    present = [g for g in GENRES if (genres == g).any()]
    fig, ax = new_figure(3.6)
    shared = {"x": values, "y": genres, "hue": genres, "order": present, "palette": GENRE_COLOURS, "legend": False}
    sns.violinplot(**shared, cut=0, inner=None, linewidth=0, alpha=0.35, density_norm="width", ax=ax)
    sns.stripplot(**shared, size=2.5, jitter=0.2, rasterized=True, ax=ax)
    ax.set(xlabel=say("feature", name=name, unit=unit), ylabel="")
    medians = {g: np.median(values[genres == g]) for g in present}
    least, most = min(medians, key=medians.get), max(medians, key=medians.get)
    found = {"least": least, "lowest": medians[least], "most": most, "highest": medians[most]}
    return described(fig, ax, say("alt_statistics_by_genre", name=name, unit=unit, **found))


def feature_map(points: np.ndarray, genres: Sequence[str], title: str = "") -> tuple[Figure, Axes]:
    """Clips as points, shape (n, 2), coloured and shaped by genre: PCA of statistics or of embeddings."""
    fig, ax = new_figure(4.4)
    present = [g for g in GENRES if g in set(genres)]
    x, y = np.asarray(points).T
    sns.scatterplot(
        x=x, y=y, hue=genres, style=genres, hue_order=present, style_order=present, palette=GENRE_COLOURS,
        markers=GENRE_MARKERS, s=25, alpha=0.8, linewidth=0.2, rasterized=True, ax=ax,
    )  # fmt: skip
    ax.set(xlabel=say("component_1"), ylabel=say("component_2"), title=title)
    ax.get_legend().remove()
    fig.legend(loc="outside lower center", ncols=5, handletextpad=0.1, columnspacing=0.8)
    return described(fig, ax, say("alt_feature_map", title=title or say("map"), n=len(x), names=", ".join(present)))


def scores_over_time(
    wave: np.ndarray, rate_hz: int, probabilities: np.ndarray, times_s: np.ndarray, genres: Sequence[str] = GENRES,
    truth: str = "",
) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """The mel-spectrogram of `wave` above the class scores along it, on one time axis.

    Parameters
    ----------
    wave : ndarray, shape (n,)
    probabilities : ndarray, shape (m, k)
        Class probabilities of m windows of `wave`. The four genres of highest mean score are drawn, and `truth`.
    times_s : ndarray, shape (m,)
        Middles of the windows, in seconds from the beginning of `wave`.
    """
    fig, axes = new_figure(3.9, rows=2, sharex=True, height_ratios=(4, 3))
    draw_mel(axes[0], _mel_db(wave, rate_hz), rate_hz)
    axes[0].set_xlabel("")
    mean = probabilities.mean(axis=0)
    shown = [genres[i] for i in np.argsort(-mean)[:4]]
    if truth and truth not in shown:
        shown[-1] = truth
    for genre in shown:
        name, wide = (say("label", genre=genre), 2.8) if genre == truth else (genre, 1.5)
        axes[1].plot(times_s, probabilities[:, list(genres).index(genre)], label=name, linewidth=wide, markersize=4,
                     color=GENRE_COLOURS.get(genre, GREY), marker=GENRE_MARKERS.get(genre, "o"))  # fmt: skip
    seconds = len(wave) / rate_hz
    axes[1].set(xlabel=say("time"), ylabel=say("score"), ylim=(0, 1.02), xlim=(0, seconds))
    fig.legend(loc="outside upper center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    found = {"seconds": seconds, "top_hz": rate_hz // 2, "genre": genres[int(mean.argmax())], "score": mean.max()}
    return described(fig, axes, say("alt_scores_labelled" if truth else "alt_scores", truth=truth, **found))


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
    axes[0].set_yticks(range(6), [say("hertz", hz=peaks[pick]) for pick in picks])
    axes[0].set(xlabel=say("time_ms"), title=say("n_filters", n=len(picks)))
    image_db = librosa.amplitude_to_db(response[order].T, ref=np.max)
    axes[1].imshow(image_db, origin="lower", aspect="auto", extent=(0, n, 0, rate_hz / 2), vmin=-40, vmax=0)
    mel_hz = librosa.mel_frequencies(n_mels=n + 2, fmax=rate_hz / 2)[1:-1]
    axes[1].plot(np.linspace(0, n, n), mel_hz, color="white", linestyle="--", label=say("mel_bands"))
    axes[1].legend(labelcolor="white", loc="upper left", frameon=True, facecolor="0.15", framealpha=0.8, edgecolor="none")
    axes[1].set(xlabel=say("sorted_filters"), ylabel=say("frequency"), title=say("frequency_response"))
    return described(fig, axes, say("alt_first_layer_filters", n=n, ms=1000 * kernel / rate_hz, hz=np.median(peaks)))

"""Figures of sound and of features: waveforms, mel-spectrograms, spectra, clip statistics, maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genre_utils.plots.style import (
    BLUE,
    GENRE_COLOURS,
    GENRE_MARKERS,
    GREY,
    ORANGE,
    RED,
    colour,
    describe,
    figure_function,
    new_figure,
)
from genre_utils.profiles import GENRES

_HZ_TICKS = (64, 256, 512, 1024, 2048, 4096, 8192)


def draw_wave(ax: Axes, wave: np.ndarray, rate_hz: int, colour: str = BLUE, start_s: float = 0.0) -> None:
    """A wave against seconds: as a line if short, else as the envelope of its extremes."""
    wave = np.asarray(wave)
    hop = max(1, len(wave) // 1500)
    if hop < 4:
        ax.plot(start_s + np.arange(len(wave)) / rate_hz, wave, color=colour, linewidth=0.8)
    else:
        blocks = wave[: len(wave) // hop * hop].reshape(-1, hop)
        time_s = start_s + (np.arange(len(blocks)) + 0.5) * hop / rate_hz
        ax.fill_between(time_s, blocks.min(axis=1), blocks.max(axis=1), color=colour, linewidth=0.4)
    ax.set_xlim(start_s, start_s + len(wave) / rate_hz)
    ax.set_ylabel("amplitude")
    ax.set_xlabel("time (s)")


def draw_mel(ax: Axes, mel: np.ndarray, rate_hz: int, hop_length: int = 512, **options):
    """A mel-spectrogram (bands, frames) with seconds and hertz on its axes; returns the image."""
    bands, frames = mel.shape
    options = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"} | options
    image = ax.imshow(mel, extent=(0, frames * hop_length / rate_hz, 0, bands), **options)
    mark_hz(ax, bands, rate_hz)
    ax.set_xlabel("time (s)")
    return image


def mark_hz(ax: Axes, bands: int, rate_hz: int, ticks_hz: Sequence[int] = _HZ_TICKS) -> None:
    """Label a mel-band axis in hertz (librosa's Slaney scale from 0 to half the rate)."""
    centres = librosa.mel_frequencies(n_mels=bands, fmin=0, fmax=rate_hz / 2)
    shown = [hz for hz in ticks_hz if centres[0] <= hz <= centres[-1]]
    # Thin out the ticks where they would touch.
    positions = np.interp(shown, centres, np.arange(bands) + 0.5)
    kept = [0]
    for i in range(1, len(shown)):
        if positions[i] - positions[kept[-1]] > bands * 0.1:
            kept.append(i)
    ax.set_yticks(positions[kept], [str(shown[i]) for i in kept])
    ax.set_ylabel("frequency (Hz)")


def _mel_db(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    from genre_utils.features import MelSettings, mel_db

    return mel_db(np.asarray(wave, dtype=np.float32), MelSettings(rate_hz=rate_hz))


@figure_function
def waveform(wave: np.ndarray, rate_hz: int, title: str = "") -> tuple[Figure, Axes]:
    """A wave, shape (n,), against time in seconds."""
    fig, ax = new_figure(2.2)
    draw_wave(ax, wave, rate_hz)
    ax.set_title(title)
    describe(fig, f"Waveform {title}: amplitude over {len(wave) / rate_hz:.1f} seconds, peak {np.abs(wave).max():.2f}.")
    return fig, ax


@figure_function
def mel_spectrogram(
    mel: np.ndarray, rate_hz: int, hop_length: int = 512, title: str = "", unit: str = "dB"
) -> tuple[Figure, Axes]:
    """A mel-spectrogram, shape (bands, frames), in seconds and hertz; `unit` names its values."""
    fig, ax = new_figure(2.9)
    image = draw_mel(ax, mel, rate_hz, hop_length)
    fig.colorbar(image, ax=ax, label=unit, pad=0.02)
    ax.set_title(title)
    loudest = librosa.mel_frequencies(n_mels=len(mel), fmin=0, fmax=rate_hz / 2)[mel.mean(axis=1).argmax()]
    seconds = mel.shape[1] * hop_length / rate_hz
    describe(
        fig,
        f"Mel-spectrogram {title}: {len(mel)} bands from 0 to {rate_hz // 2} hertz over {seconds:.1f} seconds, "
        f"strongest on average near {loudest:.0f} hertz.",
    )
    return fig, ax


@figure_function
def waveform_and_mel(
    wave: np.ndarray, rate_hz: int, mel: np.ndarray | None = None, hop_length: int = 512, title: str = ""
) -> tuple[Figure, np.ndarray]:
    """A wave above its mel-spectrogram (computed here unless given), on one time axis."""
    mel = _mel_db(wave, rate_hz) if mel is None else mel
    fig, axes = new_figure(4.2, rows=2, sharex=True, height_ratios=(1, 2))
    draw_wave(axes[0], wave, rate_hz)
    axes[0].set_xlabel("")
    draw_mel(axes[1], mel, rate_hz, hop_length)
    axes[1].set_xlim(0, len(wave) / rate_hz)
    axes[0].set_title(title)
    describe(
        fig,
        f"Waveform of {title or 'one clip'} over {len(wave) / rate_hz:.1f} seconds, and below it its "
        f"mel-spectrogram from 0 to {rate_hz // 2} hertz.",
    )
    return fig, axes


@figure_function
def mel_filters(bank: np.ndarray, rate_hz: int, every: int = 8) -> tuple[Figure, Axes]:
    """Every `every`-th filter of a mel filter bank, shape (bands, bins), over frequency, each scaled to 1."""
    bank = np.asarray(bank)
    hz = np.linspace(0, rate_hz / 2, bank.shape[1])
    fig, ax = new_figure(2.3)
    shown = bank[every // 2 :: every]
    for i, row in enumerate(shown):
        ax.plot(hz, row / max(row.max(), 1e-12), color=(BLUE, ORANGE)[i % 2], linewidth=1.2)
    ax.set(xlabel="frequency (Hz)", ylabel="weight (scaled)", xlim=(0, rate_hz / 2), ylim=(0, 1.05))
    widths = [hz[np.flatnonzero(row)].max() - hz[np.flatnonzero(row)].min() for row in (shown[0], shown[-1])]
    describe(
        fig,
        f"{len(shown)} of {len(bank)} triangular mel filters: the lowest shown is about {widths[0]:.0f} hertz wide, "
        f"the highest {widths[1]:.0f} hertz.",
    )
    return fig, ax


@figure_function
def genre_gallery(
    mels: Mapping[str, np.ndarray], rate_hz: int, hop_length: int = 512, seconds: float = 5.0
) -> tuple[Figure, np.ndarray]:
    """A small mel-spectrogram for each genre, on common scales: genre -> (bands, frames)."""
    rows = -(-len(mels) // 2)
    fig, axes = new_figure(1.25 * rows + 0.6, rows=rows, columns=2, sharex=True, sharey=True, squeeze=False)
    frames = round(seconds * rate_hz / hop_length)
    low, high = (np.nanpercentile(np.concatenate([m.ravel() for m in mels.values()]), q) for q in (5, 99.5))
    for ax, (genre, mel) in zip(axes.flat, mels.items(), strict=False):
        # Two by two values in one: at this size the eye does it anyway, and the picture is a third as large.
        bands, length = len(mel) // 2, min(frames, mel.shape[1]) // 2
        pooled = mel[: 2 * bands, : 2 * length].reshape(bands, 2, length, 2).mean(axis=(1, 3))
        draw_mel(ax, pooled, rate_hz, 2 * hop_length, vmin=low, vmax=high, interpolation="bilinear")
        mark_hz(ax, bands, rate_hz, (256, 1024, 4096))
        ax.set_title(genre, fontsize=10, pad=2)
        ax.set(xlabel="", ylabel="")
    for ax in axes.flat[len(mels) :]:
        ax.set_visible(False)
    fig.supxlabel("time (s)", fontsize=10)
    fig.supylabel("frequency (Hz)", fontsize=10)
    describe(
        fig,
        f"Mel-spectrograms of {seconds:g} seconds from one clip of each genre, side by side: {', '.join(mels)}.",
    )
    return fig, axes


@figure_function
def spectra(
    waves: Mapping[str, tuple[np.ndarray, int]], marks_hz: Mapping[str, float] | None = None, title: str = ""
) -> tuple[Figure, Axes]:
    """Average spectra of several waves on one hertz axis: name -> (wave, rate_hz).

    `marks_hz` draws named vertical lines, such as the limit of a 16 kHz recording at 8 000 Hz.
    """
    from scipy.signal import welch

    fig, ax = new_figure(3.0)
    dashes = ("-", "--", ":", "-.")
    for i, (name, (wave, rate_hz)) in enumerate(waves.items()):
        hz, power = welch(wave, rate_hz, nperseg=min(4096, len(wave)))
        level_db = 10 * np.log10(power + 1e-12)
        ax.plot(hz, level_db, label=name, color=(BLUE, RED, ORANGE, GREY)[i % 4], linestyle=dashes[i % 4])
    for name, hz in (marks_hz or {}).items():
        ax.axvline(hz, color=GREY, linewidth=1, linestyle=":")
        ax.annotate(name, (hz, 0.98), xycoords=("data", "axes fraction"), ha="right", va="top", rotation=90, fontsize=9)
    ax.set(xlabel="frequency (Hz)", ylabel="level (dB)", title=title, xlim=(0, None))
    ax.legend(loc="best")
    limits = ", ".join(f"{name} up to {rate_hz // 2} hertz" for name, (_, rate_hz) in waves.items())
    describe(fig, f"Average spectra {title}: {limits}.")
    return fig, ax


@figure_function
def wrong_rate(wave: np.ndarray, rate_hz: int = 22_050, assumed_hz: int = 16_000, seconds: float = 2.0):
    """What a model hears that is told the wrong rate: the same samples, slower and lower.

    Returns (fig, axes): left as recorded, right as understood.
    """
    excerpt = np.asarray(wave)[: int(seconds * rate_hz)]
    fig, axes = new_figure(3.0, columns=2, sharey=True)
    stretched_s = len(excerpt) / assumed_hz
    for ax, rate, name in zip(axes, (rate_hz, assumed_hz), ("as recorded", "as the model takes it"), strict=True):
        spectrum = librosa.power_to_db(np.abs(librosa.stft(excerpt, n_fft=1024, hop_length=256)) ** 2, ref=np.max)
        ax.imshow(
            spectrum, origin="lower", aspect="auto", extent=(0, len(excerpt) / rate, 0, rate / 2), vmin=-70, vmax=0
        )
        ax.set(xlim=(0, stretched_s), ylim=(0, rate_hz / 2), xlabel="time (s)", title=f"{name}: {rate} Hz")
    axes[0].set_ylabel("frequency (Hz)")
    factor = rate_hz / assumed_hz
    describe(
        fig,
        f"The same samples read at {rate_hz} and at {assumed_hz} hertz: at the wrong rate {seconds:.1f} seconds "
        f"last {stretched_s:.1f} seconds and every frequency is {factor:.2f} times lower.",
    )
    return fig, axes


@figure_function
def statistics_by_genre(
    values: np.ndarray, genres: Sequence[str], name: str, unit: str = "", order: Sequence[str] = GENRES
) -> tuple[Figure, Axes]:
    """One feature, shape (n,), as a violin for each genre with every clip as a dot."""
    import seaborn as sns

    values, genres = np.asarray(values), np.asarray(genres)
    present = [g for g in order if (genres == g).any()]
    fig, ax = new_figure(3.6)
    palette = {g: GENRE_COLOURS.get(g, GREY) for g in present}
    sns.violinplot(
        x=values, y=genres, hue=genres, order=present, hue_order=present, palette=palette, ax=ax, cut=0,
        inner=None, linewidth=0, alpha=0.35, legend=False, density_norm="width",
    )  # fmt: skip
    sns.stripplot(
        x=values, y=genres, hue=genres, order=present, hue_order=present, palette=palette, ax=ax, size=2.5,
        jitter=0.2, legend=False,
    )  # fmt: skip
    ax.set(xlabel=f"{name} ({unit})" if unit else name, ylabel="")
    medians = {g: np.median(values[genres == g]) for g in present}
    least, most = min(medians, key=medians.get), max(medians, key=medians.get)
    describe(
        fig,
        f"Distribution of {name} by genre: the median is lowest for {least} ({medians[least]:.3g} {unit}) and "
        f"highest for {most} ({medians[most]:.3g} {unit}).",
    )
    return fig, ax


@figure_function
def feature_map(
    points: np.ndarray, genres: Sequence[str], names: tuple[str, str] = ("component 1", "component 2"), title: str = ""
) -> tuple[Figure, Axes]:
    """Clips as points, shape (n, 2), coloured and shaped by genre: PCA of statistics or of embeddings."""
    points, genres = np.asarray(points), np.asarray(genres)
    fig, ax = new_figure(4.4)
    present = [g for g in dict.fromkeys([*GENRES, *genres]) if (genres == g).any()]
    for genre in present:
        x, y = points[genres == genre].T
        marker = GENRE_MARKERS.get(genre, "o")
        ax.scatter(x, y, s=22, color=colour(genre), marker=marker, label=genre, alpha=0.8, linewidths=0.3)
    ax.set(xlabel=names[0], ylabel=names[1], title=title)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)
    describe(
        fig, f"Map {title} of {len(points)} clips in two dimensions, coloured by genre ({', '.join(present)})."
    )
    return fig, ax


def _draw_scores(
    ax: Axes, probabilities: np.ndarray, times_s: np.ndarray, genres: Sequence[str], truth: str, top: int
) -> str:
    """Lines of the `top` genres of highest mean score and of the true one; returns a sentence about them."""
    mean = probabilities.mean(axis=0)
    shown = [genres[i] for i in np.argsort(-mean)[:top]]
    if truth and truth not in shown:
        shown[-1] = truth
    for genre in shown:
        wide = 2.8 if genre == truth else 1.5
        name = f"{genre} (label)" if genre == truth else genre
        line = probabilities[:, list(genres).index(genre)]
        marker = GENRE_MARKERS.get(genre, "o")
        ax.plot(times_s, line, label=name, color=colour(genre), linewidth=wide, marker=marker, markersize=4)
    ax.set(xlabel="time (s)", ylabel="score", ylim=(0, 1.02))
    winner = genres[int(mean.argmax())]
    return f"{winner} has the highest mean score, {mean.max():.2f}" + (f"; it is labelled {truth}." if truth else ".")


@figure_function
def scores_over_time(
    probabilities: np.ndarray, times_s: np.ndarray, genres: Sequence[str] = GENRES, truth: str = "", top: int = 4
) -> tuple[Figure, Axes]:
    """Class scores along a clip: probabilities (windows, genres) at the windows' middles, in seconds.

    The `top` genres of highest mean score are drawn, and the true one.
    """
    fig, ax = new_figure(2.9)
    sentence = _draw_scores(ax, probabilities, times_s, genres, truth, top)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    describe(fig, f"Class scores along the clip: {sentence}")
    return fig, ax


@figure_function
def mel_and_scores(
    wave: np.ndarray, rate_hz: int, probabilities: np.ndarray, times_s: np.ndarray, genres: Sequence[str] = GENRES,
    truth: str = "", top: int = 4,
) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """The mel-spectrogram of `wave` above the class scores along it, on one time axis.

    `probabilities` and the rest are those of :func:`scores_over_time`; time 0 is the first sample of `wave`.
    """
    fig, axes = new_figure(3.9, rows=2, sharex=True, height_ratios=(4, 3))
    draw_mel(axes[0], _mel_db(wave, rate_hz), rate_hz, interpolation="bilinear")  # compresses better
    axes[0].set_xlabel("")
    sentence = _draw_scores(axes[1], probabilities, np.asarray(times_s), genres, truth, top)
    axes[1].set_xlim(0, len(wave) / rate_hz)
    fig.legend(loc="outside upper center", ncols=top, handletextpad=0.4, columnspacing=1.2)
    describe(
        fig,
        f"Mel-spectrogram of {len(wave) / rate_hz:.1f} seconds from 0 to {rate_hz // 2} hertz, and below it, on the "
        f"same time axis, the class scores: {sentence}",
    )
    return fig, axes

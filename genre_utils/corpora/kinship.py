"""Second excerpts of one recording: they share no sample, but tempo, pattern, key, instruments and sound."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

#: Two clips may be excerpts of one recording if :attr:`Kin.score` reaches this.
KINDRED = 0.23
#: Clips that fit each other this many times better than each fits its own repeats play the same passage twice:
#: a second take, or another piece over the same backing. A further excerpt goes on where the first one ends.
SECOND_TAKE = 2.5
#: Periods that are compared: long ones, at which a small difference of tempo shows; shares of a short clip.
_PERIODS_S, _PERIODS = (4.0, 8.0), (0.4, 0.8)
_BANDS = 16


@dataclass(frozen=True)
class Kin:
    """Two clips that may be different excerpts of one recording.

    Attributes
    ----------
    rhythm : float
        Cosine of their :func:`periodicities`.
    pitch : float
        Agreement of the mean level of each semitone.
    motion : float
        Agreement of how much each semitone varies.
    likeness : float
        Cosine of their embeddings.
    repeat : float
        How well they fit each other at the best alignment, divided by how well each fits itself a little later.
    """

    first: str
    second: str
    rhythm: float
    pitch: float
    motion: float
    likeness: float
    repeat: float

    @property
    def parts(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("rhythm", "pitch", "motion", "likeness", "repeat")}

    @property
    def score(self) -> float:
        """The product of the five, none counted above 1; 0 for a :data:`SECOND_TAKE`."""
        return float(_scores(np.array(list(self.parts.values()))))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.2f}" for name, value in self.parts.items())


def _scores(parts: np.ndarray) -> np.ndarray:
    """:attr:`Kin.score` of parts (5, any shape), in the order of :attr:`Kin.parts`."""
    return np.prod(np.clip(parts, 0, 1), axis=0) * (parts[-1] < SECOND_TAKE)


def periodicities(mel: np.ndarray, frame_s: float) -> np.ndarray:
    """At which periods the sound begins anew: rows (n, k) whose cosines compare tempo and pattern.

    The autocorrelation of the rises of level in 16 bands. It does not matter where in the bar a clip begins.

    Parameters
    ----------
    mel : ndarray, shape (n, 128, T)
        Mel-spectrograms in decibels, on any linear scale.
    frame_s : float
        Seconds from frame to frame.
    """
    from scipy import fft

    n, bands, frames = mel.shape
    rises = np.maximum(0, np.diff(mel, axis=2)).reshape(n, _BANDS, bands // _BANDS, frames - 1).mean(axis=2)
    rises -= rises.mean(axis=2, keepdims=True)
    power = np.abs(fft.rfft(rises, 2 * frames, axis=2, workers=os.cpu_count())) ** 2
    again = fft.irfft(power, 2 * frames, axis=2, workers=os.cpu_count())[:, :, : frames - 1]
    again /= (1 - np.arange(frames - 1) / frames) * (again[:, :, :1] + 1e-12)
    low, high = (
        min(seconds, share * frames * frame_s)
        for seconds, share in zip(_PERIODS_S, _PERIODS, strict=True)
    )
    rows = again[:, :, round(low / frame_s) : round(high / frame_s)]
    return (rows - rows.mean(axis=2, keepdims=True)).reshape(n, -1)


def repeats(prints: np.ndarray, frame_s: float, shortest_overlap: float) -> np.ndarray:
    """How well each clip's fingerprint (n, bands, T) fits itself at least a second later: (n,), on the scale of
    :func:`genre_utils.corpora.audit.match_all`."""
    from scipy import fft

    frames = prints.shape[2]
    length = fft.next_fast_len(2 * frames, real=True)
    spectra = fft.rfft(prints, length, axis=2, workers=os.cpu_count())[:, :, : length // 4]
    again = fft.irfft((np.abs(spectra) ** 2).sum(axis=1), length, axis=1)[:, :frames]
    again /= (again[:, :1] + 1e-9) * np.sqrt(1 - np.arange(frames) / frames)
    return again[:, round(1 / frame_s) : round((1 - shortest_overlap) * frames)].max(axis=1)


def find_kin(
    ids: list[str],
    *,
    periods: np.ndarray,
    semitones: np.ndarray,
    sounds: np.ndarray,
    match: np.ndarray,
    own: np.ndarray,
    copies: set[frozenset[str]],
) -> list[Kin]:
    """Pairs of clips whose score reaches :data:`KINDRED`, the most alike first, without the `copies`.

    Parameters
    ----------
    periods, sounds : ndarray, shape (n, any)
        :func:`periodicities` and embeddings.
    semitones : ndarray, shape (n, 2, pitches)
        Mean and deviation of each semitone's level, see :func:`genre_utils.features.semitones`.
    match, own : ndarray, shapes (n, n) and (n,)
        Agreement of fingerprints between clips (upper triangle), and of each clip with itself later.
    """
    from scipy.ndimage import uniform_filter1d

    level, change = semitones[:, 0], semitones[:, 1]
    level = level - uniform_filter1d(level, 13, axis=1)  # without the tone control: an octave's average
    parts = {
        "rhythm": cosines(periods),
        "pitch": np.corrcoef(level),
        "motion": np.corrcoef(change - change.mean(axis=0)),
        "likeness": cosines(sounds),
        "repeat": match / np.sqrt(np.outer(own, own) + 1e-9),
    }
    found = [
        Kin(ids[i], ids[j], **{name: float(part[i, j]) for name, part in parts.items()})
        for i, j in np.argwhere(np.triu(_scores(np.array(list(parts.values()))), 1) >= KINDRED)
        if frozenset((ids[i], ids[j])) not in copies
    ]
    return sorted(found, key=lambda kin: (-kin.score, kin.first, kin.second))


def cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines (n, n) of rows (n, any)."""
    unit = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)
    return unit @ unit.T

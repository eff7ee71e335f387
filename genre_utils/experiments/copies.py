"""Find copies among clips: fingerprints of all pairs at all time shifts, then a comparison sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft, signal
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from genre_utils.audio import file_sha256, load_audio
from genre_utils.corpora import Corpus
from genre_utils.device import cores
from genre_utils.features import MEL, fit_length

#: Pairs whose fingerprints agree better than this are compared sample by sample.
CANDIDATE = 0.15
#: Two clips are copies if their waveforms correlate this well at their best alignment (times the square root
#: of the share they have in common: a bar that a recording repeats is no copy of the excerpt) …
COHERENT = 0.5
#: … or, where a chain of processing has moved the phases, if their fingerprints agree this well: a band that
#: plays one pattern twice at one tempo reaches 0.7.
MATCHING = 0.75
_BANDS, _SHORTEST_OVERLAP, _COMPARE_HZ = 32, 0.3, 8_000


@dataclass(frozen=True)
class Pair:
    """Two clips that hold the same excerpt.

    `match` is the agreement of their fingerprints, about 0 (chance) to 1; `coherence` the correlation of their waveforms
    over the part they share, 0 to 1. What is heard at time t in `first` is heard at t + `lag_s` in `second`.
    `identical`: the files are equal byte for byte.
    """

    first: str
    second: str
    match: float
    coherence: float
    lag_s: float
    identical: bool


def fingerprints(mel: np.ndarray) -> np.ndarray:
    """Loudness-free fingerprints of mel-spectrograms (n, 128, T) on a scale of decibels (any unit): float32, (n, 31, T - 1).

    The difference in time removes equalisation, the difference between bands removes loudness changes; every
    band of every clip then has mean 0 and about deviation 1.
    """
    n, bands, frames = mel.shape
    coarse = mel.reshape(n, _BANDS, bands // _BANDS, frames).mean(axis=2)
    edges = np.diff(np.diff(coarse, axis=2), axis=1)
    edges /= edges.std(axis=2, keepdims=True) + 1e-9
    edges = np.clip(edges, -3, 3)
    return (edges - edges.mean(axis=2, keepdims=True)).astype(np.float32)


def match_all(prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best agreement of every pair of fingerprints (n, bands, T) over all time shifts.

    Returns
    -------
    match : ndarray of float32, shape (n, n)
        Upper triangle: correlation over the overlap, times the square root of the overlap's share (short
        overlaps agree by chance more easily).
    lag : ndarray of int, shape (n, n)
        Frames by which the second runs late.
    """
    # All correlations at once: per frequency of the clips' modulations, one matrix product of all clips with all. The
    # upper half of those frequencies (above 11 Hz) is noise and alignment error, and is left out.
    n, _, frames = prints.shape
    length = fft.next_fast_len(2 * frames, real=True)
    spectra = np.stack([fft.rfft(one, length)[:, : length // 4] for one in prints])
    # Rescaled so that a clip against itself scores 1 whatever was left out.
    energy = 2 * (np.abs(spectra) ** 2).sum(axis=(1, 2)) / length
    spectra /= np.sqrt(energy + 1e-9)[:, None, None]
    spectra = torch.from_numpy(np.ascontiguousarray(spectra.transpose(2, 0, 1), dtype=np.complex64))
    lags = np.arange(length)
    lags[lags > length // 2] -= length
    overlap = np.clip(1 - np.abs(lags) / frames, 1e-9, None)
    weight = np.where(overlap >= _SHORTEST_OVERLAP, 1 / np.sqrt(overlap), 0).astype(np.float32)
    match, lag = np.zeros((n, n), np.float32), np.zeros((n, n), np.int64)
    block = max(1, int(3e7 // (n * length)))
    for start in range(0, n, block):
        rows = spectra[:, start : start + block].conj().resolve_conj()
        cross = torch.bmm(rows, spectra[:, start:].transpose(1, 2)).permute(1, 2, 0).contiguous().numpy()
        correlation = fft.irfft(cross, length, axis=2, workers=cores()) * weight
        best = correlation.argmax(axis=2)
        match[start : start + block, start:] = np.take_along_axis(correlation, best[..., None], 2)[..., 0]
        lag[start : start + block, start:] = lags[best]
    return match, lag


def coherence(first: np.ndarray, second: np.ndarray, lag: int, slack: int) -> tuple[float, int]:
    """Best absolute correlation of two waves over their overlap, 0 to 1, at shifts within `slack` of `lag` samples; and
    the samples by which `second` then runs late.

    Differences of samples are compared, so that a shared bass note or hum counts for little.
    """
    first, second = np.diff(first), np.diff(second)
    shifts = signal.correlation_lags(len(second), len(first))
    near = np.abs(shifts - lag) <= slack
    shift = int(shifts[near][np.abs(signal.correlate(second, first, method="fft")[near]).argmax()])
    a, b = first[max(0, -shift) :], second[max(0, shift) :]
    shared = min(len(a), len(b))
    a, b = a[:shared], b[:shared]
    power = float(a @ a) * float(b @ b)
    return (abs(float(a @ b)) / power**0.5 if power > 0 else 0.0), shift


def replicas(corpus: Corpus, ids: list[str], match: np.ndarray, lag: np.ndarray) -> list[Pair]:
    """The copies among the pairs whose fingerprints agree, as :func:`match_all` has them."""
    rows, columns = np.nonzero(np.triu(match, 1) >= CANDIDATE)
    samples = round(corpus.clip_s * _COMPARE_HZ)
    heard = {int(i): load_audio(corpus[ids[i]].path, rate_hz=_COMPARE_HZ)[0] for i in np.union1d(rows, columns)}
    waves = {i: fit_length(wave, samples) for i, wave in heard.items()}
    hop = MEL.hop_length * _COMPARE_HZ / MEL.rate_hz
    found = []
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        value, shift = coherence(waves[i], waves[j], round(lag[i, j] * hop), slack=round(2 * hop))
        shared = max(0.0, 1 - abs(shift) / samples)
        if value * np.sqrt(shared) >= COHERENT or match[i, j] >= MATCHING:
            same = file_sha256(corpus[ids[i]].path) == file_sha256(corpus[ids[j]].path)
            found.append(Pair(ids[i], ids[j], float(match[i, j]), value, shift / _COMPARE_HZ, same))
    # Equal to three digits is equal: copies reach 1, but for the rounding of this processor.
    return sorted(found, key=lambda pair: (-round(max(pair.match, pair.coherence), 3), pair.first, pair.second))


def groups_of(ids: Sequence[str], pairs: Sequence[Pair]) -> np.ndarray:
    """Number of each clip's group, int (n,): clips that `pairs` join, directly or not, have the same."""
    place = {clip: i for i, clip in enumerate(ids)}
    rows, columns = [place[pair.first] for pair in pairs], [place[pair.second] for pair in pairs]
    links = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(ids), len(ids)))
    return connected_components(links, directed=False)[1]

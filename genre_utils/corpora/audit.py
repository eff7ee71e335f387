"""Find what is wrong with a corpus from its audio alone: replicas, doubtful labels, unusable files."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from genre_utils.audio import SILENT_PEAK, file_sha256, load_audio
from genre_utils.corpora import Corpus
from genre_utils.errors import AudioError
from genre_utils.profiles import get_profile

#: Pairs whose fingerprints agree better than this are compared sample by sample.
CANDIDATE = 0.15
#: Two clips are copies if their waveforms correlate this well at their best alignment (times the square root
#: of the share they have in common: a bar that a recording repeats is no copy of the excerpt) …
COHERENT = 0.5
#: … or, where a chain of processing has moved the phases, if their fingerprints agree this well.
MATCHING = 0.6
#: Share of the clips put forward as doubtful labels. Sturm counts 43 conspicuous ones in GTZAN's 1000.
SUSPECT_SHARE = 0.03
#: A clip shorter than this share of the nominal length is cut; GTZAN's own vary by less than 1 %.
COMPLETE = 0.95
_BANDS = 32
_SHORTEST_OVERLAP = 0.3
_COMPARE_HZ = 8_000


@dataclass(frozen=True)
class Pair:
    """Two clips that hold the same excerpt.

    Attributes
    ----------
    match : float
        Agreement of their fingerprints, about 0 (chance) to 1.
    coherence : float
        Correlation of their waveforms over the part they share, 0 to 1.
    lag_s : float
        What is heard at time t in `first` is heard at t + lag_s in `second`.
    identical : bool
        The files are equal byte for byte.
    """

    first: str
    second: str
    match: float
    coherence: float
    lag_s: float
    identical: bool


@dataclass(frozen=True)
class Suspect:
    """A clip whose label its sound does not support; `doubt` ranks them (above 0: another genre wins)."""

    clip: str
    genre: str
    suggested: str
    doubt: float


@dataclass(frozen=True)
class AuditReport:
    """Findings of :func:`audit`: `ranking` holds all clips by doubt, `suspects` those put forward."""

    corpus: str
    clips: int
    replicas: tuple[Pair, ...]
    suspects: tuple[Suspect, ...]
    unusable: dict[str, str]
    ranking: tuple[Suspect, ...] = ()

    def groups(self) -> list[tuple[str, ...]]:
        """Replica pairs joined into groups."""
        groups: list[set[str]] = []
        for pair in self.replicas:
            touched = [group for group in groups if group & {pair.first, pair.second}]
            merged = {pair.first, pair.second}.union(*touched)
            groups = [group for group in groups if group not in touched] + [merged]
        return sorted(tuple(sorted(group)) for group in groups)

    def frame(self) -> pd.DataFrame:
        """One row a finding: kind, clip, other (second clip or suggested genre), score, detail."""
        rows = [
            (
                "replica",
                pair.first,
                pair.second,
                max(pair.match, pair.coherence),
                "identical files"
                if pair.identical
                else f"match {pair.match:.2f}, coherence {pair.coherence:.2f}, shifted {pair.lag_s:+.2f} s",
            )
            for pair in self.replicas
        ]
        rows += [
            ("mislabelled?", s.clip, s.suggested, s.doubt, f"labelled {s.genre}, sounds like {s.suggested}")
            for s in self.suspects
        ]
        rows += [("unusable", clip, "", np.nan, why) for clip, why in self.unusable.items()]
        return pd.DataFrame(rows, columns=["kind", "clip", "other", "score", "detail"])


def audit(corpus: Corpus, *, progress: bool = True) -> AuditReport:
    """Look for faults in `corpus`, using its audio and labels but none of its documentation.

    Returns
    -------
    AuditReport

    Notes
    -----
    Replicas: every pair of clips is compared at every time shift that leaves 30 % in common, by fingerprints
    that ignore loudness and equalisation (differences of mel energies over time and band, after Haitsma and
    Kalker 2002, ISMIR); pairs that stand out are then compared sample by sample, which tells a copy from
    another performance of the same pattern. Two excerpts of a recording that do not overlap are not found.
    Doubtful labels: a support vector machine on hand-crafted features, asked about clips it was not trained
    on. It is a list to listen to, not a verdict: see :func:`score` for how much of it is right.
    """
    unusable = _unusable(corpus, progress)
    ids = [clip_id for clip_id in corpus.ids if clip_id not in unusable]
    ranking = _doubtful_labels(corpus, ids, progress)
    return AuditReport(
        corpus.name,
        len(corpus),
        tuple(_replicas(corpus, ids, progress)),
        tuple(ranking[: max(1, round(SUSPECT_SHARE * len(ids)))]) if ranking else (),
        unusable,
        tuple(ranking),
    )


# --- unusable files --------------------------------------------------------------------------------------


def _unusable(corpus: Corpus, progress: bool) -> dict[str, str]:
    """Clip id -> why, over the corpus' clips and the files of those already left out of it."""
    from tqdm import tqdm

    files = {clip.id: clip.path for clip in corpus}
    for clip_id in corpus.excluded:
        folder = corpus.root / clip_id.split(".", 1)[0]
        files.update((path.stem, path) for path in folder.glob(f"{clip_id}.*"))
    found = {}
    for clip_id, path in tqdm(sorted(files.items()), desc="files", unit="clip", disable=not progress):
        try:
            wave, rate_hz = load_audio(path)
        except AudioError as error:
            found[clip_id] = f"unreadable: {error}"
            continue
        length_s = len(wave) / rate_hz
        frame = rate_hz // 20
        loudness = np.abs(wave[: len(wave) // frame * frame].reshape(-1, frame)).max(axis=1)
        silent = float(np.mean(loudness < SILENT_PEAK)) if len(loudness) else 1.0
        if length_s < COMPLETE * corpus.clip_s:
            found[clip_id] = f"truncated: {length_s:.2f} s of {corpus.clip_s:g} s"
        elif silent > 0.5:
            found[clip_id] = f"silent for {silent:.0%} of its length"
    return found


# --- replicas --------------------------------------------------------------------------------------------


def _sizes(corpus: Corpus):
    return replace(get_profile("mini"), clip_s=corpus.clip_s)


def fingerprints(mel: np.ndarray) -> np.ndarray:
    """Loudness-free fingerprints of mel-spectrograms (n, 128, T) in decibels: float32, (n, 31, T - 1).

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
    """Best agreement of every pair of fingerprints over all time shifts.

    Parameters
    ----------
    prints : ndarray, shape (n, bands, T)

    Returns
    -------
    match : ndarray of float32, shape (n, n)
        Upper triangle: correlation over the overlap, times the square root of the overlap's share (short
        overlaps agree by chance more easily).
    lag : ndarray of int, shape (n, n)
        Frames by which the second runs late.

    Notes
    -----
    All correlations at once: per frequency of the clips' modulations, one matrix product of all clips with
    all. The upper half of those frequencies (above 11 Hz) is noise and alignment error, and is left out.
    """
    import torch
    from scipy import fft

    n, _, frames = prints.shape
    length = fft.next_fast_len(2 * frames, real=True)
    spectra = fft.rfft(prints, length, axis=2, workers=os.cpu_count())[:, :, : length // 4]
    # Rescaled so that a clip against itself scores 1 whatever was left out.
    energy = 2 * (np.abs(spectra) ** 2).sum(axis=(1, 2)) / length
    spectra = spectra / np.sqrt(energy + 1e-9)[:, None, None]
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
        correlation = fft.irfft(cross, length, axis=2, workers=os.cpu_count()) * weight
        best = correlation.argmax(axis=2)
        match[start : start + block, start:] = np.take_along_axis(correlation, best[..., None], 2)[..., 0]
        lag[start : start + block, start:] = lags[best]
    return match, lag


def coherence(first: np.ndarray, second: np.ndarray, lag: int, slack: int) -> tuple[float, int]:
    """Best absolute correlation of two waves over their overlap, at shifts within `slack` of `lag` samples.

    Differences of samples are compared, so that a shared bass note or hum counts for little.

    Returns
    -------
    coherence : float
        0 to 1.
    lag : int
        Samples by which `second` runs late.
    """
    from scipy import fft

    first, second = np.diff(first), np.diff(second)
    length = fft.next_fast_len(len(first) + len(second), real=True)
    correlation = fft.irfft(fft.rfft(first, length).conj() * fft.rfft(second, length), length)
    shifts = np.arange(lag - slack, lag + slack + 1)
    shift = int(shifts[np.abs(correlation[shifts % length]).argmax()])
    a, b = first[max(0, -shift) :], second[max(0, shift) :]
    shared = min(len(a), len(b))
    a, b = a[:shared], b[:shared]
    power = float(a @ a) * float(b @ b)
    return (abs(float(a @ b)) / power**0.5 if power > 0 else 0.0), shift


def _replicas(corpus: Corpus, ids: list[str], progress: bool) -> list[Pair]:
    from genre_utils.features import MEL, fit_length, mels

    if len(ids) < 2:
        return []
    match, lag = match_all(fingerprints(mels(corpus, ids, _sizes(corpus), progress=progress)[:, 0]))
    rows, columns = np.nonzero(np.triu(match, 1) >= CANDIDATE)
    samples = round(corpus.clip_s * _COMPARE_HZ)
    waves = {
        int(i): fit_length(load_audio(corpus[ids[i]].path, rate_hz=_COMPARE_HZ)[0], samples)
        for i in np.union1d(rows, columns)
    }
    hop = MEL.hop_length * _COMPARE_HZ / MEL.rate_hz
    found = []
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        value, shift = coherence(waves[i], waves[j], round(lag[i, j] * hop), slack=round(2 * hop))
        shared = max(0.0, 1 - abs(shift) / samples)
        if value * np.sqrt(shared) >= COHERENT or match[i, j] >= MATCHING:
            same = file_sha256(corpus[ids[i]].path) == file_sha256(corpus[ids[j]].path)
            found.append(Pair(ids[i], ids[j], float(match[i, j]), value, shift / _COMPARE_HZ, same))
    return sorted(found, key=lambda pair: (-max(pair.match, pair.coherence), pair.first, pair.second))


# --- doubtful labels -------------------------------------------------------------------------------------


def _doubtful_labels(corpus: Corpus, ids: list[str], progress: bool) -> list[Suspect]:
    """All clips, the least credible label first."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from genre_utils.features import statistics

    labels = corpus.labels(ids)
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 3 or counts.min() < 2:
        return []
    features = statistics(corpus, ids, _sizes(corpus), progress=progress)
    model = make_pipeline(StandardScaler(), SVC(C=5.0, decision_function_shape="ovr"))
    folds = StratifiedKFold(min(10, int(counts.min())), shuffle=True, random_state=0)
    votes = cross_val_predict(model, features, labels, cv=folds, method="decision_function")
    rows, own = np.arange(len(ids)), np.searchsorted(present, labels)
    others = votes.copy()
    others[rows, own] = -np.inf
    doubt = others.max(axis=1) - votes[rows, own]
    suggested = present[others.argmax(axis=1)]
    return [
        Suspect(ids[i], corpus.genres[labels[i]], corpus.genres[suggested[i]], float(doubt[i]))
        for i in np.argsort(-doubt, kind="stable")
    ]


# --- how good is the audit? ------------------------------------------------------------------------------


def score(report: AuditReport, faults: dict) -> pd.DataFrame:
    """Precision and recall of a report against faults that are known.

    Parameters
    ----------
    faults : dict
        As :attr:`genre_utils.corpora.Corpus.faults`.

    Returns
    -------
    DataFrame
        Index ``replicas`` (counted in pairs), ``mislabelled``, ``unusable``; columns ``planted``, ``reported``,
        ``right``, ``precision``, ``recall`` (NaN where nothing was reported or planted).
    """
    reported = {
        "replicas": {frozenset((pair.first, pair.second)) for pair in report.replicas},
        "mislabelled": {suspect.clip for suspect in report.suspects},
        "unusable": set(report.unusable),
    }
    known = {
        "replicas": {frozenset(p) for group in faults.get("replicas", ()) for p in combinations(group, 2)},
        "mislabelled": set(faults.get("mislabelled", ())),
        "unusable": set(faults.get("unusable", ())),
    }
    rows = {}
    for kind, truth in known.items():
        right = len(truth & reported[kind])
        rows[kind] = {
            "planted": len(truth),
            "reported": len(reported[kind]),
            "right": right,
            "precision": right / len(reported[kind]) if reported[kind] else np.nan,
            "recall": right / len(truth) if truth else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index")

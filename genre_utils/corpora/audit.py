"""Find what is wrong with a corpus: replicas, second excerpts, doubtful labels, unusable files.

Sound and labels are enough; the names of the artists, where a corpus knows them, help with the labels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from genre_utils.audio import SILENT_PEAK, file_sha256, load_audio
from genre_utils.corpora import Corpus
from genre_utils.corpora.kinship import Kin, find_kin, periodicities, repeats
from genre_utils.errors import AudioError
from genre_utils.profiles import get_profile

#: Pairs whose fingerprints agree better than this are compared sample by sample.
CANDIDATE = 0.15
#: Two clips are copies if their waveforms correlate this well at their best alignment (times the square root
#: of the share they have in common: a bar that a recording repeats is no copy of the excerpt) …
COHERENT = 0.5
#: … or, where a chain of processing has moved the phases, if their fingerprints agree this well: a band that
#: plays one pattern twice at one tempo reaches 0.7.
MATCHING = 0.75
#: A label is put forward as wrong if another genre's score is higher than its own by this much; a full member of
#: one genre scores about 1 there and 0 elsewhere.
DOUBTFUL = 0.35
#: Ridge penalty of the classifier behind the doubts, relative to the mean square of a standardised feature.
_RIDGE = 0.005
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
    """A clip whose label its sound does not support.

    `doubt` is the lead of the genre `suggested` over the label, at most about 1; below 0 the label wins.
    """

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
    kin: tuple[Kin, ...] = ()

    def with_artists(self, corpus: Corpus) -> AuditReport:
        """The same report without those findings that the artists' names contradict.

        An artist vouches for a label if another clip of theirs carries it and is no suspect itself. This takes
        back doubts about unusual pieces; it also misses an error that was made with several clips of an artist.
        Clips of two artists are not one recording. Names are compared, not read. Where no artist is known
        nothing changes.
        """
        doubted = {suspect.clip for suspect in self.suspects}
        vouched = {(c.artist, c.genre) for c in corpus if c.artist and c.id not in doubted}
        kept = (s for s in self.suspects if (corpus[s.clip].artist, s.genre) not in vouched)

        def strangers(first: str, second: str) -> bool:
            artists = {corpus[first].artist, corpus[second].artist}
            return len(artists) == 2 and None not in artists

        kin = (pair for pair in self.kin if not strangers(pair.first, pair.second))
        return replace(self, suspects=tuple(kept), kin=tuple(kin))

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
        rows += [("same recording?", kin.first, kin.second, kin.score, str(kin)) for kin in self.kin]
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
        By sound and labels alone; see :meth:`AuditReport.with_artists` for what names add.

    Notes
    -----
    Replicas: every pair of clips is compared at every time shift that leaves 30 % in common, by fingerprints
    that ignore loudness and equalisation (differences of mel energies over time and band, after Haitsma and
    Kalker 2002, ISMIR); pairs that stand out are then compared sample by sample, which tells a copy from
    another performance of the same pattern.

    Second excerpts of a recording share no samples, but tempo, pattern, key, instruments and sound, see
    :mod:`genre_utils.corpora.kinship`. A band that plays two pieces alike can still look the same.

    Doubtful labels: a ridge classifier on the embeddings says of each clip, from all others but its copies, how
    much it belongs to each genre (in closed form: no folds, no chance). Then it is asked again without the
    suspects as teachers. A clip that carries two labels, being copied, is reported as a replica and not here.
    The thresholds were chosen on synthetic corpora (600 clips, seeds 0, 1 and 21 to 23); how they do on others,
    and on real music, is kept as a record, see :mod:`genre_utils.audited`. A misfiled artist has no second clip
    in these corpora, so that names cannot mislead.
    """
    from genre_utils.features import MEL, mels, semitones

    unusable = _unusable(corpus, progress)
    ids = [clip_id for clip_id in corpus.ids if clip_id not in unusable]
    if len(ids) < 2:
        return AuditReport(corpus.name, len(corpus), (), (), unusable)
    sounds = embeddings(corpus, ids, progress=progress)
    mel = mels(corpus, ids, _sizes(corpus), progress=progress)[:, 0]
    prints = fingerprints(mel)
    match, lag = match_all(prints)
    pairs = _replicas(corpus, ids, match, lag)
    frame_s = MEL.hop_length / MEL.rate_hz
    kin = find_kin(
        ids,
        periods=periodicities(mel, frame_s),
        semitones=semitones(corpus, ids, _sizes(corpus), progress=progress),
        sounds=sounds,
        match=match,
        own=repeats(prints, frame_s, _SHORTEST_OVERLAP),
        copies={frozenset((pair.first, pair.second)) for pair in pairs},
    )
    report = AuditReport(corpus.name, len(corpus), tuple(pairs), (), unusable, kin=tuple(kin))
    ranking = _doubtful_labels(corpus, ids, sounds, report.groups())
    labels = {clip: {corpus[c].genre for c in group} for group in report.groups() for clip in group}
    suspects = (s for s in ranking if s.doubt > DOUBTFUL and len(labels.get(s.clip, ())) < 2)
    return replace(report, suspects=tuple(suspects), ranking=tuple(ranking))


def embeddings(corpus: Corpus, ids: list[str], *, progress: bool = True) -> np.ndarray:
    """What each clip sounds like, as a row of standardised numbers (n, features), none beyond 4 deviations.

    The 57 statistics, mean and deviation of each mel band, and the pooled states of every layer of the shipped
    backbone, which has heard music but no labels of this corpus.
    """
    from genre_utils.features import frozen_states, mels, statistics, waves
    from genre_utils.models.wav2vec import load_backbone

    profile, backbone = _sizes(corpus), load_backbone("shipped")
    mel = mels(corpus, ids, profile, progress=progress)[:, 0]
    # The same call as chapter 4's, so that each finds what the other has computed.
    states = frozen_states(
        backbone,
        waves(corpus, ids, profile, rate_hz=backbone.rate_hz, progress=progress),
        window_s=profile.head_only.window_s,
        batch_size=16,
        progress=progress,
    )
    rows = np.concatenate(
        [
            states.reshape(len(ids), -1),
            statistics(corpus, ids, profile, progress=progress),
            mel.mean(axis=2),
            mel.std(axis=2),
        ],
        axis=1,
    ).astype(np.float64)
    rows -= rows.mean(axis=0)
    return np.clip(rows / (rows.std(axis=0) + 1e-9), -4, 4)


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


def _replicas(corpus: Corpus, ids: list[str], match: np.ndarray, lag: np.ndarray) -> list[Pair]:
    """The copies among the pairs whose fingerprints agree, as :func:`match_all` has them."""
    from genre_utils.features import MEL, fit_length

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
    # Equal to three digits is equal: copies reach 1, but for the rounding of this processor.
    return sorted(found, key=lambda pair: (-round(max(pair.match, pair.coherence), 3), pair.first, pair.second))


# --- doubtful labels -------------------------------------------------------------------------------------


def left_out_scores(
    kernel: np.ndarray, targets: np.ndarray, noise: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """What kernel ridge regression says of each clip when the clip's group is not among its examples.

    Parameters
    ----------
    kernel : ndarray, shape (n, n)
    targets : ndarray, shape (n, classes)
    noise : ndarray, shape (n,)
        Ridge penalty of each example; a huge one silences it.
    groups : ndarray of int, shape (n,)
        Clips with the same number are left out together.

    Returns
    -------
    ndarray, shape (n, classes)
        Exactly what n fits without the respective group would give, from one inverse.
    """
    inverse = np.linalg.inv(kernel + np.diag(noise))
    weights = inverse @ targets
    scores = targets - weights / np.diag(inverse)[:, None]
    for group in np.flatnonzero(np.bincount(groups) > 1):
        own = np.flatnonzero(groups == group)
        scores[own] = targets[own] - np.linalg.solve(inverse[np.ix_(own, own)], weights[own])
    return scores


def _doubtful_labels(
    corpus: Corpus, ids: list[str], sounds: np.ndarray, copies: list[tuple[str, ...]]
) -> list[Suspect]:
    """All clips, the least credible label first."""
    labels = corpus.labels(ids)
    present, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(present) < 3 or counts.min() < 2:
        return []
    first = {clip: group[0] for group in copies for clip in group}
    groups = np.unique([first.get(clip, clip) for clip in ids], return_inverse=True)[1]
    kernel = sounds @ sounds.T / sounds.shape[1]
    targets = np.eye(len(present))[own] - 1 / len(present)
    rows, noise = np.arange(len(ids)), np.full(len(ids), _RIDGE)
    for _ in range(2):  # the second time without the suspects as teachers
        others = left_out_scores(kernel, targets, noise, groups)
        labelled = others[rows, own].copy()
        others[rows, own] = -np.inf
        doubt = others.max(axis=1) - labelled
        noise = np.where(doubt > DOUBTFUL, 1e4, _RIDGE)
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
        Index ``replicas`` and ``same recording`` (both counted in pairs), ``mislabelled``, ``unusable``; columns
        ``planted``, ``reported``, ``right``, ``precision``, ``recall`` (NaN where nothing was reported or planted).
    """
    reported = {
        "replicas": {frozenset((pair.first, pair.second)) for pair in report.replicas},
        "same recording": {frozenset((kin.first, kin.second)) for kin in report.kin},
        "mislabelled": {suspect.clip for suspect in report.suspects},
        "unusable": set(report.unusable),
    }
    known = {
        kind: {frozenset(pair) for group in faults.get(key, ()) for pair in combinations(group, 2)}
        for kind, key in (("replicas", "replicas"), ("same recording", "same_recording"))
    }
    # GTZAN's groups of one song hold its copies too.
    known["same recording"] -= known["replicas"]
    known |= {
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

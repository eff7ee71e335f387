"""Find what is wrong with a corpus: replicas, doubtful labels, unusable files.

Sound and labels are enough; the names of the artists, where a corpus knows them, help with the labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pandas as pd
from tqdm import tqdm

from genre_utils.audio import load_audio, silent_share
from genre_utils.corpora import Corpus
from genre_utils.errors import AudioError
from genre_utils.experiments.copies import Pair, fingerprints, groups_of, match_all, replicas
from genre_utils.features import band_moments, frozen_states, mels, statistics, waves
from genre_utils.models.wav2vec import load_backbone
from genre_utils.profiles import PROFILES, Profile

#: A label is put forward as wrong if another genre's score is higher than its own by this much; a full member of
#: one genre scores about 1 there and 0 elsewhere.
DOUBTFUL = 0.35
#: Ridge penalty of the classifier behind the doubts, relative to the mean square of a standardised feature.
_RIDGE = 0.005
#: A clip shorter than this share of the nominal length is cut; GTZAN's own vary by less than 1 %.
COMPLETE = 0.95


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
    """Findings of :func:`audit`: `suspects` by doubt, the least credible label first; `unusable`: why."""

    replicas: tuple[Pair, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    unusable: dict[str, str] = field(default_factory=dict)

    def with_artists(self, corpus: Corpus) -> AuditReport:
        """The same report without those findings that the artists' names contradict.

        An artist vouches for a label if another clip of theirs carries it and is no suspect itself.
        """
        doubted = {suspect.clip for suspect in self.suspects}
        vouched = {(c.artist, c.genre) for c in corpus if c.artist and c.id not in doubted}
        kept = (s for s in self.suspects if (corpus[s.clip].artist, s.genre) not in vouched)
        return replace(self, suspects=tuple(kept))

    def frame(self) -> pd.DataFrame:
        """One row a finding: kind, clip, other (second clip or suggested genre), score, detail."""
        rows: list[tuple] = []
        for pair in self.replicas:
            how = f"match {pair.match:.2f}, coherence {pair.coherence:.2f}, shifted {pair.lag_s:+.2f} s"
            how = "identical files" if pair.identical else how
            rows.append(("replica", pair.first, pair.second, max(pair.match, pair.coherence), how))
        told = "labelled {0.genre}, sounds like {0.suggested}"
        rows += [("doubtful label", s.clip, s.suggested, s.doubt, told.format(s)) for s in self.suspects]
        rows += [("unusable", clip, "", np.nan, why) for clip, why in self.unusable.items()]
        return pd.DataFrame(rows, columns=["kind", "clip", "other", "score", "detail"])


def audit(corpus: Corpus, *, progress: bool = True) -> AuditReport:
    """Look for faults in `corpus`, by sound and labels alone; see :meth:`AuditReport.with_artists` for what names add.

    Notes
    -----
    Replicas: every pair of clips is compared at every time shift that leaves 30 % in common, by fingerprints that
    ignore loudness and equalisation (after Haitsma and Kalker 2002, ISMIR); pairs that stand out are then compared
    sample by sample, which tells a copy from another performance of the same pattern.

    Doubtful labels: a ridge classifier on the embeddings says of each clip, from all others but its copies, how much it
    belongs to each genre; then again without the suspects as teachers. A clip that carries two labels, being copied, is
    reported as a replica and not here. The thresholds were chosen on synthetic corpora (600 clips, seeds 0, 1 and 21 to 23).
    """
    unusable = _unusable(corpus, progress)
    ids = [clip_id for clip_id in corpus.ids if clip_id not in unusable]
    if len(ids) < 2:
        return AuditReport(unusable=unusable)
    sounds = embeddings(corpus, ids, progress=progress)
    prints = np.concatenate([fingerprints(mel) for mel in mels(corpus, ids, _sizes(corpus), progress=progress)])
    pairs = replicas(corpus, ids, *match_all(prints))
    groups = groups_of(ids, pairs)
    labels_of_copies = pd.Series(corpus.labels(ids), index=ids).groupby(groups).transform("nunique")
    doubtful = _doubtful_labels(corpus, ids, sounds, groups)
    suspects = (s for s in doubtful if s.doubt > DOUBTFUL and labels_of_copies[s.clip] < 2)
    return AuditReport(tuple(pairs), tuple(suspects), unusable)


def embeddings(corpus: Corpus, ids: list[str], *, progress: bool = True) -> np.ndarray:
    """What each clip sounds like, as a row of standardised numbers (n, features), none beyond 4 deviations.

    The 57 statistics, mean and deviation of each mel band, and the pooled states of every layer of the shipped
    backbone, which has heard music but no labels of this corpus.
    """
    profile, backbone = _sizes(corpus), load_backbone("shipped")
    mel = band_moments(mels(corpus, ids, profile, progress=progress))
    # The same call as chapter 4's, so that each finds what the other has computed.
    heard = waves(corpus, ids, profile, rate_hz=backbone.rate_hz, progress=progress)
    states = frozen_states(backbone, heard, window_s=profile.head_only.window_s, progress=progress)
    parts = (states.reshape(len(ids), -1), statistics(corpus, ids, profile, progress=progress), mel)
    rows = np.concatenate(parts, axis=1).astype(np.float64)
    rows -= rows.mean(axis=0)
    return np.clip(rows / (rows.std(axis=0) + 1e-9), -4, 4)


def _sizes(corpus: Corpus) -> Profile:
    return replace(PROFILES["mini"], clip_s=corpus.clip_s)


def _unusable(corpus: Corpus, progress: bool) -> dict[str, str]:
    """Clip id -> why, of the corpus' clips and of those already left out of it."""
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
        silent = silent_share(wave, rate_hz)
        if length_s < COMPLETE * corpus.clip_s:
            found[clip_id] = f"truncated: {length_s:.2f} s of {corpus.clip_s:g} s"
        elif silent > 0.5:
            found[clip_id] = f"silent for {silent:.0%} of its length"
    return found


def left_out_scores(kernel: np.ndarray, targets: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What kernel ridge regression says of each clip, (n, classes), when the clip's group is not among its examples.

    Exactly what fits without each group would give, from one inverse. `kernel` (n, n), `targets` (n, classes); `noise`
    (n,) is the ridge penalty of each example, a huge one silences it; `groups` int (n,).
    """
    inverse = np.linalg.inv(kernel + np.diag(noise))
    weights = inverse @ targets
    scores = targets - weights / np.diag(inverse)[:, None]
    for group in np.flatnonzero(np.bincount(groups) > 1):
        own = np.flatnonzero(groups == group)
        scores[own] = targets[own] - np.linalg.solve(inverse[np.ix_(own, own)], weights[own])
    return scores


def _doubtful_labels(corpus: Corpus, ids: list[str], sounds: np.ndarray, groups: np.ndarray) -> list[Suspect]:
    """All clips, the least credible label first."""
    labels = corpus.labels(ids)
    present, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(present) < 3 or counts.min() < 2:
        return []
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
    order, name = np.argsort(-doubt, kind="stable"), corpus.genres
    return [Suspect(ids[i], name[labels[i]], name[suggested[i]], float(doubt[i])) for i in order]


# --- how good is the audit? ------------------------------------------------------------------------------


def _reported(report: AuditReport) -> dict[str, set]:
    pairs = {tuple(sorted((pair.first, pair.second))) for pair in report.replicas}
    suspects = {suspect.clip for suspect in report.suspects}
    return {"replicas": pairs, "mislabelled": suspects, "unusable": set(report.unusable)}


def _known(faults: dict) -> dict[str, set]:
    pairs = {tuple(sorted(pair)) for group in faults.get("replicas", ()) for pair in combinations(group, 2)}
    return {"replicas": pairs, **{kind: set(faults.get(kind, ())) for kind in ("mislabelled", "unusable")}}


def score(report: AuditReport, faults: dict) -> pd.DataFrame:
    """Precision and recall of a report against faults that are known, as :attr:`genre_utils.corpora.Corpus.faults`.

    Index: ``replicas`` (counted in pairs), ``mislabelled``, ``unusable``; columns: ``planted, reported, right,
    precision, recall`` (NaN where nothing was reported or planted).
    """
    reported = _reported(report)
    counts = {kind: (len(k), len(reported[kind]), len(k & reported[kind])) for kind, k in _known(faults).items()}
    table = pd.DataFrame.from_dict(counts, orient="index", columns=["planted", "reported", "right"])
    return table.assign(precision=table["right"] / table["reported"], recall=table["right"] / table["planted"])

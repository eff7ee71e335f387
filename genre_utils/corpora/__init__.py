"""Corpora with GTZAN's layout: ``<genre>/<genre>.NNNNN.wav``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from genre_utils.corpora.faults import about
from genre_utils.errors import CorpusError
from genre_utils.profiles import GENRES, Profile


@dataclass(frozen=True)
class Clip:
    """One excerpt: its file, its label, and what is known of its origin (None where nothing is)."""

    id: str
    path: Path
    genre: str
    artist: str | None = None
    recording: str | None = None


@dataclass(frozen=True)
class Corpus:
    """The usable clips of a corpus, in the order genre-then-number.

    `excluded` says why a clip (by id) is left out: by name, never because it happens to fail. `faults` holds the
    planted (synthetic corpus) or documented (GTZAN) faults by kind: ``replicas`` and ``same_recording`` (groups of clip
    ids), ``mislabelled`` (clip id -> true genre), ``unusable`` (clip id -> why).
    """

    name: str
    root: Path
    clips: tuple[Clip, ...]
    clip_s: float
    excluded: dict[str, str] = field(default_factory=dict)
    faults: dict = field(default_factory=dict)
    genres: tuple[str, ...] = GENRES

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self):
        return iter(self.clips)

    @cached_property
    def _by_id(self) -> dict[str, Clip]:
        return {clip.id: clip for clip in self.clips}

    def __getitem__(self, clip_id: str) -> Clip:
        try:
            return self._by_id[clip_id]
        except KeyError:
            why = self.excluded.get(clip_id, "no such clip")
            raise CorpusError(f"{self.name} has no usable clip {clip_id!r}: {why}") from None

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._by_id

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(clip.id for clip in self.clips)

    def labels(self, ids) -> np.ndarray:
        """Class indices, shape (n,), of the clips `ids`."""
        return np.array([self.genres.index(self[clip_id].genre) for clip_id in ids], dtype=np.int64)

    def of_genres(self, genres: tuple[str, ...]) -> Corpus:
        """The clips of some genres, with what is known of their faults."""
        if genres == self.genres:
            return self
        clips = tuple(clip for clip in self.clips if clip.genre in genres)
        ids = {clip.id for clip in clips} | {clip for clip in self.excluded if clip.split(".")[0] in genres}
        excluded = {clip: why for clip, why in self.excluded.items() if clip in ids}
        return replace(self, clips=clips, excluded=excluded, faults=about(ids, self.faults), genres=genres)

    def frame(self) -> pd.DataFrame:
        """One row a clip: id, genre, artist, recording, path."""
        rows = [(c.id, c.genre, c.artist, c.recording, c.path.name) for c in self.clips]
        return pd.DataFrame(rows, columns=["clip", "genre", "artist", "recording", "file"])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, labels and the bytes of every clip: what a run record names."""
        digest = hashlib.sha256()
        for clip in self.clips:
            digest.update(f"{clip.id}\0{clip.genre}\0".encode())
            digest.update(hashlib.sha256(clip.path.read_bytes()).digest())
        return digest.hexdigest()


def load_corpus(profile: Profile, *, progress: bool = True) -> Corpus:
    """The corpus of `profile`: rendered here if it is synthetic, else found on disk (or fetched).

    Raises
    ------
    CorpusError
        If the clips cannot be found; the message says where they were looked for and how to get them.
    """
    from genre_utils.corpora import gtzan

    if profile.corpus == "synthetic":
        from genre_utils.corpora.synthetic import synthetic_corpus

        corpus = synthetic_corpus(profile.clips_per_genre, profile.clip_s, seed=profile.corpus_seed, progress=progress)
    elif profile.corpus == "gtzan-mini":
        corpus = gtzan.gtzan_mini(progress=progress)
    else:
        corpus = gtzan.gtzan_full(profile.genres)
    return corpus.of_genres(profile.genres)

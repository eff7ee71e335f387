"""Corpora with GTZAN's layout: ``<genre>/<genre>.NNNNN.wav``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from genre_utils.errors import CorpusError
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES, Profile


def about(ids, faults: dict) -> dict:
    """The part of `faults` (see :attr:`Corpus.faults`) that is about clips `ids`.

    Groups of which fewer than two clips are left are dropped.
    """
    ids, kept = set(ids), {}
    for kind, known in faults.items():
        if isinstance(known, dict):
            kept[kind] = {clip: what for clip, what in known.items() if clip in ids}
        else:
            groups = (type(group)(clip for clip in group if clip in ids) for group in known)
            kept[kind] = [group for group in groups if len(group) > 1]
    return kept


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
    #: What a part of a corpus is a part of, and what is missing; said by every chapter that loads it.
    about: str = ""

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
        """What a run record names, the SHA-256 over ids, labels and the bytes of every clip."""
        digest = hashlib.sha256()
        for clip in self.clips:
            digest.update(f"{clip.id}\0{clip.genre}\0".encode())
            digest.update(hashlib.sha256(clip.path.read_bytes()).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Faults:
    """Documented facts about the clips of a corpus, and their `source`.

    Groups of clip ids are copies of one excerpt (`replicas`) or excerpts of one song, copies among them
    (`same_recording`); `artists` (where known) and `unusable` (why) go by clip id. Wrong labels are not among them: the
    literature counts 43 conspicuous and 63 contentious ones in GTZAN, but they are judgements.
    """

    replicas: tuple[tuple[str, ...], ...] = ()
    same_recording: tuple[tuple[str, ...], ...] = ()
    artists: dict[str, str] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)

    def among(self, ids) -> dict:
        """The part about clips `ids`, in the form of :attr:`Corpus.faults`."""
        known = {"replicas": self.replicas, "same_recording": self.same_recording, "unusable": self.unusable}
        return about(ids, known)


@lru_cache(maxsize=1)
def gtzan_faults() -> Faults:
    """GTZAN's documented faults: 46 groups of replicas, 67 of one song, the artists of 919 clips.

    From Sturm's index of GTZAN and two independent replica lists. Six of the replica groups are not borne out by
    distances between hand-crafted features; a split that separates them unnecessarily loses nothing.
    """
    content = json.loads(package_data("gtzan_faults.json").read_text(encoding="utf-8"))
    # The index spells one artist two ways, in capitals only; the first spelling names the artist here.
    spelling = {artist.casefold(): artist for artist in reversed(content["artist_of_clip"].values())}
    return Faults(
        replicas=tuple(tuple(group["clips"]) for group in content["replica_groups"]),
        same_recording=tuple(tuple(group["clips"]) for group in content["same_song_groups"]),
        artists={clip: spelling[artist.casefold()] for clip, artist in content["artist_of_clip"].items()},
        unusable=content["unusable"],
        source=content["source"],
    )


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
    if corpus.about:
        print(corpus.about)
    return corpus.of_genres(profile.genres)

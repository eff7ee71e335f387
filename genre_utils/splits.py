"""Splits: the study's two, the fault-filtered one, artist-grouped ones, and what each of them leaks."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from genre_utils.corpora import Clip, Corpus, Faults, gtzan_faults
from genre_utils.corpora.gtzan import gtzan_ids
from genre_utils.errors import CorpusError, ProfileError
from genre_utils.paths import package_data
from genre_utils.profiles import GTZAN_SPLITS, SPLITS, Profile

#: Shares of training, validation and test clips in the book's own splits.
FRACTIONS = (0.6, 0.15, 0.25)
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Three disjoint lists of clip ids; a CorpusError if a clip occurs twice, or training or test is empty."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    provenance: str

    @property
    def counts(self) -> dict[str, int]:
        """Number of clips in each part."""
        return {part: len(getattr(self, part)) for part in PARTS}

    @property
    def ids(self) -> tuple[str, ...]:
        """All clips, first training, then validation, then test."""
        return self.train + self.val + self.test

    def __post_init__(self) -> None:
        if not self.train or not self.test:
            raise CorpusError(f"split {self.name!r} has an empty part: {self.counts}. The corpus is too small.")
        ids, counts = np.unique(self.ids, return_counts=True)
        if twice := ids[counts > 1].tolist():
            raise CorpusError(
                f"split {self.name!r} holds {len(twice)} clips more than once, {twice[0]!r} for one: its parts "
                "must be disjoint, or the test score is a memory test."
            )


def _genre(clip: str) -> str:
    return clip.split(".", 1)[0]


def gtzan_split(name: str) -> Split:
    """A split of all of GTZAN that others have made.

    ``cnn``: the study's, 699/150/150, recomputed from its recipe; a CorpusError if its digest differs. ``wav2vec``: the
    study's, 798/97/100, as recorded, since it was shuffled without a seed. ``filtered``: the fault-filtered one of
    Kereliuk, Sturm and Larsen (2015), 442/197/290, no artist on two sides; without jazz.00054.
    """
    record, ids = json.loads(package_data("splits.json").read_text(encoding="utf-8"))[name], gtzan_ids()
    if name == "cnn":
        parts = _stratified(ids, [_genre(clip) for clip in ids], (0.70, 0.15, 0.15), seed=42)
        if hashlib.sha256(json.dumps(parts).encode()).hexdigest() != record["sha256"]:
            raise CorpusError(
                "this version of scikit-learn no longer reproduces the study's CNN split (its digest differs): "
                "install the version in requirements.lock."
            )
    else:
        parts = [tuple(clip for clip in record[part] if clip in ids) for part in PARTS]
    note = "; without jazz.00054" if name == "filtered" else ""
    return Split(name, *parts, record["source"] + note)


def _stratified(ids, genres, fractions, seed: int) -> list[tuple[str, ...]]:
    """Parts with `fractions` of the clips of each genre; a CorpusError if these are too few."""

    def cut(ids, genres, share):
        return train_test_split(ids, genres, test_size=share, stratify=genres, random_state=seed)

    try:
        train, rest, _, rest_genres = cut(list(ids), genres, 1 - fractions[0])
        val, test, *_ = cut(rest, rest_genres, fractions[2] / (fractions[1] + fractions[2]))
    except ValueError as error:
        raise CorpusError(f"too few clips ({len(ids)}) to split {fractions}: {error}") from error
    return [tuple(train), tuple(val), tuple(test)]


def random_split(corpus: Corpus, seed: int = 0) -> Split:
    """Clips drawn at random within each genre: the usual way, blind to artists and replicas."""
    parts = _stratified(corpus.ids, [clip.genre for clip in corpus], FRACTIONS, seed)
    return Split("random", *parts, f"stratified by genre at random, seed {seed}")


def window_split(corpus: Corpus, seed: int = 0) -> Split:
    """The trap: three windows a clip, ``<clip>@<window>``, drawn at random, so that a clip ends up on several sides."""
    ids = [f"{clip.id}@{i}" for clip in corpus for i in range(3)]
    parts = _stratified(ids, [clip.genre for clip in corpus for _ in range(3)], FRACTIONS, seed)
    return Split("window", *parts, f"3 windows a clip, stratified by genre at random, seed {seed}")


def clip_of(window_id: str) -> str:
    """The clip of a window id of :func:`window_split`; a clip id is its own."""
    return window_id.split("@", 1)[0]


def _sharing(clips: Iterable[Clip], what: str) -> list[list[str]]:
    """Clips with one ``artist`` or ``recording`` in common, where that is known."""
    groups = defaultdict(list)
    for clip in clips:
        if getattr(clip, what):
            groups[getattr(clip, what)].append(clip.id)
    return list(groups.values())


def origin_groups(corpus: Corpus, *, artists: bool | Callable[[str], bool] = True) -> list[tuple[str, ...]]:
    """Clips that share an origin, as disjoint groups in corpus order; a clip of unknown origin is its own.

    Copies and excerpts of one recording are joined always, those of one artist if `artists` (of their genre) is true.
    """
    joined = [clip for clip in corpus if (artists(clip.genre) if callable(artists) else artists)]
    found = DisjointSet(corpus.ids)
    copies = *corpus.faults.get("replicas", ()), *corpus.faults.get("same_recording", ())
    for group in (*_sharing(corpus, "recording"), *_sharing(joined, "artist"), *copies):
        inside = [clip for clip in group if clip in corpus]
        for other in inside[1:]:
            found.merge(inside[0], other)
    place = {clip: i for i, clip in enumerate(corpus.ids)}
    return [tuple(sorted(group, key=place.__getitem__)) for group in found.subsets()]


def _separable(corpus: Corpus, hopeless: Callable[[np.ndarray], bool]) -> tuple[list, np.ndarray, tuple[str, ...]]:
    """Origin groups that join the artists of no hopeless genre, their clips (groups, genres), and the hopeless genres.

    `hopeless` is told how many clips of a genre each group holds if all artists are kept together.
    """

    def table(groups):
        return np.array([np.bincount(corpus.labels(group), minlength=len(corpus.genres)) for group in groups])

    strict = table(origin_groups(corpus))
    crossing = tuple(genre for genre, sizes in zip(corpus.genres, strict.T, strict=True) if hopeless(sizes))
    groups = origin_groups(corpus, artists=lambda genre: genre not in crossing)
    return groups, table(groups), crossing


def artist_split(corpus: Corpus, seed: int = 0) -> Split:
    """Artists, recordings and replicas each on one side only, genres as evenly shared out as that allows.

    A clip of unknown artist is an artist of its own. The artists of a genre that one of them dominates too far to be
    shared out (in gtzan-mini all blues clips are John Lee Hooker's) may appear on several sides, its recordings and
    replicas may not; the provenance names those genres.
    """

    def hopeless(sizes: np.ndarray) -> bool:
        # The largest group can go to training; the others must fill validation and test at least by half.
        rest = sizes.sum() - sizes.max()
        return sizes.any() and ((sizes > 0).sum() < 3 or rest < 0.5 * (1 - FRACTIONS[0]) * sizes.sum())

    groups, table, crossing = _separable(corpus, hopeless)
    part_of = _allocate(table, np.random.default_rng(seed))
    where = {clip: part for group, part in zip(groups, part_of, strict=True) for clip in group}
    note = f"; artists not separated within {', '.join(crossing)} (too few there)" if crossing else ""
    parts = (tuple(clip for clip in corpus.ids if where[clip] == part) for part in range(3))
    return Split("artist", *parts, f"grouped by artist, recording and replica, seed {seed}{note}")


def _allocate(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part (0, 1, 2) of each group so that every genre is shared out as :data:`FRACTIONS` ask, as far as it goes.

    `table` counts clips, (groups, genres). Large groups first, each to the part that lacks most; the best of 64 orders.
    """
    wanted = np.outer(FRACTIONS, table.sum(axis=0))
    scale = np.maximum(wanted, 1e-9)
    root, each = np.sqrt(scale[:, None, :]), np.eye(len(FRACTIONS))[:, :, None]
    best, best_cost = None, np.inf
    for _ in range(64):
        order = np.argsort(-table.sum(axis=1) + rng.uniform(0, 2, len(table)), kind="stable")
        have, part_of = np.zeros_like(wanted), np.empty(len(table), dtype=int)
        for group in order:
            after = have[:, None, :] + each * table[group]
            cost = (((after - wanted[:, None, :]) / root) ** 2).sum(axis=(0, 2))
            part_of[group] = part = int(np.argmin(cost + rng.uniform(0, 1e-6, 3)))
            have[part] += table[group]
        # An empty part of a genre costs more than any imbalance: that genre could not be tested at all.
        cost = (((have - wanted) ** 2) / scale).sum() + 1e3 * ((have == 0) & (wanted > 0)).sum()
        if cost < best_cost:
            best, best_cost = part_of, cost
    return best


def fold_groups(corpus: Corpus) -> tuple[np.ndarray, tuple[str, ...]]:
    """What :func:`grouped_folds` keeps together: a group number for each clip, and the genres of a single artist,
    whose recordings and replicas are kept together, but not the artist: nothing would be left to learn from."""
    groups, _, alone = _separable(corpus, lambda sizes: (sizes > 0).sum() == 1)
    group_of = {clip: number for number, group in enumerate(groups) for clip in group}
    return np.array([group_of[clip] for clip in corpus.ids]), alone


def grouped_folds(corpus: Corpus, k: int = 5, seed: int = 0) -> list[Split]:
    """`k` folds for cross-validation, groups of one origin kept together (:func:`fold_groups`); ``val`` is empty."""
    groups, alone = fold_groups(corpus)
    ids = np.array(corpus.ids)
    folds = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    try:
        pairs = list(folds.split(ids, corpus.labels(corpus.ids), groups))
    except ValueError as error:
        raise CorpusError(f"{corpus.name} cannot be cut into {k} folds: {error}") from error
    note = f"; one artist only, and so not separated: {', '.join(alone)}" if alone else ""
    about = f"artist-grouped {k}-fold cross-validation, seed {seed}{note}"
    return [
        Split(f"fold {i} of {k}", tuple(ids[train].tolist()), (), tuple(ids[test].tolist()), about)
        for i, (train, test) in enumerate(pairs, 1)
    ]


def make_split(corpus: Corpus, profile: Profile) -> Split:
    """The split of `profile`; a CorpusError if it is about GTZAN's 1000 clips and `corpus` lacks some of them."""
    if profile.split == "artist":
        return artist_split(corpus, profile.split_seed)
    if profile.split == "random":
        return random_split(corpus, profile.split_seed)
    if profile.split not in GTZAN_SPLITS:
        raise ProfileError(f"unknown split {profile.split!r}: choose {', '.join((*SPLITS, *GTZAN_SPLITS))}")
    whole = gtzan_split(profile.split)
    parts = {part: tuple(clip for clip in getattr(whole, part) if _genre(clip) in corpus.genres) for part in PARTS}
    split = replace(whole, **parts)
    if absent := [clip for clip in split.ids if clip not in corpus]:
        raise CorpusError(
            f"{corpus.name} lacks {len(absent)} of the clips of the split {split.name!r}, {absent[0]} for one: "
            "use the whole GTZAN (profile gtzan), or a profile with the split 'artist'."
        )
    return split


def leakage(split: Split, source: Corpus | Faults | None = None, part: str = "test") -> dict[str, int]:
    """How many clips of a part, ``test`` or ``val``, have something in training that gives them away.

    `source` says where origins are known from: by default GTZAN's documented faults. Counts ``clips`` (in the part),
    ``copy`` (of the excerpt), ``same_song`` (an excerpt of the same recording or song), ``same_artist``,
    ``artist_known``, ``same_clip`` (another window of the same clip).
    """
    if isinstance(source, Corpus):
        replicas = source.faults.get("replicas", ())
        songs = [*source.faults.get("same_recording", ()), *_sharing(source, "recording")]
        artist_of = {clip.id: clip.artist for clip in source if clip.artist}
    else:
        known = source or gtzan_faults()
        replicas, songs, artist_of = known.replicas, known.same_recording, known.artists
    train = {clip_of(clip) for clip in split.train}
    tested = [clip_of(clip) for clip in getattr(split, part)]

    def partners(groups) -> set[str]:
        """Clips with another member of one of their groups in training."""
        return {clip for group in groups for clip in group if (set(group) - {clip}) & train}

    artists = {artist_of[clip] for clip in train if clip in artist_of}
    giving_away = {
        "copy": partners(replicas),
        "same_song": partners(songs),
        "same_artist": {clip for clip, artist in artist_of.items() if artist in artists},
        "artist_known": set(artist_of),
        "same_clip": train,
    }
    return {"clips": len(tested)} | {name: sum(clip in some for clip in tested) for name, some in giving_away.items()}

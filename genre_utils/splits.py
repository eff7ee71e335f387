"""Splits: the study's two, the fault-filtered one, artist-grouped ones, and what each of them leaks."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from genre_utils.corpora import Corpus
from genre_utils.corpora.faults import Faults, gtzan_faults
from genre_utils.errors import CorpusError, ProfileError
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES, GTZAN_SPLITS, SPLITS, Profile

#: Shares of training, validation and test clips in the book's own splits.
FRACTIONS = (0.6, 0.15, 0.25)


@dataclass(frozen=True)
class Split:
    """Three disjoint lists of clip ids, and how they came about."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    provenance: str

    @property
    def counts(self) -> dict[str, int]:
        """Number of clips in each part."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    @property
    def ids(self) -> tuple[str, ...]:
        """All clips: training, then validation, then test."""
        return self.train + self.val + self.test

    def check(self) -> Split:
        """The split itself, if no clip occurs twice and neither training nor test is empty.

        Raises
        ------
        CorpusError
            Naming clips that occur more than once.
        """
        if not self.train or not self.test:
            raise CorpusError(
                f"split {self.name!r} has an empty part: {self.counts}. The corpus is too small."
            )
        ids = self.ids
        if len(set(ids)) != len(ids):
            seen: set[str] = set()
            twice = sorted({clip for clip in ids if clip in seen or seen.add(clip)})
            raise CorpusError(
                f"split {self.name!r} holds {len(twice)} clips more than once, {twice[0]!r} for one: its parts "
                "must be disjoint, or the test score is a memory test."
            )
        return self


@lru_cache(maxsize=1)
def _recorded() -> dict:
    return json.loads(package_data("splits.json").read_text(encoding="utf-8"))


def gtzan_ids() -> tuple[str, ...]:
    """The 999 usable clips of GTZAN, by genre and number: all but jazz.00054, whose file is damaged."""
    ids = (f"{genre}.{number:05d}" for genre in GENRES for number in range(100))
    return tuple(clip for clip in ids if clip != "jazz.00054")


def _genre(clip: str) -> str:
    return clip.split(".", 1)[0]


def _stratified(ids, genres, fractions, seed: int) -> tuple[tuple[str, ...], ...]:
    from sklearn.model_selection import train_test_split

    train, rest, _, rest_genres = train_test_split(
        ids, genres, test_size=1 - fractions[0], stratify=genres, random_state=seed
    )
    val, test = train_test_split(
        rest, test_size=fractions[2] / (fractions[1] + fractions[2]), stratify=rest_genres, random_state=seed
    )
    return tuple(train), tuple(val), tuple(test)


def _check_fractions(fractions) -> None:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ProfileError(f"a split needs three positive shares that add up to 1, not {fractions}")


def cnn_split() -> Split:
    """The study's CNN split, 699/150/150: recomputed from its recipe and checked against its digest.

    Raises
    ------
    CorpusError
        If this scikit-learn shuffles differently from the one that made it.
    """
    record = _recorded()["cnn"]
    ids = list(gtzan_ids())
    train, val, test = _stratified(ids, [_genre(clip) for clip in ids], (0.70, 0.15, 0.15), seed=42)
    digest = hashlib.sha256(json.dumps([train, val, test]).encode()).hexdigest()
    if digest != record["sha256"]:
        raise CorpusError(
            "this version of scikit-learn no longer reproduces the study's CNN split (its digest differs): "
            "install the version in requirements.lock."
        )
    return Split("cnn", train, val, test, record["source"]).check()


def wav2vec_split() -> Split:
    """The study's wav2vec split, 798/97/100, as recorded: it was shuffled without a seed."""
    record = _recorded()["wav2vec"]
    return Split(
        "wav2vec", *(tuple(record[part]) for part in ("train", "val", "test")), record["source"]
    ).check()


def filtered_split() -> Split:
    """The fault-filtered split of Kereliuk, Sturm and Larsen (2015): 442/197/290, no artist on two sides.

    Its training list names jazz.00054, which is left out here, by name, because its file is damaged.
    """
    record = _recorded()["filtered"]
    usable = set(gtzan_ids())
    parts = (tuple(c for c in record[part] if c in usable) for part in ("train", "val", "test"))
    return Split("filtered", *parts, record["source"] + "; without jazz.00054").check()


def random_split(corpus: Corpus, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """Clips drawn at random within each genre: the usual way, blind to artists and replicas."""
    _check_fractions(fractions)
    genres = [clip.genre for clip in corpus]
    try:
        parts = _stratified(list(corpus.ids), genres, fractions, seed)
    except ValueError as error:
        raise CorpusError(f"{corpus.name} has too few clips to split {fractions}: {error}") from error
    return Split("random", *parts, f"stratified by genre at random, seed {seed}").check()


# --- groups of clips that must stay together -------------------------------------------------------------


def origin_groups(corpus: Corpus, *, artists: bool | Callable[[str], bool] = True) -> list[tuple[str, ...]]:
    """Clips that share an origin, as disjoint groups in corpus order; a clip of unknown origin is its own.

    Parameters
    ----------
    artists : bool or callable
        Whether an artist in common joins clips (or, for which genre). Copies and excerpts of one recording
        always do.
    """
    parent = {clip: clip for clip in corpus.ids}

    def root(clip: str) -> str:
        while parent[clip] != clip:
            parent[clip] = clip = parent[parent[clip]]
        return clip

    def join(group: Iterable[str]) -> None:
        group = [clip for clip in group if clip in parent]
        for other in group[1:]:
            parent[root(other)] = root(group[0])

    by_key = defaultdict(list)
    for clip in corpus:
        if clip.recording:
            by_key["recording", clip.recording].append(clip.id)
        if clip.artist and (artists(clip.genre) if callable(artists) else artists):
            by_key["artist", clip.artist].append(clip.id)
    for group in (
        *by_key.values(),
        *corpus.faults.get("replicas", ()),
        *corpus.faults.get("same_recording", ()),
    ):
        join(group)
    groups = defaultdict(list)
    for clip in corpus.ids:
        groups[root(clip)].append(clip)
    return [tuple(group) for group in groups.values()]


def _allocate(tables: np.ndarray, fractions, rng: np.random.Generator, restarts: int = 64) -> np.ndarray:
    """Part (0, 1, 2) of each group so that every genre is shared out as `fractions` ask, as far as it goes.

    `tables` is (groups, genres): clips of each genre in each group. Greedy, large groups first, each to the
    part that lacks most; the best of many random orders.
    """
    wanted = np.outer(fractions, tables.sum(axis=0))
    scale = np.maximum(wanted, 1e-9)
    best, best_cost = None, np.inf
    for _ in range(restarts):
        order = np.argsort(-tables.sum(axis=1) + rng.uniform(0, 2, len(tables)), kind="stable")
        have, part_of = np.zeros_like(wanted), np.empty(len(tables), dtype=int)
        for group in order:
            after = have[:, None, :] + np.eye(3)[:, :, None] * tables[group]
            cost = (((after - wanted[:, None, :]) / np.sqrt(scale[:, None, :])) ** 2).sum(axis=(0, 2))
            part_of[group] = part = int(np.argmin(cost + rng.uniform(0, 1e-6, 3)))
            have[part] += tables[group]
        # An empty part of a genre costs more than any imbalance: that genre could not be tested at all.
        cost = (((have - wanted) ** 2) / scale).sum() + 1e3 * ((have == 0) & (wanted > 0)).sum()
        if cost < best_cost:
            best, best_cost = part_of, cost
    return best


def artist_split(corpus: Corpus, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS) -> Split:
    """Artists, recordings and replicas each on one side only, genres as evenly shared out as that allows.

    A clip whose artist is unknown counts as an artist of its own. Where one artist dominates a genre so far
    that training, validation and test cannot each get a share (in gtzan-mini all ten blues clips are John Lee
    Hooker's), that genre's artists may appear on several sides; its recordings and replicas still may not.
    The provenance names those genres.
    """
    _check_fractions(fractions)
    clip_genre = {clip.id: clip.genre for clip in corpus}
    sizes = {genre: sum(clip.genre == genre for clip in corpus) for genre in corpus.genres}
    relaxed = []
    strict = origin_groups(corpus)
    for genre in corpus.genres:
        largest = sorted((sum(clip_genre[c] == genre for c in group) for group in strict), reverse=True)
        rest = sizes[genre] - largest[0]
        # The largest group can go to training; the others must fill validation and test at least by half.
        if sizes[genre] and (
            len([n for n in largest if n]) < 3 or rest < 0.5 * (1 - fractions[0]) * sizes[genre]
        ):
            relaxed.append(genre)
    groups = origin_groups(corpus, artists=lambda genre: genre not in relaxed)
    column = {genre: i for i, genre in enumerate(corpus.genres)}
    tables = np.zeros((len(groups), len(corpus.genres)))
    for row, group in zip(tables, groups, strict=True):
        for clip in group:
            row[column[clip_genre[clip]]] += 1
    part_of = _allocate(tables, fractions, np.random.default_rng(seed))
    parts: tuple[list[str], ...] = ([], [], [])
    for group, part in zip(groups, part_of, strict=True):
        parts[part].extend(group)
    place = {clip: i for i, clip in enumerate(corpus.ids)}
    note = f"; artists not separated within {', '.join(relaxed)} (too few there)" if relaxed else ""
    return Split(
        "artist",
        *(tuple(sorted(part, key=place.__getitem__)) for part in parts),
        f"grouped by artist, recording and replica, seed {seed}{note}",
    ).check()


def fold_groups(corpus: Corpus) -> tuple[np.ndarray, tuple[str, ...]]:
    """What :func:`grouped_folds` keeps together: a group number for each clip, and the genres of a single artist.

    A genre whose clips are all of one artist could never be recognised if that artist were kept together: its
    recordings and replicas are, the artist is not.
    """
    first = {genre: set() for genre in corpus.genres}
    for number, group in enumerate(origin_groups(corpus)):
        for clip in group:
            first[corpus[clip].genre].add(number)
    alone = tuple(genre for genre, numbers in first.items() if len(numbers) == 1)
    groups = origin_groups(corpus, artists=lambda genre: genre not in alone)
    group_of = {clip: number for number, group in enumerate(groups) for clip in group}
    return np.array([group_of[clip] for clip in corpus.ids]), alone


def grouped_folds(corpus: Corpus, k: int = 5, seed: int = 0) -> list[Split]:
    """`k` folds for cross-validation, groups of one origin kept together; ``val`` of each is empty.

    The provenance names the genres within which artists could not be separated (:func:`fold_groups`).
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups, alone = fold_groups(corpus)
    ids = np.array(corpus.ids)
    labels = corpus.labels(corpus.ids)
    folds = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    try:
        pairs = list(folds.split(ids, labels, groups))
    except ValueError as error:
        raise CorpusError(f"{corpus.name} cannot be cut into {k} folds: {error}") from error
    note = f"; one artist only, and so not separated: {', '.join(alone)}" if alone else ""
    return [
        Split(
            f"fold {i + 1} of {k}",
            tuple(map(str, ids[train])),
            (),
            tuple(map(str, ids[test])),
            f"artist-grouped {k}-fold cross-validation, seed {seed}{note}",
        ).check()
        for i, (train, test) in enumerate(pairs)
    ]


def window_split(
    corpus: Corpus, windows: int = 3, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS
) -> Split:
    """The trap: cut every clip into `windows` excerpts and draw those at random.

    Its ids are ``<clip>@<window>`` (see :func:`clip_of`): parts of one clip end up on several sides.
    """
    _check_fractions(fractions)
    ids = [f"{clip.id}@{i}" for clip in corpus for i in range(windows)]
    genres = [clip.genre for clip in corpus for _ in range(windows)]
    parts = _stratified(ids, genres, fractions, seed)
    return Split(
        "window", *parts, f"{windows} windows a clip, stratified by genre at random, seed {seed}"
    ).check()


def clip_of(window_id: str) -> str:
    """The clip of a window id of :func:`window_split`; a clip id is its own."""
    return window_id.split("@", 1)[0]


def make_split(corpus: Corpus, profile: Profile) -> Split:
    """The default split of `profile`, on `corpus`.

    Raises
    ------
    CorpusError
        If the split is about GTZAN's 1000 clips and `corpus` lacks some of them.
    ProfileError
        If there is no such split.
    """
    if profile.split == "artist":
        return artist_split(corpus, profile.split_seed)
    if profile.split == "random":
        return random_split(corpus, profile.split_seed)
    if profile.split not in RECORDED:
        raise ProfileError(f"unknown split {profile.split!r}: choose {', '.join(SPLITS + GTZAN_SPLITS)}")
    whole = RECORDED[profile.split]()
    parts = {part: tuple(c for c in getattr(whole, part) if _genre(c) in corpus.genres) for part in ("train", "val", "test")}
    split = replace(whole, **parts)
    absent = [clip for clip in split.ids if clip not in corpus]
    if absent:
        raise CorpusError(
            f"{corpus.name} lacks {len(absent)} of the clips of the split {split.name!r}, {absent[0]} for one: "
            "use the whole GTZAN (profile gtzan), or a profile with the split 'artist'."
        )
    return split.check()


#: The splits that are lists of GTZAN's clips.
RECORDED: dict[str, Callable[[], Split]] = {"cnn": cnn_split, "wav2vec": wav2vec_split, "filtered": filtered_split}

# --- leakage ---------------------------------------------------------------------------------------------


def leakage(split: Split, source: Corpus | Faults | None = None, part: str = "test") -> dict[str, int]:
    """How many clips of a part have something in training that gives them away.

    Parameters
    ----------
    source : Corpus or Faults, optional
        Where origins are known from; GTZAN's documented faults by default.
    part : str
        ``test`` or ``val``.

    Returns
    -------
    dict
        ``n_test`` (clips in the part), ``replica_in_train`` (a copy of the excerpt), ``same_song_in_train``
        (an excerpt of the same recording or song), ``same_artist_in_train``, ``artist_known``,
        ``same_clip_in_train`` (another window of the same clip).
    """
    source = gtzan_faults() if source is None else source
    if isinstance(source, Faults):
        replicas, songs, artist_of = source.replicas, list(source.same_recording), source.artists
    else:
        replicas = source.faults.get("replicas", ())
        songs = list(source.faults.get("same_recording", ()))
        recordings = defaultdict(list)
        for clip in source:
            if clip.recording:
                recordings[clip.recording].append(clip.id)
        songs.extend(recordings.values())
        artist_of = {clip.id: clip.artist for clip in source if clip.artist}
    train = {clip_of(clip) for clip in split.train}
    tested = [clip_of(clip) for clip in getattr(split, part)]

    def partners(groups) -> set[str]:
        """Clips with another member of one of their groups in training."""
        return {clip for group in groups for clip in group if (set(group) - {clip}) & train}

    copied, sung = partners(replicas), partners(songs)
    artists = {artist_of[clip] for clip in train if clip in artist_of}
    return {
        "n_test": len(tested),
        "replica_in_train": sum(clip in copied for clip in tested),
        "same_song_in_train": sum(clip in sung for clip in tested),
        "same_artist_in_train": sum(artist_of.get(clip) in artists for clip in tested),
        "artist_known": sum(clip in artist_of for clip in tested),
        "same_clip_in_train": sum(clip in train for clip in tested),
    }

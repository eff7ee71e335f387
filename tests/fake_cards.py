"""Run records of a toy corpus, for the tests of what reads them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from genre_utils.identity import CONCERNS, OPTIONS, identity
from genre_utils.profiles import GENRES
from genre_utils.records import RECORD, RunCard
from genre_utils.study import reported

IDS = tuple(f"{genre}.{i:05d}" for genre in GENRES for i in range(3))


class FakeCorpus:
    """Just enough of a corpus for a record: labels, artists, a fingerprint."""

    fingerprint = "f" * 64

    def __init__(self, artists: bool = True, name: str = "toy", genres: tuple[str, ...] = GENRES) -> None:
        self.artists, self.name, self.genres = artists, name, genres

    def __len__(self) -> int:
        return 100

    def __getitem__(self, clip):
        artist = f"artist {int(clip[-1]) % 2} of {clip[:4]}" if self.artists else None
        return SimpleNamespace(genre=clip.split(".")[0], artist=artist)

    def labels(self, ids):
        return np.array([self.genres.index(self[clip].genre) for clip in ids])


def make_card(approach="cnn", seed=0, ids=IDS, rate=0.7, corpus=None, fingerprint="b" * 64, hits=None, **more) -> RunCard:
    """A record in which a share `rate` of the clips (or just `hits`) is right, by chance.

    `more` holds the options of the run (profile, split, backbone, protocol, genres) and what else a record takes.
    """
    options = {name: more.pop(name) for name in ("profile", *OPTIONS) if name in more}
    run = identity(seed=seed, **options)
    corpus = corpus or FakeCorpus(genres=run.profile.genres)
    ids, k = [clip for clip in ids if corpus[clip].genre in corpus.genres], len(corpus.genres)
    y = corpus.labels(ids)
    right = np.random.default_rng([seed, len(approach)]).random(len(ids)) < rate if hits is None else hits
    probabilities = np.full((len(ids), k), 0.27 / (k - 1))
    probabilities[np.arange(len(ids)), np.where(right, y, (y + 1) % k)] = 0.73
    split = SimpleNamespace(
        name=run.profile.split, counts={"train": 60, "val": 10, "test": len(ids)}, provenance="a test", test=tuple(ids)
    )
    known = fingerprint if "backbone" in CONCERNS[approach] else None
    return RunCard.from_probabilities(approach, run, corpus, split, probabilities, fingerprint=known, **more)


def gtzan_card(approach="full", wrong=0, **more) -> RunCard:
    """A run on the study's wav2vec test clips with the first `wrong` of them wrong."""
    ids = reported.predictions("full")[0]
    about = {"profile": "gtzan", "split": "wav2vec", "corpus": FakeCorpus(name="gtzan")}
    return make_card(approach, ids=ids, hits=np.arange(len(ids)) >= wrong, **(about | more))


def leave(approach="cnn", seed=0, **more) -> RunCard:
    """A record where a run leaves it."""
    options = {name: more[name] for name in ("profile", *OPTIONS) if name in more}
    card = make_card(approach, seed, **more)
    card.save(identity(seed=seed, **options).folder(approach) / RECORD)
    return card


def record(folder: Path, *cards: RunCard) -> None:
    """Records as the book keeps them in `folder`."""
    for card in cards:
        card.save(folder / f"{card.approach}-seed{card.seed}.json")

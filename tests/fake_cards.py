"""Run records of a toy corpus, for the tests of what reads them."""

from types import SimpleNamespace

import numpy as np

from genre_utils import runs
from genre_utils.profiles import GENRES, get_profile

PROFILE = get_profile("mini")
IDS = tuple(f"{genre}.{i:05d}" for genre in GENRES for i in range(3))


class FakeCorpus:
    """Just enough of a corpus for a record: labels, artists, a fingerprint."""

    name, fingerprint, genres = "toy", "f" * 64, GENRES

    def __init__(self, artists: bool = True) -> None:
        self.artists = artists

    def __len__(self) -> int:
        return 100

    def __getitem__(self, clip):
        return SimpleNamespace(artist=f"artist {int(clip[-1]) % 2} of {clip[:4]}" if self.artists else None)

    def labels(self, ids):
        return np.array([GENRES.index(clip.split(".")[0]) for clip in ids])


SPLIT = SimpleNamespace(name="artist", counts={"train": 60, "val": 10, "test": 30}, provenance="a test")


def make_card(approach="cnn", seed=0, ids=IDS, rate=0.7, corpus=None, **more) -> runs.RunCard:
    corpus = corpus or FakeCorpus()
    rng = np.random.default_rng([seed, len(approach)])
    y = corpus.labels(ids)
    p = np.where(rng.random(len(ids)) < rate, y, (y + 1) % 10)
    probabilities = np.full((len(ids), 10), 0.03)
    probabilities[np.arange(len(ids)), p] = 0.73
    return runs.RunCard.from_probabilities(approach, PROFILE, corpus, SPLIT, seed, ids, probabilities, **more)

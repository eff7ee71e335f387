"""The record of one run: a prediction for every test clip, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.evaluation import Interval
from genre_utils.identity import CONCERNS, Identity
from genre_utils.paths import recorded_dir, runs_dir
from genre_utils.profiles import GENRES, GTZAN_SPLITS
from genre_utils.provenance import Cost, Strict, origin
from genre_utils.records.base import CorpusInfo, Record, Saved, plain, read_json

#: File name of the record of a run, in the folder of the run.
RECORD = "record.json"
Approach = Literal["svm", "cnn", "musicnn", "head-only", "full"]

#: What the approaches are called in tables and figures, in the order in which they are shown.
TITLES: dict[str, str] = {
    "svm": "SVM on clip statistics",
    "cnn": "CNN on mel-spectrograms",
    "musicnn": "MusiCNN, frozen",
    "head-only": "wav2vec 2.0, head only",
    "full": "wav2vec 2.0, fine-tuned",
}


class SplitInfo(Strict):
    """The split of a run: clips in ``train``, ``val`` and ``test``, and where the split comes from."""

    name: str
    counts: dict[str, int]
    provenance: str


class Prediction(Strict):
    """One test clip: its label, artist, predicted genre, and the score of each genre (they sum to 1)."""

    clip: str
    artist: str | None = None
    genre: str
    predicted: str
    probabilities: list[float]


class RunCard(Record):
    """The record of one run of one approach, complete enough to compare it without running it again."""

    approach: Approach
    profile: str
    corpus: CorpusInfo
    split: SplitInfo
    #: ``name`` and ``fingerprint`` of the pre-trained network, where there is one.
    backbone: dict[str, Any] | None = None
    protocol: str = "corrected"
    genres: list[str] = Field(default=list(GENRES))
    seed: int = Field(ge=0)
    settings: dict[str, Any] = Field(default={})
    predictions: list[Prediction] = Field(min_length=1)
    cost: Cost = Cost()
    history: list[dict[str, Any]] = Field(default=[])

    @model_validator(mode="after")
    def _predictions_fit_the_genres(self) -> RunCard:
        for row in self.predictions:
            if not {row.genre, row.predicted} <= set(self.genres) or len(row.probabilities) != len(self.genres):
                raise ValueError(f"the prediction of {row.clip} does not fit the genres {self.genres}")
            leads = self.genres[int(np.argmax(row.probabilities))]
            if not abs(sum(row.probabilities) - 1) <= 1e-2 or min(row.probabilities) < 0 or leads != row.predicted:
                raise ValueError(
                    f"the scores of {row.clip} do not add up to 1, or another genre leads than {row.predicted}"
                )
        if len(set(self.ids)) != len(self.predictions):
            raise ValueError("a clip is predicted twice")
        return self

    @classmethod
    def from_probabilities(
        cls, approach: Approach, run: Identity, corpus, split, probabilities: np.ndarray, *,
        settings: Mapping[str, Any] | None = None, cost: Cost | None = None,
        history: Sequence[Mapping[str, Any]] = (), fingerprint: str | None = None,
    ) -> RunCard:  # fmt: skip
        """The record of a run, from its scores on the test clips of `split`.

        `probabilities`, shape (n_test, n_genres), are finite and sum to 1 in each row, or it is a RunError; the largest
        is the predicted genre. `fingerprint` is that of the backbone, for the approaches that have one.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        shape = (len(split.test), len(corpus.genres))
        if probabilities.shape != shape or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
            raise RunError(
                f"the {approach} predictions are no {shape[0]} x {shape[1]} table of probabilities "
                f"(shape {probabilities.shape}): each clip needs a finite score per genre, summing to 1"
            )
        about = run.about if "backbone" in CONCERNS[approach] else {"protocol": "corrected"}
        return cls(
            approach=approach,
            profile=run.profile.name,
            corpus=CorpusInfo(name=corpus.name, fingerprint=corpus.fingerprint, clips=len(corpus)),
            split=SplitInfo(name=split.name, counts=dict(split.counts), provenance=split.provenance),
            backbone={"name": about["backbone"], "fingerprint": fingerprint} if fingerprint else None,
            protocol=about["protocol"],
            genres=list(corpus.genres),
            seed=run.seed,
            settings=plain(settings or {}),
            **origin(),
            predictions=[
                Prediction(
                    clip=clip, artist=corpus[clip].artist, genre=corpus[clip].genre,
                    predicted=corpus.genres[int(row.argmax())], probabilities=row.tolist(),
                )
                for clip, row in zip(split.test, probabilities.round(5), strict=True)
            ],
            cost=cost or Cost(),
            history=plain(list(history)),
        )

    @property
    def title(self) -> str:
        """What the approach is called; the book's own backbone is called what it is."""
        small = "our small " if self.backbone and self.backbone["name"] == "shipped" else ""
        return small + TITLES[self.approach] + ("" if self.protocol == "corrected" else f" (protocol {self.protocol})")

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(row.clip for row in self.predictions)

    @property
    def artists(self) -> list[str] | None:
        """Artist of each clip (an unknown one is an artist of its own), or None if none is known."""
        known = any(row.artist for row in self.predictions)
        return [row.artist or row.clip for row in self.predictions] if known else None

    @cached_property
    def y(self) -> np.ndarray:
        """Labels, shape (n,)."""
        return np.array([self.genres.index(row.genre) for row in self.predictions])

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predicted classes, shape (n,)."""
        return np.array([self.genres.index(row.predicted) for row in self.predictions])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Scores, shape (n, n_genres)."""
        return np.array([row.probabilities for row in self.predictions])

    @cached_property
    def accuracy(self) -> Interval:
        """Share of test clips named correctly, with Wilson's interval."""
        return evaluation.wilson(int((self.y == self.predicted).sum()), len(self.y))

    @cached_property
    def accuracy_by_artist(self) -> Interval:
        """The same with an interval that draws whole artists (clips, where none is known)."""
        return evaluation.bootstrap(self.y == self.predicted, groups=self.artists)

    @cached_property
    def macro_f1(self) -> Interval:
        return evaluation.f1_bootstrap(self.y, self.predicted, self.artists)

    @cached_property
    def per_genre(self) -> pd.DataFrame:
        """See :func:`genre_utils.evaluation.per_genre`."""
        return evaluation.per_genre(self.y, self.predicted, self.genres, self.artists)

    def is_of(self, run: Identity) -> bool:
        """Whether this is a record of `run` with any seed."""
        about = run.about
        mine = {
            "split": self.split.name,
            "backbone": (self.backbone or {}).get("name"),
            "protocol": self.protocol,
            "genres": "all ten" if tuple(self.genres) == GENRES else ", ".join(self.genres),
        }
        return self.profile == run.profile.name and all(mine[part] == about[part] for part in CONCERNS[self.approach])

    def __str__(self) -> str:
        return (
            f"{self.title}: accuracy {self.accuracy}, macro F1 {self.macro_f1.value:.3f} on "
            f"{len(self.predictions)} clips of {self.corpus.name} (profile {self.profile}, split {self.split.name}, "
            f"seed {self.seed})"
        )

    def check(self) -> RunCard:
        """The card itself; a RunError if its labels and clips are not those of the corpus and split that it names."""
        if self.corpus.name == "gtzan":
            from genre_utils.splits import gtzan_split

            if wrong := [row.clip for row in self.predictions if row.clip.split(".")[0] != row.genre]:
                raise RunError(f"{self}: {wrong[0]} is labelled otherwise than GTZAN labels it")
            if self.split.name in GTZAN_SPLITS:
                expected = {clip for clip in gtzan_split(self.split.name).test if clip.split(".")[0] in self.genres}
                if set(self.ids) != expected:
                    raise RunError(f"{self}: its clips are not the test clips of the split {self.split.name!r}")
        return self


class Bundle(Saved):
    """Several run records in one file: what a run elsewhere hands in (``python -m genre_utils export``)."""

    cards: list[RunCard] = Field(min_length=1)

    def save(self, path: Path | str) -> Path:
        """Write the bundle to `path`, if its cards stand their :meth:`RunCard.check`."""
        for card in self.cards:
            card.check()
        return super().save(path)


def own_cards(run: Identity | None = None) -> list[RunCard]:
    """The records of every run made here; of `run` with any seed, if it is given: then no other's can be in the way."""
    def without_seed(folder: str) -> str:
        return re.sub(r"\+seed-\d+$", "", folder)

    paths = sorted(runs_dir().glob(f"*/*/{RECORD}"))
    if run is not None:
        own = {(without_seed(run.name(concerns)), approach) for approach, concerns in CONCERNS.items()}
        paths = [path for path in paths if (without_seed(path.parts[-3]), path.parts[-2]) in own]
    cards = [RunCard.load(path) for path in paths]
    return cards if run is None else [card for card in cards if card.is_of(run)]


def read_cards(path: Path) -> list[RunCard]:
    """The checked cards in a file, one record or a bundle; a RunError if it is neither, or a card is wrong."""
    remedy = "export the run again: python -m genre_utils export"
    content = read_json(path, remedy)
    many = content.get("cards") if isinstance(content, dict) else None
    return [RunCard.parsed(card, path, remedy).check() for card in (many if many and isinstance(many, list) else [content])]


def recorded_cards() -> dict[str, list[RunCard]]:
    """Every run record that comes with the book: its folder or contributed file below ``book/results`` -> cards."""
    base, found = recorded_dir(), {}
    paths = base.glob("*/*.json") if base else ()
    for path in sorted(paths, key=lambda path: (path.parent.name == "contributed", path)):
        folder = path.parent.name
        if folder == "contributed":
            found[f"book/results/contributed/{path.name}"] = read_cards(path)
        elif folder not in ("experiments", "timing"):
            found.setdefault(f"book/results/{folder}", []).append(RunCard.load(path))
    return found

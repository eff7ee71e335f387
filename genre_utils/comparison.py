"""Run records that may be compared: one corpus, split, backbone and protocol, several seeds, one test set."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.evaluation import Interval
from genre_utils.identity import Identity
from genre_utils.records import TITLES, RunCard, own_cards, recorded_cards


@dataclass(frozen=True)
class Predictions:
    """Several cards on one test set, in one order of clips: labels and predicted classes (n,), scores (n, k)."""

    ids: tuple[str, ...]
    y: np.ndarray
    genres: tuple[str, ...]
    predicted: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    artists: list[str] | None

    @property
    def right(self) -> dict[str, np.ndarray]:
        """Hits, bool, shape (n,)."""
        return {name: p == self.y for name, p in self.predicted.items()}


def aligned(cards: Mapping[str, RunCard]) -> Predictions:
    """The predictions of all `cards` on their common test set; a RunError if two were scored on different ones."""
    if not cards:
        raise RunError("there is nothing to compare: run chapters 2, 4 and 5 first")
    first_name, first = next(iter(cards.items()))
    truth, order = {row.clip: row.genre for row in first.predictions}, {}
    for name, card in cards.items():
        labels = {row.clip: row.genre for row in card.predictions}
        if labels != truth or (card.corpus.name, card.genres) != (first.corpus.name, first.genres):
            raise RunError(
                f"{first_name} and {name} were not scored on the same test clips of the same corpus: {len(truth)} of "
                f"{first.corpus.name} and {len(labels)} of {card.corpus.name}, {len(truth.keys() & labels.keys())} in "
                "common. Run both chapters again with one profile."
            )
        order[name] = pd.Index(card.ids).get_indexer(first.ids)
    return Predictions(
        ids=first.ids,
        y=first.y,
        genres=tuple(first.genres),
        predicted={name: card.predicted[order[name]] for name, card in cards.items()},
        probabilities={name: card.probabilities[order[name]] for name, card in cards.items()},
        artists=first.artists,
    )


@dataclass(frozen=True)
class Comparison:
    """Cards of one corpus, split, set of genres, backbone and protocol."""

    #: Approach -> its cards by seed, in the order of :data:`genre_utils.records.TITLES`.
    runs: Mapping[str, Sequence[RunCard]]
    #: Folder or file they come from.
    place: str = ""
    #: By (approach, seed) the card that comes with the book, which is the one in `runs`, or the twin of one that was made here.
    recorded: Mapping[tuple[str, int], RunCard] = field(default_factory=dict, repr=False)

    @property
    def first(self) -> RunCard:
        return next(iter(self.runs.values()))[0]

    @property
    def corpus(self) -> str:
        return self.first.corpus.name

    @property
    def split(self) -> str:
        """Name of the split, with backbone and protocol where they are no matter of course."""
        cards = [card for some in self.runs.values() for card in some]
        names = [self.first.split.name, *dict.fromkeys(card.backbone["name"] for card in cards if card.backbone)]
        names += dict.fromkeys(f"protocol {card.protocol}" for card in cards if card.protocol != "corrected")
        return ", ".join(names)

    @property
    def complete(self) -> bool:
        """Whether it is all of GTZAN, so that its figures may be held against the study's."""
        return self.corpus == "gtzan" and len(self.first.genres) == 10

    @property
    def seeds(self) -> list[int]:
        return sorted({card.seed for cards in self.runs.values() for card in cards})

    @property
    def n(self) -> int:
        return len(self.first.predictions)

    def of_seed(self, seed: int) -> dict[str, RunCard]:
        """The card of each approach that has one with this seed."""
        return {a: card for a, cards in self.runs.items() for card in cards if card.seed == seed}

    def has(self, *approaches: str) -> list[int]:
        """The seeds that all of them were run on."""
        return sorted(set.intersection(*({card.seed for card in self.runs.get(a, ())} for a in approaches)))

    def predictions(self, *approaches: str):
        """Predictions (seeds, clips) of each approach on the seeds they share, labels, and artists."""
        shared = self.has(*approaches)
        both = aligned({f"{a}, seed {s}": self.of_seed(s)[a] for a in approaches for s in shared})
        rows = {a: np.stack([both.predicted[f"{a}, seed {s}"] for s in shared]) for a in approaches}
        return rows, both.y, both.artists

    def accuracy(self, approach: str) -> Interval:
        """Mean over the seeds; interval over clips (by artist where known) and, with several, seeds."""
        rows, y, artists = self.predictions(approach)
        return evaluation.bootstrap(rows[approach] == y, groups=artists)

    def lead(self, a: str, b: str, level: float = 0.95) -> Interval:
        """Accuracy of `a` minus that of `b` on equal clips and seeds."""
        rows, y, artists = self.predictions(a, b)
        draws = 2000 if level == 0.95 else 20_000
        return evaluation.bootstrap(rows[a] == y, rows[b] == y, artists, level=level, n=draws)

    def macro_f1(self, approach: str) -> Interval:
        rows, y, artists = self.predictions(approach)
        return evaluation.f1_bootstrap(y, rows[approach], artists)

    def f1(self, approach: str, genre: str) -> Interval:
        rows, y, _ = self.predictions(approach)
        return evaluation.f1_of_genre(y, rows[approach], self.first.genres.index(genre))

    def seconds(self, approach: str) -> float:
        """Of the quickest run, whatever else the machine had to do only adds to it; fine-tuning needs the head it starts from,
        unless that is a cold one."""
        warm = approach == "full" and self.runs["full"][0].settings.get("head start") != "cold"
        head = self.seconds("head-only") if warm and "head-only" in self.runs else 0
        return min(card.cost.seconds for card in self.runs[approach]) + head

    def files(self, approaches: Iterable[str]) -> str:
        """Where the records of `approaches` lie, the first seed of each standing for all."""
        if self.place.endswith(".json"):
            return self.place
        return ", ".join(f"{self.place}/{name}-seed{self.runs[name][0].seed}.json" for name in approaches)

    def source(self, seed: int) -> str:
        """Which cards of `seed` were run here and which are recorded ones, in a sentence for the page."""
        sentences = []
        for here, words in ((True, "from this run"), (False, "recorded earlier, with the book")):
            found = self.of_seed(seed).items()
            cards = [card for a, card in found if (card is not self.recorded.get((a, seed))) == here]
            if cards:
                titles, dates = ", ".join(card.title for card in cards), sorted({card.created[:10] for card in cards})
                sentences.append(f"{titles}: {words} ({' to '.join(dict.fromkeys((dates[0], dates[-1])))})")
        return "; ".join(sentences)

    def against_recorded(self, seed: int) -> pd.DataFrame:
        """One row for each approach that ran here and has a recorded twin on the same clips: both accuracies, how many
        clips are judged otherwise, and whether that is more than chance (exact McNemar test of which run is right)."""
        rows = {}
        for approach, card in self.of_seed(seed).items():
            twin = self.recorded.get((approach, seed), card)
            if twin is card or set(twin.ids) != set(card.ids):
                continue
            both = aligned({"here": card, "recorded": twin})
            rows[card.title] = {
                "this run": str(card.accuracy),
                "recorded": str(twin.accuracy),
                "clips judged otherwise": f"{(both.predicted['here'] != both.predicted['recorded']).sum()} of {self.n}",
                "p": evaluation.mcnemar(*both.right.values())["p"],
            }
        return pd.DataFrame.from_dict(rows, orient="index")


def comparisons(cards: Iterable[RunCard], place: str = "") -> list[Comparison]:
    """Group cards by what may be compared; those without a backbone join every group of their test clips."""
    groups: dict[tuple, dict[str, list[RunCard]]] = {}
    for card in sorted(cards, key=lambda card: (list(TITLES).index(card.approach), card.seed)):
        test_set = (card.corpus.name, card.split.name, tuple(card.genres), frozenset(card.ids))
        network = (card.backbone["fingerprint"], card.protocol) if card.backbone else None
        groups.setdefault((test_set, network), {}).setdefault(card.approach, []).append(card)
    with_backbone = {test_set for test_set, network in groups if network}
    return [
        Comparison({**groups.get((test_set, None), {}), **found}, place)
        for (test_set, network), found in groups.items()
        if network or test_set not in with_backbone
    ]


def recorded_comparisons() -> list[Comparison]:
    """Those of every run record that comes with the book, contributed ones too."""
    return [one for place, cards in recorded_cards().items() for one in comparisons(cards, place)]


def of_run(run: Identity) -> Comparison:
    """All seeds of `run`: the records made here and, for approaches and seeds not run here, those of the book.

    A RunError if there is none, or if they are of more than one network under one name.
    """
    place = f"book/results/{run.profile.name}"
    recorded = {(card.approach, card.seed): card for card in recorded_cards().get(place, ()) if card.is_of(run)}
    own = {(card.approach, card.seed): card for card in own_cards(run)}
    groups = comparisons((recorded | own).values(), place)  # what ran here wins
    if not groups:
        raise RunError(
            f"there is no record of the run ({run}): run chapters 2, 4 and 5 first, for example with\n"
            f"    {command(run)}"
        )
    if len(groups) > 1:
        each = (f"{', '.join(one.runs)}: {one.n} clips, {one.split}, {one.first.created[:10]}" for one in groups)
        raise RunError(
            f"the records of the run ({run}) cannot be compared with each other, since their test clips or the weights "
            f"of their backbone differ ({'; '.join(each)}). Run its chapters 2, 4 and 5 again:\n    {command(run)}"
        )
    return replace(groups[0], recorded=recorded)


def command(run: Identity) -> str:
    """The command line that makes the records of `run`."""
    chosen = {name: str(value) for name, value in run.parameters().items() if value not in ("", 0)}
    options = " ".join(f"--{name} {shlex.quote(value)}" for name, value in chosen.items())
    return f"python -m genre_utils run {options} --chapters 2,4,5"

"""The record of an experiment: for each contestant and draw, which clips came out right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.evaluation import Interval
from genre_utils.paths import recorded_dir
from genre_utils.provenance import Strict
from genre_utils.records.base import CorpusInfo, Record

#: Names of contestants that chapters ask for.
RANDOM, LOG_MEL, SVM, CNN = "random weights", "log-mel statistics", "SVM on 57 statistics", "CNN from scratch"
STATISTICS, CHOI, MUSICNN = "57 statistics", "Choi's network", "MusiCNN, frozen"
PRE_TRAINED, TUNED = "pre-trained", "pre-trained, fine-tuned"
#: A set of clips: the genres of GTZAN that are complete in public copies of its parts.
FOUR = "four complete genres"


class Trial(Strict):
    """One contestant with one draw: for each clip of the record right ("1"), wrong ("0") or not tested ("-")."""

    contestant: str
    #: What is varied beside the contestant: the split, for example.
    condition: str = ""
    seed: int = 0
    #: Training clips.
    labels: int | None = None
    layer: int | None = None
    settings: dict[str, Any] = Field(default={})
    #: What it took, of all cores.
    seconds: float | None = None
    marks: str


_MARKS = {"1": 1.0, "0": 0.0, "-": np.nan}


class Experiment(Record):
    """The answer to one question of :mod:`genre_utils.experiments`, trial by trial."""

    question: str
    profile: str
    corpus: CorpusInfo
    #: Condition -> where its split comes from.
    provenance: dict[str, str]
    clips: list[str]
    #: Artist of each clip; a clip of unknown artist counts as an artist of its own.
    artists: list[str]
    #: Fingerprint of each backbone, by the contestant's name.
    backbones: dict[str, str] = Field(default={})
    settings: dict[str, Any] = Field(default={})
    trials: list[Trial]

    @property
    def contestants(self) -> list[str]:
        return list(dict.fromkeys(trial.contestant for trial in self.trials))

    @property
    def conditions(self) -> list[str]:
        return list(dict.fromkeys(trial.condition for trial in self.trials))

    @property
    def sizes(self) -> list[int]:
        """Numbers of training clips, ascending."""
        return sorted({trial.labels for trial in self.trials} - {None})

    def trials_of(self, contestant: str, condition: str | None = None, labels=None) -> list[Trial]:
        """Trials of one contestant by seed; of the only condition and with most labels unless they are given."""
        found = [
            trial
            for trial in sorted(self.trials, key=lambda trial: trial.seed)
            if trial.contestant == contestant and condition in (None, trial.condition)
        ]
        if condition is None and len({trial.condition for trial in found}) > 1:
            raise RunError(f"the record on {self.question} knows {contestant!r} under {self.conditions}: name one")
        if labels is None and self.conditions == [""]:
            labels = max((trial.labels for trial in found if trial.labels is not None), default=None)
        found = [trial for trial in found if labels in (None, trial.labels)]
        if not found:
            under = "" if self.conditions == [""] else f" under {self.conditions}"
            raise RunError(
                f"the record on {self.question} has no {contestant!r} with {labels} labels; "
                f"it has {', '.join(self.contestants)} with {self.sizes}{under}"
            )
        return found

    def marks(self, contestant: str, condition: str | None = None, labels=None) -> np.ndarray:
        """Which clips each draw got right: (seeds, clips), 1, 0 or NaN (not tested)."""
        return np.array([[_MARKS[m] for m in t.marks] for t in self.trials_of(contestant, condition, labels)])

    def accuracy(self, contestant: str, against: str | None = None, *, condition: str | None = None, labels=None) -> Interval:
        """Mean accuracy of `contestant`, or its lead over `against`, with a 95 % interval.

        Over draws and artists where every draw tests the same clips, Wilson's of a single draw's accuracy, else the corrected
        t of :func:`genre_utils.evaluation.over_splits`.
        """
        marks, other = self.marks(contestant, condition, labels), None
        if against is not None:  # draw by draw: one that was broken off has not all of them
            mine, theirs = ([trial.seed for trial in self.trials_of(name, condition, labels)] for name in (contestant, against))
            marks, other = marks[np.isin(mine, theirs)], self.marks(against, condition, labels)[np.isin(theirs, mine)]
        some = np.isfinite(marks).any(axis=0)
        if (len(marks) > 1 or other is not None) and np.isfinite(marks[:, some]).all():
            groups = [artist for artist, tested in zip(self.artists, some, strict=True) if tested]
            return evaluation.bootstrap(marks[:, some], None if other is None else other[:, some], groups)
        tested = int(np.isfinite(marks[0]).sum())
        if len(marks) == 1 and other is None:
            return evaluation.wilson(int(np.nansum(marks)), tested)
        scores = np.nanmean(marks, axis=1) - (0 if other is None else np.nanmean(other, axis=1))
        return evaluation.over_splits(scores, self.trials_of(contestant, condition, labels)[0].labels, tested)

    def balanced_accuracy(self, contestant: str, condition: str) -> float:
        """Mean over the genres of the share of tested clips that `contestant` got right, all draws together."""
        found = pd.DataFrame(self.marks(contestant, condition).T).groupby([clip.split(".")[0] for clip in self.clips])
        return float(found.mean().mean(axis=1).mean())

    def has(self, contestant: str, condition: str) -> bool:
        """Whether `contestant` was tried under `condition`: a record may hold but some of its planned trials."""
        return any((trial.contestant, trial.condition) == (contestant, condition) for trial in self.trials)

    @classmethod
    def recorded(cls, question: str) -> Experiment:
        """The record on `question` that comes with the book; a RunError if it is missing or damaged."""
        folder = recorded_dir() or Path("book/results")
        remedy = "make it with: python " + ("workflow/scaling.py" if question == "scaling" else f"-m genre_utils measure {question}")
        return cls.load(folder / "experiments" / f"{question}.json", remedy)

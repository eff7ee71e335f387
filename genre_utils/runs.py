"""Run records: what ran, what came out, how sure we are and what it cost. One JSON file a run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.paths import project_root, recorded_dir, runs_dir
from genre_utils.profiles import GENRES

SCHEMA_VERSION = 1
_Record = TypeVar("_Record", bound=BaseModel)

Approach = Literal["svm", "cnn", "head-only", "full"]

#: What the approaches are called in tables and figures, in the order in which they are shown.
TITLES: dict[str, str] = {
    "svm": "SVM on clip statistics",
    "cnn": "CNN on mel-spectrograms",
    "head-only": "wav2vec 2.0, head only",
    "full": "wav2vec 2.0, fine-tuned",
}

_PACKAGES = (
    "torch", "transformers", "accelerate", "librosa", "soundfile", "numpy", "scipy", "scikit-learn",
    "statsmodels", "genre-utils",
)  # fmt: skip


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CorpusInfo(_Model):
    """The corpus of a run: its name, the SHA-256 over its clips, and how many they are."""

    name: str
    fingerprint: str
    clips: int = Field(gt=0)


class SplitInfo(_Model):
    """The split of a run: clips in ``train``, ``val`` and ``test``, and where the split comes from."""

    name: str
    counts: dict[str, int]
    provenance: str


class Prediction(_Model):
    """One test clip: its label, artist, predicted genre, and the score of each genre (they sum to 1)."""

    clip: str
    artist: str | None = None
    genre: str
    predicted: str
    probabilities: list[float]


class Metric(_Model):
    """A figure with its 95 % interval, the number of clips it rests on, and how the interval was made."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def interval(self) -> evaluation.Interval:
        return evaluation.Interval(**self.model_dump())


class GenreScore(_Model):
    """One row of the per-genre table: precision, recall and F1 with 95 % bounds."""

    genre: str
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    f1_low: float
    f1_high: float
    support: int


class Stage(_Model):
    """A timed part of a run. Memory is the peak of the process (RSS), and of the GPU where there is one."""

    name: str
    seconds: float = Field(ge=0)
    peak_memory_mb: float = Field(ge=0)
    peak_gpu_mb: float | None = None


class Cost(_Model):
    """What a run cost: its stages and the number of parameters trained and held."""

    stages: list[Stage] = []
    trainable_parameters: int | None = None
    total_parameters: int | None = None

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak_memory_mb(self) -> float | None:
        return max((stage.peak_memory_mb for stage in self.stages), default=None)


class RunCard(_Model):
    """The record of one run of one approach, complete enough to compare it without running it again."""

    schema_version: Literal[1] = SCHEMA_VERSION
    approach: Approach
    title: str
    #: Empty for the approach as the chapters run it; else what is different ("random backbone").
    variant: str = ""
    profile: str
    corpus: CorpusInfo
    split: SplitInfo
    seed: int = Field(ge=0)
    genres: list[str] = list(GENRES)
    settings: dict[str, Any] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    git_commit: str | None = None
    created: str
    backbone: dict[str, Any] | None = None
    predictions: list[Prediction] = Field(min_length=1)
    metrics: dict[str, Metric]
    per_genre: list[GenreScore]
    cost: Cost = Cost()
    history: list[dict[str, Any]] = []
    notes: list[str] = []

    @model_validator(mode="after")
    def _predictions_fit_the_genres(self) -> RunCard:
        names, clips = set(self.genres), set()
        for row in self.predictions:
            if not {row.genre, row.predicted} <= names or len(row.probabilities) != len(self.genres):
                raise ValueError(f"the prediction of {row.clip} does not fit the genres {self.genres}")
            clips.add(row.clip)
        if len(clips) != len(self.predictions):
            raise ValueError("a clip is predicted twice")
        return self

    @classmethod
    def from_probabilities(
        cls,
        approach: Approach,
        profile,
        corpus,
        split,
        seed: int,
        ids: Sequence[str],
        probabilities: np.ndarray,
        *,
        settings: Mapping[str, Any] | None = None,
        cost: Cost | Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        backbone: Mapping[str, Any] | None = None,
        groups: Sequence | None = None,
        variant: str = "",
        notes: Sequence[str] = (),
    ) -> RunCard:
        """Score the predictions of a run and record everything about it.

        Parameters
        ----------
        approach : {"svm", "cnn", "head-only", "full"}
        profile, corpus, split
            The :class:`~genre_utils.profiles.Profile`, :class:`~genre_utils.corpora.Corpus` and
            :class:`~genre_utils.splits.Split` of the run.
        ids : sequence of str, length n
            Test clips, in the order of `probabilities`.
        probabilities : ndarray, shape (n, n_genres)
            Class scores of each clip; rows sum to 1. The predicted genre is the largest.
        groups : sequence, optional
            Artist of each clip, for the clustered interval. By default those the corpus knows; a clip
            of unknown artist counts as an artist of its own.

        Raises
        ------
        RunError
            If the probabilities are not n rows of finite numbers that sum to 1.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        shape = (len(ids), len(corpus.genres))
        if probabilities.shape != shape or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
            raise RunError(
                f"the {approach} predictions are no {shape[0]} x {shape[1]} table of probabilities "
                f"(shape {probabilities.shape}): each clip needs a finite score per genre, summing to 1"
            )
        y, p = corpus.labels(ids), probabilities.argmax(axis=1)
        variant = variant or _variant(approach, profile)
        groups = _artists(corpus, ids) if groups is None else [str(group) for group in groups]
        genres = list(corpus.genres)
        return cls(
            approach=approach,
            title=TITLES[approach] + (f" ({variant})" if variant else ""),
            variant=variant,
            profile=profile.name,
            corpus=CorpusInfo(name=corpus.name, fingerprint=corpus.fingerprint, clips=len(corpus)),
            split=SplitInfo(name=split.name, counts=dict(split.counts), provenance=split.provenance),
            seed=seed,
            genres=genres,
            settings=_plain(dict(settings or {})),
            **origin(),
            backbone=_plain(dict(backbone)) if backbone else None,
            predictions=[
                Prediction(clip=clip, artist=who, genre=genres[a], predicted=genres[b], probabilities=row)
                for clip, who, a, b, row in zip(
                    ids, groups or [None] * len(ids), y, p, probabilities.round(5).tolist(), strict=True
                )
            ],
            metrics=_metrics(y, p, groups),
            per_genre=evaluation.per_genre(y, p, genres, groups).to_dict("records"),
            cost=Cost.model_validate(cost or {}),
            history=[_plain(dict(row)) for row in history],
            notes=list(notes),
        )

    @property
    def file_name(self) -> str:
        kind = f"{self.approach}-{'-'.join(self.variant.split())}" if self.variant else self.approach
        return f"{kind}-seed{self.seed}.json"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(row.clip for row in self.predictions)

    @property
    def y(self) -> np.ndarray:
        """Labels, shape (n,)."""
        return np.array([self.genres.index(row.genre) for row in self.predictions])

    @property
    def predicted(self) -> np.ndarray:
        """Predicted classes, shape (n,)."""
        return np.array([self.genres.index(row.predicted) for row in self.predictions])

    @property
    def probabilities(self) -> np.ndarray:
        """Scores, shape (n, n_genres)."""
        return np.array([row.probabilities for row in self.predictions])

    def interval(self, metric: str = "accuracy") -> evaluation.Interval:
        """The figure called `metric` with its interval."""
        return self.metrics[metric].interval()

    def per_genre_frame(self) -> pd.DataFrame:
        return pd.DataFrame([row.model_dump() for row in self.per_genre])

    def __str__(self) -> str:
        return (
            f"{self.title}: accuracy {self.interval()}, macro F1 {self.metrics['macro_f1'].value:.3f} on "
            f"{len(self.predictions)} clips of {self.corpus.name} (profile {self.profile}, seed {self.seed})"
        )

    def save(self, folder: Path | str | None = None) -> Path:
        """Write the card, whole or not at all, to ``<folder>/<approach>-seed<seed>.json``."""
        return write_record((Path(folder) if folder else runs_dir(self.profile)) / self.file_name, self)

    @classmethod
    def load(cls, path: Path | str) -> RunCard:
        """Read a card.

        Raises
        ------
        RunError
            If the file is missing, is no JSON, or is not a card of this schema version.
        """
        path = Path(path)
        again = f"Delete {path.name} and run its chapter again."
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"there is no run record {path}: run its chapter first") from None
        except (OSError, ValueError) as error:
            raise RunError(f"the run record {path} cannot be read ({error}). {again}") from error
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise RunError(f"{path} is a record of version {version}, this is version {SCHEMA_VERSION}. {again}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            raise RunError(f"{path} is not a run record: {where}: {first['msg']}. {again}") from error


class Bundle(_Model):
    """Several run records in one file: what a run elsewhere hands in (``python -m genre_utils export``)."""

    schema_version: Literal[1] = SCHEMA_VERSION
    cards: list[RunCard] = Field(min_length=1)

    def check(self) -> Bundle:
        """The bundle itself, if every card's figures follow from its predictions.

        Raises
        ------
        RunError
            Naming the card and what does not fit.
        """
        for card in self.cards:
            check_card(card)
        return self


def check_card(card: RunCard) -> None:
    """Raise a :class:`RunError` unless the card's figures follow from its predictions, and these from its split."""

    def refuse(why: str) -> None:
        raise RunError(f"{card.title}, seed {card.seed}, profile {card.profile}: {why}")

    if not np.array_equal(card.probabilities.argmax(axis=1), card.predicted):
        refuse("a predicted genre is not the one with the highest probability")
    right = int((card.predicted == card.y).sum())
    if not np.isclose(card.interval().value, right / len(card.y)):
        refuse(f"its accuracy is {card.interval().value:.4f}, its predictions give {right / len(card.y):.4f}")
    if not np.isclose(card.metrics["macro_f1"].value, evaluation.macro_f1(card.y, card.predicted)):
        refuse("its macro F1 does not follow from its predictions")
    if card.corpus.name == "gtzan":
        from genre_utils import splits

        if wrong := [row.clip for row in card.predictions if row.clip.split(".")[0] != row.genre]:
            refuse(f"{wrong[0]} is labelled otherwise than GTZAN labels it")
        known = {"cnn": splits.cnn_split, "wav2vec": splits.wav2vec_split, "filtered": splits.filtered_split}
        if card.split.name in known and set(card.ids) != set(known[card.split.name]().test):
            refuse(f"its clips are not the test clips of the split {card.split.name!r}")


def read_cards(path: Path) -> list[RunCard]:
    """The cards in a file: one record, or a bundle of several.

    Raises
    ------
    RunError
        If the file is missing or neither of both.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): export the run again") from error
    if isinstance(content, dict) and "cards" in content:
        return read_record(Bundle, path, "export the run again: python -m genre_utils export").check().cards
    return [RunCard.load(path)]


def recorded_cards() -> dict[str, list[RunCard]]:
    """Every run record that comes with the book: its folder or file below ``book/results`` -> cards."""
    base = recorded_dir("")
    if base is None:
        return {}
    found = {f"book/results/{folder.name}": cards_in(folder) for folder in sorted(base.iterdir()) if folder.is_dir()}
    found |= {f"book/results/contributed/{path.name}": read_cards(path) for path in sorted(base.glob("contributed/*.json"))}
    return {place: cards for place, cards in found.items() if cards}


def json_schema() -> dict[str, Any]:
    """JSON schema of an exported bundle of run records."""
    return Bundle.model_json_schema()


def _plain(value: Any) -> Any:
    """`value` with NumPy scalars, arrays, tuples and paths as plain JSON types."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None  # JSON has no NaN
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def write_record(path: Path, record: BaseModel) -> Path:
    """Write a record, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(_compact(record.model_dump(mode="json")), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunError(
            f"cannot write the run record {path}: {error.strerror or error}. "
            "Free some space, or choose another folder with the environment variable GENRE_UTILS_RUNS."
        ) from error
    return path


def read_record(kind: type[_Record], path: Path, remedy: str) -> _Record:
    """A record of an experiment, or a :class:`RunError` that names the file and the `remedy`."""
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"there is no record {path}; {remedy}") from None
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        raise RunError(f"the record {path} cannot be read ({str(error).splitlines()[0]}); {remedy}") from error


def _compact(content: dict) -> str:
    """JSON with one line a prediction, genre or epoch: small, and readable in a diff."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(f"  {line(row)}" for row in value)
            parts.append(f"{line(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{line(key)}: {line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _variant(approach: str, profile) -> str:
    """What a run of `profile` is called beside its approach: the protocol, where it is another than the book's."""
    protocol = getattr(profile, "protocol", "corrected")
    own = protocol == "corrected" or approach not in ("head-only", "full")
    return "" if own else f"protocol {protocol.replace(',', ' ')}"


def _artists(corpus, ids: Sequence[str]) -> list[str] | None:
    artists = [corpus[clip].artist for clip in ids]
    if not any(artists):
        return None
    return [artist or clip for artist, clip in zip(artists, ids, strict=True)]


def _metrics(y: np.ndarray, p: np.ndarray, groups: Sequence | None) -> dict[str, dict[str, Any]]:
    intervals = {
        "accuracy": evaluation.wilson(int((y == p).sum()), len(y)),
        "macro_f1": evaluation.bootstrap(evaluation.macro_f1, y, p, groups),
    }
    if groups is not None:
        intervals["accuracy_by_artist"] = evaluation.bootstrap(evaluation.accuracy, y, p, groups)
    return {name: vars(interval) for name, interval in intervals.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result may depend on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPU of this machine (nothing that identifies it)."""
    gpu = None
    torch = sys.modules.get("torch")  # asked only if a model was run
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(0)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def origin() -> dict[str, Any]:
    """What every record says of its making: versions, hardware, commit and time."""
    return {
        "versions": versions(),
        "hardware": hardware(),
        "git_commit": _git_commit(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    root = project_root()
    if root is None:
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


class Stopwatch:
    """Times the stages of a run and watches its memory.

    >>> watch = Stopwatch()
    >>> with watch.stage("train"):
    ...     pass
    >>> watch.cost(trainable=10, total=20).stages[0].name
    'train'
    """

    def __init__(self, interval_s: float = 0.05) -> None:
        self.stages: list[Stage] = []
        self._interval_s = interval_s

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the wall time and peak memory of the block, also when it raises."""
        process, peak, done = psutil.Process(), [0], threading.Event()

        def sample() -> None:
            while True:
                peak[0] = max(peak[0], process.memory_info().rss)
                if done.wait(self._interval_s):
                    return

        torch = sys.modules.get("torch")
        cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
        if cuda:
            cuda.reset_peak_memory_stats()
        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            done.set()
            sampler.join()
            peak[0] = max(peak[0], process.memory_info().rss)
            self.stages.append(
                Stage(
                    name=name,
                    seconds=round(seconds, 3),
                    peak_memory_mb=round(peak[0] / 2**20, 1),
                    peak_gpu_mb=round(cuda.max_memory_allocated() / 2**20, 1) if cuda else None,
                )
            )

    def cost(self, trainable: int | None = None, total: int | None = None) -> Cost:
        """The stages so far, with the parameters of the model."""
        return Cost(stages=list(self.stages), trainable_parameters=trainable, total_parameters=total)


@dataclass(frozen=True)
class Cards(Mapping[str, RunCard]):
    """The cards of one profile and seed, by approach and in the order of :data:`TITLES`.

    Attributes
    ----------
    source : str
        Which cards are this run's and which are recorded ones, in a sentence for the page.
    all : tuple of RunCard
        Every card found, other seeds and variants included.
    recorded : dict of RunCard
        By approach, the recorded twin of each card of this run that has one.
    """

    cards: dict[str, RunCard]
    source: str
    all: tuple[RunCard, ...] = field(repr=False, default=())
    recorded: dict[str, RunCard] = field(repr=False, default_factory=dict)

    def __getitem__(self, approach: str) -> RunCard:
        try:
            return self.cards[approach]
        except KeyError:
            raise RunError(f"there is no record of {approach!r}; there are: {', '.join(self.cards)}") from None

    def __contains__(self, approach: object) -> bool:
        return approach in self.cards

    def __iter__(self) -> Iterator[str]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)

    def frame(self) -> pd.DataFrame:
        """One row an approach: scores with intervals, seconds, memory and parameters."""
        return frame(self.cards.values())

    def against_recorded(self) -> pd.DataFrame:
        """One row for each approach that ran here and has a recorded twin on the same clips: both accuracies, how many
        clips are judged otherwise, and whether that is more than chance (exact McNemar test of which run is right)."""
        rows = {}
        for approach, twin in self.recorded.items():
            card = self.cards[approach]
            try:
                both = aligned({"here": card, "recorded": twin})
            except RunError:  # of other clips
                continue
            here, then = both.predicted.values()
            rows[card.title] = {
                "this run": str(card.interval()),
                "recorded": str(twin.interval()),
                "clips judged otherwise": f"{(here != then).sum()} of {len(both.ids)}",
                "p": evaluation.mcnemar(*both.right.values())["p"],
            }
        return pd.DataFrame.from_dict(rows, orient="index")


def frame(cards) -> pd.DataFrame:
    """One row a card: what was scored and what it cost."""
    rows = []
    for card in cards:
        score = card.interval()
        rows.append(
            {
                "approach": card.approach,
                "title": card.title,
                "seed": card.seed,
                "accuracy": score.value,
                "low": score.low,
                "high": score.high,
                "macro_f1": card.metrics["macro_f1"].value,
                "n": score.n,
                "seconds": card.cost.seconds,
                "peak_memory_mb": card.cost.peak_memory_mb,
                "trainable_parameters": card.cost.trainable_parameters,
            }
        )
    return pd.DataFrame(rows)


def load_cards(profile, seed: int | None = None) -> Cards:
    """The cards of `profile`: this run's, and recorded ones for approaches that were not run here.

    Parameters
    ----------
    profile : Profile or str
    seed : int, optional
        By default the seed for which most approaches have a card (the lowest of equals).

    Raises
    ------
    RunError
        If there is no card at all.
    """
    name = getattr(profile, "name", profile)
    recorded = [card for cards in recorded_cards().values() for card in cards if card.profile == name]
    found = {"this run": cards_in(runs_dir(name)), "recorded": recorded}
    cards: dict[tuple[str, int, str], tuple[str, RunCard]] = {}
    for origin in ("recorded", "this run"):  # what ran here comes last and wins
        for card in found[origin]:
            cards[card.approach, card.seed, card.variant] = (origin, card)
    plain = {(a, s): entry for (a, s, variant), entry in cards.items() if variant == _variant(a, profile)}
    if seed is None and plain:
        seeds = [s for _, s in plain]
        seed = min(set(seeds), key=lambda s: (-seeds.count(s), s))
    chosen = {a: plain[a, seed] for a in TITLES if (a, seed) in plain}
    if not chosen:
        which = "" if seed is None else f" with seed {seed}"
        raise RunError(
            f"no results of profile {name!r}{which} in {runs_dir(name)}: run chapters 2, 4 and 5 first "
            f"(python -m genre_utils run --profile {name})"
        )
    twins = {(card.approach, card.seed, card.variant): card for card in recorded}
    own = {a: card for a, (origin, card) in chosen.items() if origin == "this run"}
    return Cards(
        {a: card for a, (_, card) in chosen.items()},
        _source(chosen),
        tuple(c for _, c in cards.values()),
        {a: twin for a, card in own.items() if (twin := twins.get((a, card.seed, card.variant)))},
    )


def cards_in(folder: Path) -> list[RunCard]:
    """The run records in a folder, by file name."""
    return [RunCard.load(path) for path in sorted(folder.glob("*-seed*.json"))]


def _source(chosen: Mapping[str, tuple[str, RunCard]]) -> str:
    sentences = []
    for origin, words in (("this run", "from this run"), ("recorded", "recorded earlier, with the book")):
        cards = [card for where, card in chosen.values() if where == origin]
        if cards:
            titles, dates = ", ".join(card.title for card in cards), sorted({card.created[:10] for card in cards})
            sentences.append(f"{titles}: {words} ({' to '.join(dict.fromkeys((dates[0], dates[-1])))})")
    return "; ".join(sentences)


@dataclass(frozen=True)
class Aligned:
    """Several approaches on one test set, in one order of clips.

    Attributes
    ----------
    ids : tuple of str, length n
    y : ndarray of int, shape (n,)
    predicted : dict of ndarray of int, shape (n,)
    probabilities : dict of ndarray, shape (n, k)
    groups : tuple of str, length n, or None
        Artist of each clip, for clustered intervals; None where the corpus knows none.
    """

    ids: tuple[str, ...]
    y: np.ndarray
    genres: tuple[str, ...]
    predicted: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    groups: tuple[str, ...] | None = None

    @property
    def right(self) -> dict[str, np.ndarray]:
        """Hits of each approach: bool, shape (n,)."""
        return {name: p == self.y for name, p in self.predicted.items()}


def aligned(cards: Mapping[str, RunCard]) -> Aligned:
    """The predictions of all `cards` on their common test set.

    Raises
    ------
    RunError
        If two cards were scored on different clips, labels or corpora: comparing them would repeat the
        study's mistake.
    """
    items = list(cards.items())
    if not items:
        raise RunError("there is nothing to compare: run chapters 2, 4 and 5 first")
    first_name, first = items[0]
    truth = {row.clip: row.genre for row in first.predictions}
    for name, card in items[1:]:
        other = {row.clip: row.genre for row in card.predictions}
        if other == truth and (card.corpus.name, card.genres) == (first.corpus.name, first.genres):
            continue
        common = len(truth.keys() & other.keys())
        raise RunError(
            f"{first_name} and {name} were not scored on the same test clips of the same corpus: {len(truth)} of "
            f"{first.corpus.name} and {len(other)} of {card.corpus.name}, {common} in common. "
            "Run both chapters again with one profile."
        )
    ids = tuple(truth)
    order = {name: [card.ids.index(clip) for clip in ids] for name, card in items}
    artists = tuple(row.artist or row.clip for row in first.predictions)
    return Aligned(
        ids=ids,
        y=first.y,
        genres=tuple(first.genres),
        predicted={name: card.predicted[order[name]] for name, card in items},
        probabilities={name: card.probabilities[order[name]] for name, card in items},
        groups=artists if any(row.artist for row in first.predictions) else None,
    )

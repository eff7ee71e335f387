"""What experiments share: audio, labels and split of a profile, what a probe can be put on, and the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from tqdm import tqdm

from genre_utils.corpora import Corpus, load_corpus
from genre_utils.errors import RunError
from genre_utils.features import band_moments, frozen_states, mels, waves
from genre_utils.models.wav2vec import load_backbone, random_backbone
from genre_utils.profiles import PROFILES, Training
from genre_utils.provenance import origin
from genre_utils.records import CNN, LOG_MEL, MUSICNN, RANDOM, SVM, CorpusInfo, Experiment, Trial, plain
from genre_utils.splits import make_split

#: The genres of GTZAN that are complete in public copies of its parts, and how networks are trained on the clips of such parts.
COMPLETE = ("blues", "classical", "jazz", "pop")
REAL_SOUND = replace(
    PROFILES["gtzan-mini"],
    corpus="gtzan",
    split="artist",
    cnn=Training(epochs=24, batch_size=16, learning_rate=1e-2, window_s=2.0, optimizer="muon"),
    full=Training(epochs=8, batch_size=8, learning_rate=5e-4, window_s=3.0),
)


def contestants(named: Sequence[str]) -> dict:
    """Pre-trained contestants from "NAME=PLACE"; a RunError if two have one name, or that of another contestant."""
    names = [entry.partition("=")[0] for entry in named]
    if taken := [name for i, name in enumerate(names) if name in (*names[:i], RANDOM, LOG_MEL, SVM, CNN, MUSICNN)]:
        raise RunError(f"a contestant is called {taken[0]!r} already: give the backbone another name")
    return {name: load_backbone(place) for name, _, place in (entry.partition("=") for entry in named)}


class Material:
    """Clips of a profile with all that is measured on them, and the trials so far."""

    def __init__(self, profile: str, progress: bool):
        self.profile, self.progress = PROFILES[profile], progress
        self.corpus = load_corpus(self.profile)
        self.split = make_split(self.corpus, self.profile)
        self.ids = list(self.split.ids)
        self.row = {clip: i for i, clip in enumerate(self.ids)}
        self.y = self.corpus.labels(self.ids)
        self.trials: list[Trial] = []

    @cached_property
    def waves(self) -> np.ndarray:
        """(clips, samples) at 16 kHz"""
        return waves(self.corpus, self.ids, self.profile, progress=self.progress)

    def rows(self, clips: Iterable[str]) -> np.ndarray:
        return np.array([self.row[clip] for clip in clips])

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the training, validation and test clips."""
        return self.rows(self.split.train), self.rows(self.split.val), self.rows(self.split.test)

    def features(self, backbones: Mapping, seeds: int) -> Iterator[tuple[str, Iterable[int], np.ndarray]]:
        """(contestant, seeds that it stands for, (clips, layers, numbers)) of all that has frozen states or none."""

        def states(backbone) -> np.ndarray:
            window_s = self.profile.head_only.window_s
            return frozen_states(backbone, self.waves, window_s=window_s, progress=self.progress)

        for name, backbone in backbones.items():
            yield name, range(seeds), states(backbone)
        yield LOG_MEL, range(seeds), band_moments(mels(self.corpus, self.ids, self.profile, progress=self.progress))[:, None]
        like = next(iter(backbones.values()))
        for seed in tqdm(range(seeds), desc=RANDOM, unit="network", disable=not self.progress):
            yield RANDOM, [seed], states(random_backbone(seed, like=like))

    def add(self, contestant: str, seed: int, right: Iterable, labels: int, layer: int | None = None) -> None:
        """Keep which clips came out `right` (bool) after training on `labels` clips."""
        trial = Trial(contestant=contestant, seed=seed, labels=labels, layer=layer, marks="".join("1" if hit else "0" for hit in right))
        self.trials.append(trial)

    def record(self, question: str, backbones: Mapping, settings: Mapping, **about) -> Experiment:
        """The experiment on `question`, about the test clips of the split unless `about` says otherwise."""
        about = {"clips": self.split.test, "provenance": {"": self.split.provenance}} | about
        name, used = self.profile.name, {"backbones": backbones, "settings": settings}
        return record(question, self.corpus, self.trials, profile=name, **about, **used)


def record(
    question: str, corpus: Corpus, trials: list[Trial], *, clips: Sequence[str], provenance: dict, profile: str = "gtzan",
    with_audio: bool = True, backbones: Mapping | None = None, settings: Mapping | None = None,
) -> Experiment:  # fmt: skip
    """The record of `trials` on `clips`; `provenance` says of each condition where its split comes from."""
    return Experiment(
        question=question,
        profile=profile,
        corpus=CorpusInfo(name=corpus.name, fingerprint=corpus.fingerprint if with_audio else "", clips=len(corpus)),
        provenance=provenance,
        clips=list(clips),
        artists=[corpus[clip].artist or clip for clip in clips],
        backbones={name: backbone.fingerprint for name, backbone in (backbones or {}).items()},
        settings=plain(settings or {}),
        **origin(),
        trials=trials,
    )

"""What does it pay to draw windows of clips at random? The SVM on thirds of the clips of gtzan-mini."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from genre_utils.audio import load_audio
from genre_utils.corpora import Corpus, load_corpus
from genre_utils.experiments.classical import BY_ARTIST, classifiers, measure_splits
from genre_utils.features import clip_statistics
from genre_utils.profiles import PROFILES
from genre_utils.records import Experiment
from genre_utils.splits import grouped_folds

RANDOM_WINDOWS, WHOLE_CLIPS = "random windows", "whole clips"


def measure(corpus: Corpus | None = None, seeds: int = 20, progress: bool = True, parts: int = 3) -> Experiment:
    """The SVM on windows of clips: drawn at random, kept together clip by clip, and artist by artist.

    Every clip (of `corpus`, by default gtzan-mini) is cut into equal `parts`, each described by its own 57 statistics;
    each draw is a five-fold cross-validation that tests every part once. What differs is only who may be on both sides.
    """
    corpus = corpus or load_corpus(PROFILES["gtzan-mini"], progress=progress)
    rows, cut = [], []
    for clip in tqdm(corpus, desc="windows", unit="clip", disable=not progress):
        wave, rate_hz = load_audio(clip.path)
        for k, part in enumerate(np.array_split(wave[: round(corpus.clip_s * rate_hz)], parts)):
            cut.append(replace(clip, id=f"{clip.id}@{k}", recording=clip.recording or clip.id))
            rows.append(clip_statistics(part, rate_hz))
    about = {"clips": tuple(cut), "name": f"{corpus.name}, {parts} windows a clip", "clip_s": corpus.clip_s / parts}
    known = replace(corpus, **about, faults={})
    alike = {
        RANDOM_WINDOWS: replace(known, clips=tuple(replace(c, artist=None, recording=None) for c in cut)),
        WHOLE_CLIPS: replace(known, clips=tuple(replace(c, artist=None) for c in cut)),
        BY_ARTIST: known,
    }
    drawn = {name: (lambda repeat, some=some: grouped_folds(some, 5, repeat)) for name, some in alike.items()}
    only = {"SVM": classifiers()["SVM"]}
    return measure_splits(
        known, np.array(rows), repeats=seeds, only=only, fixed={}, drawn=drawn, question="windows", progress=progress
    )

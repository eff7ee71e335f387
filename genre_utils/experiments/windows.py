"""What does it pay to draw windows of clips at random, or clips without regard to artists? On real sound, by SVM and CNN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from genre_utils.audio import load_audio
from genre_utils.corpora import Corpus, load_corpus
from genre_utils.experiments.contest import BY_ARTIST, Contestant, Network, contest, of_artists
from genre_utils.experiments.material import COMPLETE, REAL_SOUND
from genre_utils.features import MEL, clip_statistics, mel_unit
from genre_utils.models.svm import GRID, rbf_svm
from genre_utils.profiles import Training
from genre_utils.records import CNN, SVM, Experiment

RANDOM_WINDOWS, WHOLE_CLIPS = "random windows", "whole clips"
#: Three windows a clip: a third of the epochs of :data:`~genre_utils.experiments.material.REAL_SOUND` shows as many excerpts.
TRAINING = replace(REAL_SOUND.cnn, epochs=REAL_SOUND.cnn.epochs // 3)


def measure(
    corpus: Corpus | None = None, seeds: int = 10, progress: bool = True, parts: int = 3, training: Training = TRAINING,
    minutes: float | None = None,
) -> Experiment:  # fmt: skip
    """SVM and CNN on windows of clips: drawn at random, kept together clip by clip, and artist by artist.

    Every clip (of `corpus`, by default the complete genres of the GTZAN that is at hand) is cut into equal `parts`; each
    draw is a three-fold cross-validation that tests every part once, so that training sets are equally large. What
    differs is only who may be on both sides. The CNN takes part in three draws.
    """
    corpus = corpus or load_corpus(replace(REAL_SOUND, genres=COMPLETE), progress=progress)
    length, cut, numbers, mels = round(corpus.clip_s * MEL.rate_hz / parts), [], [], []
    for clip in tqdm(corpus, desc="windows", unit="clip", disable=not progress):
        wave = np.resize(load_audio(clip.path, rate_hz=MEL.rate_hz)[0], parts * length)
        for k, part in enumerate(wave.reshape(parts, length)):
            cut.append(replace(clip, id=f"{clip.id}@{k}", recording=clip.recording or clip.id))
            numbers.append(clip_statistics(part, MEL.rate_hz))
            mels.append(mel_unit(part)[None])
    about = {"clips": tuple(cut), "name": f"{corpus.name}, {parts} windows a clip", "clip_s": corpus.clip_s / parts}
    known = replace(corpus, **about, faults={})
    alike = {
        RANDOM_WINDOWS: replace(known, clips=tuple(replace(c, artist=None, recording=None) for c in cut)),
        WHOLE_CLIPS: replace(known, clips=tuple(replace(c, artist=None) for c in cut)),
        BY_ARTIST: known,
    }
    network = Network(training, MEL.frames(round(training.window_s * MEL.rate_hz)))
    contestants = {SVM: Contestant(np.array(numbers), rbf_svm(), GRID), CNN: Contestant(np.array(mels), network, draws=3)}
    drawn = {name: of_artists(some, 3) for name, some in alike.items()}
    asked = {"draws": seeds, "fixed": {}, "drawn": drawn, "apart": (BY_ARTIST,), "minutes": minutes}
    return contest("windows", known, contestants, **asked, progress=progress, settings={"cnn": vars(training)})

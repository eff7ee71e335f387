"""What does the study's baseline owe to its split? Its network on Kaggle's published pictures of all of GTZAN.

The sound of all clips is not at hand, pictures of their mel-spectrograms are (``images_original``, 432 x 288 pixels): read
back to 128 bands and 336 columns, they lie beside the table that ``GTZAN_FEATURES_CSV`` names. How they were made is not
documented, so a bridge comes first: the same network on pictures and on sound of the clips of which there are both.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.model_selection import train_test_split

from genre_utils.corpora import load_corpus
from genre_utils.experiments.contest import (
    BY_ARTIST,
    FILTERED,
    FIXED,
    Contestant,
    Network,
    contest,
    joined,
    of_artists,
)
from genre_utils.experiments.material import COMPLETE, REAL_SOUND
from genre_utils.experiments.tables import PICTURES, archived, feature_table
from genre_utils.features import mels
from genre_utils.profiles import Training
from genre_utils.records import FOUR, ON_PICTURES, Experiment
from genre_utils.splits import Split

ON_SOUND = "CNN on sound"
#: A picture has 336 columns for 30 s; the network is fed 8.6 s of them at a time.
COLUMNS, WINDOW = 336, 96
#: The study's split, and the same with as few training clips as the fault-filtered one has.
STUDY, FEWER = "study: CNN", "study: CNN, fewer clips"
TRAINING = replace(REAL_SOUND.cnn, epochs=14, window_s=30 * WINDOW / COLUMNS)


def measure(
    seeds: int = 5, progress: bool = True, training: Training = TRAINING, minutes: float | None = None
) -> Experiment:
    """The study's CNN: the bridge on the complete genres, then all of GTZAN on its split, fault-filtered, and by artist."""
    corpus, _ = feature_table()
    seen = archived(PICTURES).astype(np.float32)[:, None] / 255
    sound = load_corpus(replace(REAL_SOUND, genres=COMPLETE), progress=progress)
    heard, place = np.zeros_like(seen), {clip: i for i, clip in enumerate(corpus.ids)}
    edges = np.linspace(0, 1 + 30 * 22_050 // 512, COLUMNS, endpoint=False).astype(int)
    for clip, mel in zip(sound.ids, mels(sound, sound.ids, REAL_SOUND, progress=progress), strict=True):
        heard[place[clip]] = np.add.reduceat(mel, edges, axis=-1) / np.diff([*edges, mel.shape[-1]])
    network = Network(training, WINDOW)
    both = {ON_SOUND: Contestant(heard, network), ON_PICTURES: Contestant(seen, network)}
    about = {"draws": seeds, "minutes": minutes, "progress": progress, "with_audio": False, "with_guesses": True,
             "settings": {"cnn": vars(training)}}  # fmt: skip
    bridge = {FOUR: of_artists(corpus.of_genres(COMPLETE), 3)}
    whole = {name: lambda draw, name=name: [FIXED[name]()] for name in (STUDY, FILTERED)}
    whole |= {FEWER: _with_fewer, BY_ARTIST: of_artists(corpus, 3)}
    found = contest("pictures", corpus, both, fixed={}, drawn=bridge, **about | {"draws": min(3, seeds)})
    return joined([found, contest("pictures", corpus, {ON_PICTURES: both[ON_PICTURES]}, fixed={}, drawn=whole, **about)])


def _with_fewer(draw: int) -> list[Split]:
    study, size = FIXED[STUDY](), len(FIXED[FILTERED]().train)
    genres = [clip.split(".")[0] for clip in study.train]
    some = train_test_split(study.train, train_size=size, stratify=genres, random_state=draw)[0]
    return [replace(study, train=tuple(some), provenance=f"{study.provenance}; {size} of its training clips")]

"""Put the linear reader of MusiCNN's tags, which the book's record judges, into the package: what `predict` asks first.

    GTZAN_FEATURES_CSV=.../features_30_sec.csv python workflow/ship_reader.py

Its numbers are those of the training clips of the fault-filtered split; the test clips stay unseen.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from genre_utils.experiments import pretraining_or_raw_audio as asked
from genre_utils.experiments.tables import TAG_SCORES, archived, feature_table
from genre_utils.features import FEATURE_NAMES
from genre_utils.models.musicnn import TAGS
from genre_utils.models.svm import linear_probe
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES
from genre_utils.records import Experiment
from genre_utils.splits import gtzan_ids, gtzan_split


def made() -> dict[str, Any]:
    """The reader, what to say of it, and the median level (mean RMS) of the clips it learned from."""
    found = Experiment.recorded("pretraining-or-raw-audio")
    (trial,), split = found.trials_of(asked.READER, asked.FILTERED), gtzan_split("filtered")
    place = {clip: i for i, clip in enumerate(gtzan_ids())}
    train = [place[clip] for clip in split.train]
    x, y = archived(TAG_SCORES)[train, : len(TAGS)], [GENRES.index(clip.split(".")[0]) for clip in split.train]
    scaler, model = linear_probe(trial.settings["C"]).fit(x, y)
    level = np.median(feature_table()[1][train, FEATURE_NAMES.index("rms_mean")])
    numbers = {
        "level": level, "mean": scaler.mean_, "deviation": scaler.scale_, "weights": model.coef_, "bias": model.intercept_,
    }  # fmt: skip
    learned_from = (
        f"{asked.READER}: trained on {len(train)} clips of GTZAN (split filtered), "
        f"{found.accuracy(asked.READER, condition=asked.FILTERED)} on its {len(split.test)} test clips"
    )
    return {"genres": GENRES, "learned from": learned_from} | {name: array.round(6).tolist() for name, array in numbers.items()}


if __name__ == "__main__":
    path = package_data("musicnn", "genres.json")
    path.write_text(json.dumps(made()) + "\n", encoding="utf-8")
    print(path)

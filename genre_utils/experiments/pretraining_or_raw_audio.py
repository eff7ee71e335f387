"""Pre-training or raw audio? Features of all of GTZAN that others computed, one classifier, every split.

The study's spectrogram network was not pre-trained, its raw-audio network was. Here are spectrogram networks that were, on
tags of other music, and frozen: Choi's (ISMIR 2017, arXiv 1703.09179) and MusiCNN (Pons and Serra, ISMIR 2019), as features
that their authors published. The archives are looked for beside the table that ``GTZAN_FEATURES_CSV`` names.
"""

from __future__ import annotations

from genre_utils.experiments.contest import FILTERED, FIXED, Contestant, contest, joined
from genre_utils.experiments.tables import CONTAMINATED, TAG_SCORES, archived, feature_table
from genre_utils.models.musicnn import TAGS
from genre_utils.models.svm import GRID, linear_probe, rbf_svm
from genre_utils.records import CHOI, STATISTICS, Experiment

QUESTION = "pretraining-or-raw-audio"
#: A weighted sum of the mean tag scores for each genre: what `predict` asks first.
READER = "MusiCNN's tags, read by a linear model"
PENALTIES = {"logisticregression__C": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]}


def measure(seeds: int = 10, progress: bool = True, minutes: float | None = None) -> Experiment:
    """An SVM on the features of each contestant, tuned on one grid inside the training side of each split.

    A seed draws a random split and five folds by artist. Contestants of a split have the same training clips. Layers of
    Choi's network by themselves, and the features that are no fair contestant, see the fixed splits alone; MusiCNN's tags
    were published for the clips of the fault-filtered split only.
    """
    corpus, statistics = feature_table()
    choi, tags = archived(CHOI), archived(TAG_SCORES)
    layers = {f"{CHOI}, layer {i + 1}": choi[:, i] for i in range(choi.shape[1])}
    whole = {STATISTICS: statistics, CHOI: choi.reshape(len(choi), -1)}
    fixed_alone = layers | {CONTAMINATED: archived(CONTAMINATED)}
    few = {"drawn": {}, "fixed": {FILTERED: FIXED[FILTERED]}}
    plan = [(name, Contestant(x, rbf_svm(), GRID), {}) for name, x in whole.items()]
    plan += [(name, Contestant(x, rbf_svm(), GRID), {"drawn": {}}) for name, x in fixed_alone.items()]
    plan += [(TAG_SCORES, Contestant(tags, rbf_svm(), GRID), few)]
    plan += [(READER, Contestant(tags[:, : len(TAGS)], linear_probe(), PENALTIES), few)]
    settings = {"SVM": GRID, "linear model": PENALTIES, "tuning": "five folds inside the training side"}
    about = {"fixed": FIXED, "draws": seeds, "minutes": minutes, "progress": progress, "with_audio": False, "settings": settings}
    return joined([contest(QUESTION, corpus, {name: its}, **about | limits) for name, its, limits in plan])

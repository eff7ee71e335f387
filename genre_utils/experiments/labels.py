"""How many labelled clips does a linear probe need on the states of each contestant?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.model_selection import train_test_split

from genre_utils.experiments.material import Material
from genre_utils.models.svm import fit_probe
from genre_utils.records import Experiment

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)


def measure(backbones: Mapping, seeds: int = 10, progress: bool = True) -> Experiment:
    """Probes on 5 to 100 % of the training labels; layer and penalty of each chosen on the validation clips.

    A seed draws the labelled clips (the same for every contestant), and the random weights.
    """
    material = Material("mini", progress)
    (train, val, test), y = material.parts(), material.y
    for name, draws, x in material.features(backbones, seeds):
        for seed in draws:
            for fraction in FRACTIONS:
                size = max(len(material.corpus.genres), round(fraction * len(train)))
                some = train
                if size < len(train):
                    some = train_test_split(train, train_size=size, stratify=y[train], random_state=seed)[0]
                probes = [fit_probe(x[some, k], y[some], x[val, k], y[val]) for k in range(x.shape[1])]
                best = int(np.argmax([score for _, score in probes]))
                material.add(name, seed, probes[best][0].predict(x[test, best]) == y[test], labels=size, layer=best)
    settings = {"fractions": FRACTIONS, "layer and penalty": "best on the validation clips"}
    return material.record("labels", backbones, settings)

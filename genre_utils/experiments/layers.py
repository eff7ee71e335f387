"""What can be read off each layer?"""

from __future__ import annotations

from collections.abc import Mapping

from genre_utils.experiments.material import Material
from genre_utils.models.svm import fit_probe
from genre_utils.records import Experiment


def measure(backbones: Mapping, seeds: int = 10, progress: bool = True) -> Experiment:
    """One probe a layer, all labels; the penalty chosen on the validation clips. Seeds draw the random weights."""
    material = Material("mini", progress)
    (train, val, test), y = material.parts(), material.y
    for name, draws, x in material.features(backbones, seeds):
        for layer in range(x.shape[1]):
            probe, _ = fit_probe(x[train, layer], y[train], x[val, layer], y[val])
            right = probe.predict(x[test, layer]) == y[test]
            for seed in draws:
                material.add(name, seed, right, labels=len(train), layer=layer)
    return material.record("layers", backbones, {"penalty": "best on the validation clips"})

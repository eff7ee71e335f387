"""What can be read off each layer?"""

from __future__ import annotations

from collections.abc import Mapping

from genre_utils.experiments.material import Material, as_marks
from genre_utils.models.probe import fit_probe
from genre_utils.records import Experiment, Trial


def measure(backbones: Mapping, seeds: int = 10, progress: bool = True) -> Experiment:
    """One probe a layer, all labels; the penalty chosen on the validation clips. Seeds draw the random weights."""
    material = Material("mini", progress)
    train, val, test = material.parts()
    y, trials = material.y, []
    for name, draws, x in material.features(backbones, seeds):
        for layer in range(x.shape[1]):
            probe, _ = fit_probe(x[train, layer], y[train], x[val, layer], y[val])
            kept = as_marks(probe.predict(x[test, layer]) == y[test])
            for seed in draws:
                trials.append(Trial(contestant=name, seed=seed, labels=len(train), layer=layer, marks=kept))
    settings = {"penalty": "best on the validation clips"}
    return material.record("layers", trials, backbones=backbones, settings=settings)

"""Does it hold on real music? (Profile gtzan-mini, artist-grouped folds.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score

from genre_utils.experiments.material import Material
from genre_utils.features import MelSettings, mels, statistics
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.svm import GRID, STRENGTHS, linear_probe, rbf_svm
from genre_utils.paths import runs_dir
from genre_utils.records import CNN, SVM, Experiment
from genre_utils.splits import fold_groups, grouped_folds
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet, predict_clips


def measure(backbones: Mapping, seeds: int = 5, progress: bool = True, folds: int = 5) -> Experiment:
    """Real clips: artist-grouped cross-validation; every clip is tested once a seed.

    Layer and penalty of the probes, and the SVM's settings, are tuned by grouped cross-validation inside the
    training side. The CNN trains from scratch for the profile's number of epochs. Seeds draw the folds, the random
    weights and the CNN's.
    """
    material = Material("gtzan-mini", progress)
    y = material.y
    cuts = [grouped_folds(material.corpus, folds, seed) for seed in range(seeds)]
    number_of = dict(zip(material.corpus.ids, fold_groups(material.corpus)[0], strict=True))
    groups = np.array([number_of[clip] for clip in material.ids])
    inner = StratifiedGroupKFold(max(2, folds - 1), shuffle=True, random_state=0)

    def tuning(train: np.ndarray) -> list:
        return list(inner.split(train, y[train], groups[train]))

    def score(name: str, seed: int, predict: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        right = np.zeros(len(y), dtype=bool)
        for fold in cuts[seed]:
            train, test = material.rows(fold.train), material.rows(fold.test)
            right[test] = predict(train, test) == y[test]
        material.add(name, seed, right, labels=len(y) - len(y) // folds)

    for name, draws, x in material.features(backbones, seeds):
        for seed in draws:
            score(name, seed, lambda train, test, x=x: _tuned_probe(x, y, tuning(train), train, test))
    table = statistics(material.corpus, material.ids, material.profile, progress=progress)

    def tuned_svm(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        search = GridSearchCV(rbf_svm(), GRID, cv=tuning(train))
        return search.fit(table[train], y[train]).predict(table[test])

    for seed in range(seeds):
        score(SVM, seed, tuned_svm)
        score(CNN, seed, lambda train, test, seed=seed: _trained_cnn(material, seed, train, test))
    settings = {"tuning": "grouped cross-validation inside the training side", "cnn": vars(material.profile.cnn)}
    provenance = cuts[0][0].provenance.replace("seed 0", f"seeds 0 to {seeds - 1}")
    return material.record("transfer", backbones, settings, clips=material.ids, provenance={"": provenance})


def _tuned_probe(x, y, cuts, train, test) -> np.ndarray:
    found = {
        (layer, strength): cross_val_score(linear_probe(strength), x[train, layer], y[train], cv=cuts).mean()
        for layer in range(x.shape[1])
        for strength in STRENGTHS
    }
    layer, strength = max(found, key=found.get)
    return linear_probe(strength).fit(x[train, layer], y[train]).predict(x[test, layer])


def _trained_cnn(material: Material, seed: int, train, test) -> np.ndarray:
    # With eighty clips none can be spared for validation: an excerpt of each training clip stands in for it, so that
    # the last epochs win.
    profile, y = material.profile, material.y
    window = MelSettings(rate_hz=profile.mel_rate_hz).frames(round(profile.cnn.window_s * profile.mel_rate_hz))
    x = mels(material.corpus, material.ids, profile, progress=False)
    set_seed(seed)
    middle = (x.shape[-1] - window) // 2
    sets = WindowSet(x[train], y[train], window), WindowSet(x[train][..., middle : middle + window], y[train])
    folder = runs_dir() / "experiments" / "transfer" / f"cnn-{seed}-{test[0]}"
    cnn = GenreCNN(len(material.corpus.genres))
    result = fit(cnn, *sets, profile.cnn, seed=seed, out_dir=folder, progress=material.progress)
    return predict_clips(result.model, x[test], window).argmax(1)

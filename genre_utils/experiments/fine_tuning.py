"""Is the whole network, trained on, better for having been pre-trained?"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

from tqdm import tqdm

from genre_utils.experiments.material import Material
from genre_utils.models.wav2vec import GenreWav2Vec, random_backbone
from genre_utils.paths import runs_dir
from genre_utils.records import RANDOM, Experiment
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet, predict_clips


def measure(backbones: Mapping, seeds: int = 5, progress: bool = True) -> Experiment:
    """The whole network trained by the profile's schedule, from the pre-trained and from random weights.

    Neither has a warm head, and nothing is frozen: a random encoder could not be left as it is. A third contestant
    starts from random weights and trains three times as long, so that "from scratch" is not merely unfinished.
    Seeds decide the random weights, the head, the order and the excerpts.
    """
    material = Material("mini", progress)
    (train, val, test), profile, y = material.parts(), material.profile, material.y
    window = round(profile.full.window_s * profile.wave_rate_hz)
    sets = [WindowSet(material.waves[part], y[part], window) for part in (train, val)]
    like = next(iter(backbones.values()))
    longer = replace(profile.full, epochs=3 * profile.full.epochs, patience=3 * profile.full.patience)
    schedules = dict.fromkeys((*backbones, RANDOM), profile.full) | {f"{RANDOM}, three times as long": longer}
    todo = [(seed, name) for seed in range(seeds) for name in schedules]
    for seed, name in tqdm(todo, desc="fine-tuning", unit="run", disable=not progress):
        set_seed(seed)
        start = deepcopy(backbones[name]) if name in backbones else random_backbone(seed, like=like)
        model = GenreWav2Vec(start, len(material.corpus.genres)).freeze(None)
        folder = runs_dir() / "experiments" / "fine-tuning" / f"{name}-{seed}"
        result = fit(model, *sets, schedules[name], seed=seed, out_dir=folder, progress=progress)
        right = predict_clips(result.model, material.waves[test], window, 8).argmax(1) == y[test]
        material.add(name, seed, right, labels=len(train))
    settings = {"training": vars(profile.full), "head": "linear", "frozen": None}
    return material.record("fine-tuning", backbones, settings)

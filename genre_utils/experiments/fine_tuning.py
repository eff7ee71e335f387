"""Is the whole network, trained on, better for having been pre-trained?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from genre_utils.experiments.material import Material, as_marks
from genre_utils.models.wav2vec import GenreWav2Vec, random_backbone
from genre_utils.paths import runs_dir
from genre_utils.records import RANDOM, Experiment, Trial
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet, predict_clips


def measure(backbones: Mapping, seeds: int = 5, progress: bool = True) -> Experiment:
    """The whole network trained by the profile's schedule, from the pre-trained and from random weights.

    Neither has a warm head, and nothing is frozen: a random encoder could not be left as it is. A third contestant
    starts from random weights and trains three times as long, so that "from scratch" is not merely unfinished.
    Seeds decide the random weights, the head, the order and the excerpts.
    """
    material = Material("mini", progress)
    train, val, test = material.parts()
    profile, y, trials = material.profile, material.y, []
    window = round(profile.full.window_s * profile.wave_rate_hz)
    sets = [WindowSet(material.waves[part], y[part], window) for part in (train, val)]
    like = next(iter(backbones.values()))
    longer = replace(profile.full, epochs=3 * profile.full.epochs, patience=3 * profile.full.patience)
    starts: dict[str, tuple[Callable, Any]] = {
        name: ((lambda seed, whole=backbone: deepcopy(whole)), profile.full) for name, backbone in backbones.items()
    }
    for name, training in ((RANDOM, profile.full), (f"{RANDOM}, three times as long", longer)):
        starts[name] = (lambda seed: random_backbone(seed, like=like)), training
    todo = [(seed, name) for seed in range(seeds) for name in starts]
    for seed, name in tqdm(todo, desc="fine-tuning", unit="run", disable=not progress):
        start, training = starts[name]
        set_seed(seed)
        model = GenreWav2Vec(start(seed), len(material.corpus.genres)).freeze(None)
        folder = runs_dir() / "experiments" / "fine-tuning" / f"{name}-{seed}"
        result = fit(model, *sets, training, seed=seed, out_dir=folder, progress=progress)
        right = predict_clips(result.model, material.waves[test], window, 8).argmax(1) == y[test]
        trials.append(Trial(contestant=name, seed=seed, labels=len(train), marks=as_marks(right)))
    settings = {"training": vars(profile.full), "head": "linear", "frozen": None}
    return material.record("fine-tuning", trials, backbones=backbones, settings=settings)

"""What does each choice of the study, turned on alone, do to both wav2vec 2.0 approaches?"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
from tqdm import tqdm

from genre_utils.errors import RunError
from genre_utils.experiments.material import Material
from genre_utils.features import frozen_states, waves
from genre_utils.models.svm import fit_probe
from genre_utils.models.wav2vec import GenreWav2Vec, HeadClassifier
from genre_utils.paths import runs_dir
from genre_utils.protocol import CHOICES, CORRECTED, ORIGINAL, with_protocol
from genre_utils.records import Experiment
from genre_utils.training import fit, set_seed
from genre_utils.windows import WindowSet, predict_clips


def measure(backbones: Mapping, seeds: int = 5, progress: bool = True) -> Experiment:
    """Head-only and full fine-tuning as the book runs them, with each choice of the study alone, and with all of them.

    As in chapters 4 and 5: head-only with the profile's head (linear unless the protocol names another) on the
    layer that a probe finds best on the validation clips; full fine-tuning from the head so trained.
    Contestants are called "head-only: CHOICE" and "full: CHOICE". Seeds decide head, order and excerpts.
    """
    if len(backbones) != 1:
        raise RunError(f"this question is about one backbone, not {len(backbones)}: {', '.join(backbones)}")
    material = Material("mini", progress)
    (train, val, test), y, (backbone,) = material.parts(), material.y, backbones.values()
    folder, genres = runs_dir() / "experiments" / "protocol", len(material.corpus.genres)
    heard: dict[bool, tuple[np.ndarray, np.ndarray, int]] = {}
    todo = [(seed, name) for seed in range(seeds) for name in (CORRECTED, *CHOICES, ORIGINAL)]
    for seed, name in tqdm(todo, desc="protocol", unit="run", disable=not progress):
        profile = with_protocol(material.profile, name)
        if profile.resampled not in heard:
            sound = waves(material.corpus, material.ids, profile, backbone.rate_hz, progress=progress)
            states = frozen_states(backbone, sound, window_s=profile.head_only.window_s, progress=progress)
            scores = [fit_probe(x[train], y[train], x[val], y[val])[1] for x in states.swapaxes(0, 1)]
            heard[profile.resampled] = sound, states, int(np.argmax(scores))
        sound, states, best_layer = heard[profile.resampled]
        window = round(profile.full.window_s * backbone.rate_hz)
        options = {"head": profile.head or "linear", "layer": -1 if profile.head == "study" else best_layer}
        set_seed(seed)
        model = HeadClassifier(*states.shape[1:], genres, **options)
        sets = [WindowSet(states[part], y[part]) for part in (train, val)]
        place = folder / f"head-only-{name}-{seed}"
        model = fit(model, *sets, profile.head_only, seed=seed, out_dir=place, progress=False).model
        said = predict_clips(model, states[test])
        material.add(f"head-only: {name}", seed, said.argmax(1) == y[test], labels=len(train))

        set_seed(seed)
        net = GenreWav2Vec(deepcopy(backbone), genres, **options)
        if profile.warm_head:
            net.head.load_state_dict(model.head.state_dict())
        sets = [WindowSet(sound[part], y[part], window) for part in (train, val)]
        place = folder / f"full-{name}-{seed}"
        net = fit(net.freeze(profile.frozen), *sets, profile.full, seed=seed, out_dir=place, progress=False).model
        said = predict_clips(net, sound[test], window, 8)
        material.add(f"full: {name}", seed, said.argmax(1) == y[test], labels=len(train))
    return material.record("protocol", backbones, {name: what for name, (what, _) in CHOICES.items()})

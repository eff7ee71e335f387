"""How long must the small backbone be pre-trained, and on what, to help on real music? Pre-trains, probes, and records.

    GTZAN_DIR=... python workflow/scaling.py

Some hours of one core, and two of them may share the pre-trainings (``--only``). What was interrupted goes on. The record
grows by ``--only NAME --grow``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pretrain import CLIPS, HELD_OUT, OBJECTIVE, WINDOW_S, render_unlabelled

from genre_utils.corpora import Corpus, load_corpus
from genre_utils.device import default_device
from genre_utils.errors import RunError
from genre_utils.experiments.contest import PLANNED, Contestant, LayerProbe, contest, joined
from genre_utils.experiments.material import COMPLETE, REAL_SOUND
from genre_utils.features import frozen_states, waves
from genre_utils.models.pretraining import RATE_HZ, Objective, pretrain
from genre_utils.models.svm import STRENGTHS
from genre_utils.models.wav2vec import Backbone, load_backbone, random_backbone
from genre_utils.paths import home
from genre_utils.records import FOUR, RANDOM, Experiment
from genre_utils.splits import Split, fold_groups, grouped_folds

FOLDS, CLIP_S = 3, 10
#: Steps -> seeds of the pre-training on rendered music. That of 10,000 steps is the shipped backbone.
RENDERED = {1_000: (0, 1), 3_000: (0, 1)}
#: Steps of the pre-training of which every second clip is a recorded one, from outside the fold's test clips.
RECORDED = 3_000
MIXED = f"{RECORDED:,} steps, every second clip real"
#: Steps of the shipped backbone, and of a pre-training without the two tasks beside the contrastive one.
LONGEST = 10_000
ALONE = f"{LONGEST:,} steps, contrastive task alone"


def named(steps: int) -> str:
    """The contestant that was pre-trained for `steps` on rendered music."""
    return f"{steps:,} steps"


def real_pieces(corpus: Corpus, fold: Split) -> np.ndarray:
    """What a pre-training may hear of real music: int16 (pieces, samples) of 10 s, no artist of the fold's test clips."""
    groups = dict(zip(corpus.ids, fold_groups(corpus)[0], strict=True))
    tested = {groups[clip] for clip in fold.test}
    heard = waves(corpus, [clip for clip in corpus.ids if groups[clip] not in tested], REAL_SOUND)
    length = CLIP_S * RATE_HZ
    whole = heard.shape[1] // length * length
    return np.concatenate([np.round(np.asarray(wave)[:whole] * 32767).astype(np.int16).reshape(-1, length) for wave in heard])


def pretrained(
    folder: Path, steps: int, seed: int, real: Callable[[], np.ndarray] | None = None, objective: Objective = OBJECTIVE
) -> Backbone:
    """The backbone of one pre-training like the shipped one's, made in `folder` unless it is there; `real` gives the real clips."""
    if not (folder / "model.safetensors").is_file():
        rendered = render_unlabelled(CLIPS)
        music = rendered[HELD_OUT:]
        if real is not None:
            music = np.concatenate([music, np.resize(real(), music.shape)])
        told = {"val_waves": rendered[:HELD_OUT], "objective": objective, "seed": seed, "device": default_device()}
        pretrain(music, folder, steps=steps, window_s=WINDOW_S, **told)
    return load_backbone(folder)


def measure(corpus: Corpus, backbones: dict[str, list[list[Backbone]]], random_seeds: int = 5) -> Experiment:
    """Frozen probes (layer and penalty tuned inside the training side) of `backbones`: name -> fold -> one for each seed.

    Every clip is tested once; draws are seeds of the pre-training, or of the random weights.
    """
    parts = grouped_folds(corpus, FOLDS)
    heard, some = waves(corpus, corpus.ids, REAL_SOUND), next(iter(backbones.values()))[0][0]
    grid = {"layer": list(range(some.num_layers + 1)), "strength": list(STRENGTHS)}
    backbones = backbones | {RANDOM: [[random_backbone(seed, like=some) for seed in range(random_seeds)]] * FOLDS}

    def contestant(fold: int, of: list[list[Backbone]]) -> Contestant:
        def states(draw: int) -> np.ndarray:
            return frozen_states(of[fold][draw], heard, window_s=REAL_SOUND.head_only.window_s)

        return Contestant(states, LayerProbe(), grid, draws=len(of[fold]))

    found = []
    for fold, part in enumerate(parts):
        asked = {"draws": random_seeds, "fixed": {}, "drawn": {FOUR: lambda _, part=part: [part]}, "apart": (FOUR,)}
        its = {name: contestant(fold, of) for name, of in backbones.items()}
        settings = {"folds": FOLDS, "recipe": "that of the shipped backbone"}
        firsts = {name: of[fold][0] for name, of in backbones.items() if name != RANDOM}
        found.append(contest("scaling", corpus, its, **asked, settings=settings, backbones=firsts))
    return together(found)


def together(found: list[Experiment]) -> Experiment:
    """The folds' trials of one contestant and draw as one: each clip is tested by the fold that holds it out."""
    whole = joined(found)
    trials = {}
    for trial in whole.trials:
        key = trial.contestant, trial.seed
        before = trials.get(key)
        marks = [b if m == "-" else m for m, b in zip(trial.marks, before.marks, strict=True)] if before else trial.marks
        seconds = round(trial.seconds + (before.seconds if before else 0), 1)
        trials[key] = trial.model_copy(update={"marks": "".join(marks), "seconds": seconds, "settings": {}})
    return whole.model_copy(update={"trials": list(trials.values()), "settings": whole.settings | {PLANNED: len(trials)}})


def grown(recorded: Experiment, found: Experiment) -> Experiment:
    """`recorded` with the trials of `found` that it lacks; a RunError if those that both have differ."""
    known = {(trial.contestant, trial.seed): trial.marks for trial in recorded.trials}
    others = [trial.contestant for trial in found.trials if known.get((trial.contestant, trial.seed), trial.marks) != trial.marks]
    if others or recorded.clips != found.clips:
        raise RunError(f"the committed record has other {'answers of ' + others[0] if others else 'clips'}: probe all again, without --grow")
    trials = recorded.trials + [trial for trial in found.trials if (trial.contestant, trial.seed) not in known]
    together = {"trials": trials, "backbones": recorded.backbones | found.backbones, "settings": found.settings | {PLANNED: len(trials)}}
    return found.model_copy(update=together)


def main(
    out: Annotated[Path | None, typer.Option(help="Folder of the pre-trainings (default: build/scaling).")] = None,
    only: Annotated[str, typer.Option(help="Pre-train those whose folder begins so, and stop: 1000, 3000, alone, real.")] = "",
    grow: Annotated[bool, typer.Option("--grow", help="Probe those of --only too, and take the others from the committed record.")] = False,
) -> None:
    """Pre-train what is missing, probe all of it on the four complete genres, and write the record."""
    out = out or home() / "build" / "scaling"
    everything = load_corpus(REAL_SOUND)
    corpus = everything.of_genres(COMPLETE)
    # Contestant -> fold -> for each seed the folder of its pre-training, and what decides it.
    plan = {named(steps): [[(f"{steps}-{seed}", steps, seed) for seed in seeds]] * FOLDS for steps, seeds in RENDERED.items()}
    plan[ALONE] = [[("alone-0", LONGEST, 0, None, Objective())]] * FOLDS
    parts = enumerate(grouped_folds(corpus, FOLDS))
    plan[MIXED] = [[(f"real-{i}", RECORDED, 0, partial(real_pieces, everything, part))] for i, part in parts]
    todo = {folder: told for folds in plan.values() for fold in folds for folder, *told in fold}
    made = {folder: pretrained(out / folder, *told) for folder, told in todo.items() if folder.startswith(only)}
    if only and not grow:
        return
    backbones = {named(LONGEST): [[load_backbone("shipped")]] * FOLDS}
    for name, folds in plan.items():
        if all(folder in made for fold in folds for folder, *_ in fold):
            backbones[name] = [[made[folder] for folder, *_ in fold] for fold in folds]
    found = measure(corpus, backbones)
    found = grown(Experiment.recorded("scaling"), found) if grow else found
    for name in found.contestants:
        print(f"{name}: {found.accuracy(name)}")
    print(found.save(home() / "build" / "experiments" / "scaling.json"))


if __name__ == "__main__":
    typer.run(main)

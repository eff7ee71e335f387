"""The replication on one GPU, with stand-ins for the clips and for the backbone's weights: a step, an epoch, every chapter.

    python benchmarks/gpu.py            # prints, and keeps all of it in build/gpu
    python benchmarks/gpu.py --write    # and what the timing page shows in book/results/timing/

The chapters run as `tests/rehearsal.py --whole` runs them: 1000 rendered clips of 30 s, a base layout of 95 million random
weights, all epochs. Its accuracies mean nothing; its seconds and its memory are those of the real thing. fairseq's step is taken
beside ours where fairseq can be imported (README.md beside this file).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2Model

from genre_utils.device import autocast, default_device
from genre_utils.features import MEL
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.wav2vec import Backbone, GenreWav2Vec, HeadClassifier
from genre_utils.profiles import PROFILES
from genre_utils.provenance import hardware, origin
from genre_utils.publish.results import markdown_table
from genre_utils.publish.run import sections
from genre_utils.splits import gtzan_split
from genre_utils.training import fit
from genre_utils.windows import WindowSet

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "book" / "results" / "timing" / "gpu.json"
P, CLIPS = PROFILES["gtzan"], gtzan_split("filtered").counts
WINDOW = round(P.full.window_s * P.wave_rate_hz)
FRAMES = MEL.frames(round(P.clip_s * MEL.rate_hz))
#: What their makers publish: operations a second in half precision, bytes a second from memory.
GPUS = {"T4": (65e12, 320e9), "A100": (312e12, 1555e9), "H100": (989e12, 3350e9)}


def wav2vec() -> GenreWav2Vec:
    """The network of chapter 5: base layout, no layer dropped, its encoder frozen."""
    config = Wav2Vec2Config(layerdrop=0.0, apply_spec_augment=False)
    return GenreWav2Vec(Backbone(Wav2Vec2Model(config), "base"), head="study").freeze("encoder")


#: What is measured step by step: network, shape of its input, whether it is trained.
STEPS = {
    "cnn, the profile's batch": (GenreCNN, (P.cnn.batch_size, 1, MEL.n_mels, FRAMES), True),
    "frozen backbone hears": (wav2vec, (16, WINDOW), False),
    "fine-tuning, the profile's batch": (wav2vec, (P.full.batch_size, WINDOW), True),
    "fine-tuning, batch of 64": (wav2vec, (64, WINDOW), True),
}


def _backward(grad_shape, x_shape, w_shape, *rest, out_shape=None) -> int:
    """Each wanted gradient of a convolution costs what the convolution did (torch's own count forgets the groups)."""
    return sum(rest[-1][:2]) * 2 * math.prod(grad_shape) * math.prod(w_shape[1:])


def operations(make, *shape: int, train: bool = True) -> int:
    """Of one training step, or of one pass, on input of this shape; nothing is computed (tensors without contents)."""
    with torch.device("meta"):
        model, x, labels = make().train(train), torch.empty(shape), torch.zeros(shape[0], dtype=torch.long)
    formulas = {torch.ops.aten.convolution_backward: _backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        loss = model(x, labels)["loss"]
        if train:
            loss.backward()
    return counter.get_total_flops()


def measure(make, shape: tuple, train: bool, times: int = 15) -> dict:
    """Median seconds of a step (or of a pass), the share of the card's peak that it reaches, its memory, and what its time goes to."""
    device = default_device()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    model = make().to(device).to(memory_format=torch.channels_last if make is GenreCNN else torch.preserve_format).train(train)
    x, labels = torch.randn(shape, device=device), torch.zeros(shape[0], dtype=torch.long, device=device)
    optimiser = torch.optim.AdamW((weight for weight in model.parameters() if weight.requires_grad), fused=True)

    def step() -> float:
        wait()
        began = time.perf_counter()
        with torch.set_grad_enabled(train), autocast(model):
            loss = model(x, labels)["loss"]
        if train:
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        wait()
        return time.perf_counter() - began

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median([step() for _ in range(times + 5)][5:])
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        step()
    kinds = sorted((one for one in seen.key_averages() if one.key.startswith("aten::")), key=lambda one: -one.self_device_time_total)
    peak = next((flop for name, (flop, _) in GPUS.items() if device == "cuda" and name in torch.cuda.get_device_name()), None)
    return {
        "step_s": round(seconds, 5), "clips_s": round(shape[0] / seconds), "gpu_mb": round(torch.cuda.max_memory_allocated() / 2**20),
        "of_peak": round(operations(make, *shape, train=train) / seconds / peak, 3) if peak else None,
        "spent_ms": {one.key: round(one.self_device_time_total / 1e3, 2) for one in kinds[:5]},
    }  # fmt: skip


def epochs() -> dict:
    """Seconds of an epoch of each approach by :func:`genre_utils.training.fit`, as many clips as the fault-filtered split has (of
    noise), validation and saving counted in; and what all epochs of the profile would take."""
    rng, found = np.random.default_rng(0), {}
    of_kind = {
        "cnn": (GenreCNN(), (1, MEL.n_mels, FRAMES), P.cnn, FRAMES),
        "head-only": (HeadClassifier(13, 2 * 768, head="study"), (13, 2 * 768), P.head_only, None),
        "full": (wav2vec(), (round(P.clip_s * P.wave_rate_hz),), P.full, WINDOW),
    }
    for name, (model, shape, training, window) in of_kind.items():
        x = rng.standard_normal((CLIPS["train"] + CLIPS["val"], *shape), np.float32)
        y, n = np.arange(len(x)) % 10, CLIPS["train"]
        few = 3 if name != "head-only" else 20
        with tempfile.TemporaryDirectory() as folder:
            sets = WindowSet(x[:n], y[:n], window), WindowSet(x[n:], y[n:], window, **({"most": 2} if window else {}))
            done = fit(model, *sets, replace(training, epochs=few, patience=few), seed=0, out_dir=folder, progress=False)
        took = statistics.median(one["seconds"] for one in done.history[1:])
        found[name] = {"epoch_s": round(took, 3), "all_epochs_s": round(took * training.epochs, 1), "gpu_mb": done.peak_gpu_mb, "precision": done.precision}
        print(name, found[name], flush=True)
    return found


def slowest(folder: Path) -> dict:
    """Seconds of the slowest sections of each chapter that was begun."""
    found = {}
    for path in sorted([*folder.glob("unfinished/0*.ipynb"), *folder.glob("0*.ipynb")]):
        spent, cells = {}, nbformat.read(path, as_version=4).cells
        for cell, section in zip(cells, sections(cells), strict=True):
            spent[section] = spent.get(section, 0) + (cell.metadata.get("papermill", {}).get("duration") or 0)
        found[path.stem] = {name: round(spent[name], 1) for name in sorted(spent, key=spent.get, reverse=True)[:8]}
    return found


def last_json(words: list, **environment) -> dict | None:
    """What a script of this repository prints last, or None (and what it said) if it fails."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{words[0]} failed:\n{done.stderr[-1500:]}", flush=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def approaches(path: Path) -> dict:
    """Of each trained approach in an exported file: what its stages took, and what its training was."""
    found = {}
    for card in json.loads(path.read_text(encoding="utf-8"))["cards"] if path.is_file() else ():
        fit_s = sum(epoch["seconds"] for epoch in card["history"])
        found[card["approach"]] = {
            "stages": card["cost"]["stages"], "epochs": len(card["history"]), "precision": card["settings"].get("precision"),
            "clips_s": round(len(card["history"]) * card["split"]["counts"]["train"] / fit_s, 1) if fit_s else None,
        }  # fmt: skip
    return found


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.3g} s"


def section(one: dict) -> str:
    """What the timing page says of a result: Markdown."""
    card, trainings, steps = one["machine"]["gpu"], one["epochs"], one["steps"]
    share = {"cnn": "cnn, the profile's batch", "head-only": "frozen backbone hears", "full": "fine-tuning, the profile's batch"}
    rows = [
        (name, clock(its["epoch_s"]), clock(its["all_epochs_s"]), f"{its['gpu_mb'] / 1000:.1f} GB", f"{100 * steps[share[name]]['of_peak']:.1f} %")
        for name, its in trainings.items()
    ]
    mine = next(speeds for name, speeds in GPUS.items() if name in card)
    other = {name: sorted(a / b for a, b in zip(mine, speeds, strict=True)) for name, speeds in GPUS.items() if name not in card}
    guesses = [
        (name, *(f"{clock(its['all_epochs_s'] * low)} to {clock(its['all_epochs_s'] * high)}" for its in trainings.values()))
        for name, (low, high) in other.items()
    ]
    chapters = ", ".join(f"chapter {row['chapter']} took {clock(row['seconds'])}" for row in one["chapters"])
    bf16 = {name: its["step_s"] for name, its in (one["fairseq"] or {}).get("bf16", {}).items()}
    beside = f" A step of fine-tuning took {1000 * bf16['ours']:.0f} ms, one of fairseq's own model {1000 * bf16['fairseq']:.0f} ms." if bf16 else ""
    names = list(trainings)
    text = """Rehearsed with stand-ins: rendered clips under GTZAN's names, and a wav2vec 2.0 of the base layout with random weights. The numbers of clips
and of epochs are those of the profile gtzan on the fault-filtered split; an epoch counts validation and saving in. The last column says how much of the arithmetic that the
card's maker publishes (half precision) a step reaches; for head-only it is that of the backbone, which hears each clip once."""
    more = f"""With all that a chapter does beside its training (features of a thousand clips on {one['machine']['cores']} cores, the simple baselines, the figures),
{chapters}.{beside} Fine-tuning with batches of 64 would reach {100 * steps['fine-tuning, batch of 64']['of_peak']:.0f} % of the peak:
batches of {P.full.batch_size} are too small to fill such a card. {one.get('about', '')}

On other cards, **estimated, not measured**: the times of all epochs, multiplied by how much slower the other card is by its maker's figures, in arithmetic or in memory.
"""
    table = markdown_table(("Training", "an epoch", "all epochs", "memory of the GPU", "of the card's peak"), rows, ("an epoch", "all epochs"))
    return "\n".join([f"## On a GPU: {card}", "", text, "", *table, "", more, *markdown_table(("Estimate", *names), guesses, names)]) + "\n"


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the result in book/results/timing/")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", help="where all of it is kept")
    parser.add_argument("--splits", default="filtered", help="which of filtered, cnn, wav2vec")
    parser.add_argument("--chapters", default="2,4,5,1,3,6", help="which chapters, in this order")
    parser.add_argument("--seconds", type=float, help="give the chapters no more time than this")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    about = {"machine": hardware(), **{k: v for k, v in origin().items() if k in ("git_commit", "uncommitted", "created", "versions")}}

    def keep(**found) -> None:
        about.update(found)
        (chosen.out / "gpu.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(found), flush=True)

    keep(steps={name: measure(*about_it) for name, about_it in STEPS.items()})
    keep(epochs=epochs())
    fairseq = ["benchmarks/finetuning_against_fairseq.py", "--steps", 15, "--batch", P.full.batch_size, "--seconds", P.full.window_s]
    keep(fairseq=last_json(fairseq))
    command = [sys.executable, "tests/rehearsal.py", "--whole", "--splits", chosen.splits, "--chapters", chosen.chapters]
    began = time.monotonic()
    try:
        failed = subprocess.run([*command, "--out", str(chosen.out)], cwd=ROOT, check=False, timeout=chosen.seconds).returncode
    except subprocess.TimeoutExpired:
        failed = True
    took = chosen.out / "took.json"
    keep(
        chapters=json.loads(took.read_text(encoding="utf-8")) if took.is_file() else [], failed=bool(failed),
        rehearsal_s=round(time.monotonic() - began), slowest={split: slowest(chosen.out / "chapters" / split) for split in chosen.splits.split(",")},
        approaches={split: approaches(chosen.out / f"{split}.json") for split in chosen.splits.split(",")},
    )  # fmt: skip
    feeding = ["benchmarks/cnn_against_study.py", "--profile", "gtzan", "--clips", 48, "--epochs", 2]
    keep(feeding=last_json(feeding, GTZAN_DIR=str(chosen.out / "gtzan")))
    if chosen.write:
        RESULT.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        RESULT.with_suffix(".md").write_text(section(about), encoding="utf-8")


if __name__ == "__main__":
    main()

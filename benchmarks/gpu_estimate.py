"""What the profile gtzan would cost on three GPUs: operations and bytes are counted, seconds are estimated, not measured.

    python benchmarks/gpu_estimate.py           # counts, this processor's share, estimates
    python benchmarks/gpu_estimate.py --write   # and keep them for the timing page (book/results/timing/)
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2Model

from genre_utils.audio import load_audio
from genre_utils.features import MEL, mel_unit
from genre_utils.models.cnn import GenreCNN
from genre_utils.models.wav2vec import Backbone, GenreWav2Vec
from genre_utils.profiles import PROFILES
from genre_utils.provenance import hardware, origin
from genre_utils.publish.results import markdown_table
from genre_utils.splits import gtzan_split
from genre_utils.training import steps_per_epoch

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "timing" / "gpu-estimate.json"
P, CLIPS = PROFILES["gtzan"], gtzan_split("filtered").counts
#: What their maker publishes: operations a second in half precision, bytes a second from memory.
GPUS = {"T4": (65e12, 320e9), "A100": (312e12, 1555e9), "H100": (989e12, 3350e9)}
#: Share of either that a program is taken to reach, at worst and at best. Memory is used better than arithmetic, but more
#: passes through it than we count.
SLOW, FAST = (0.15, 0.3), (0.4, 0.8)


@dataclass(frozen=True)
class Work:
    """Operations, bytes through memory at least, and bytes held at once at least."""

    flop: float
    moved: float
    held: float


def seconds(work: Work, gpu: tuple[float, float], share: tuple[float, float]) -> float:
    """Time of `work` if a GPU reaches `share` of its arithmetic and of its memory's speed: the scarcer decides."""
    return max(work.flop / (gpu[0] * share[0]), work.moved / (gpu[1] * share[1]))


def total_s(parts: list[tuple[Work, float]], gpu: tuple[float, float], share: tuple[float, float]) -> float:
    """Time of pieces of work, each done so many times."""
    return sum(seconds(work, gpu, share) * times for work, times in parts)


def _backward(grad_shape, x_shape, w_shape, *rest, out_shape=None) -> int:
    """Each wanted gradient of a convolution costs what the convolution did (torch's own count forgets the groups)."""
    return sum(rest[-1][:2]) * 2 * math.prod(grad_shape) * math.prod(w_shape[1:])


def wav2vec() -> GenreWav2Vec:
    """The network of chapter 5: base layout, no layer dropped, its encoder frozen."""
    config = Wav2Vec2Config(layerdrop=0.0, apply_spec_augment=False)
    return GenreWav2Vec(Backbone(Wav2Vec2Model(config), "base"), head="study").freeze("encoder")


def count(make, *shape: int, train: bool = True) -> Work:
    """Of one training step, or of one pass, on input of this shape; nothing is computed (tensors without contents)."""
    with torch.device("meta"):
        model, x, labels = make().train(train), torch.empty(shape), torch.zeros(shape[0], dtype=torch.long)
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    learnt = sum(weight.numel() for weight in model.parameters() if weight.requires_grad) if train else 0
    if not train:
        model.requires_grad_(True)  # so that all that passes between the layers is seen
    kept = {}

    def keep(tensor):
        # Not attention's tables of frame x frame: the fused kernels of a GPU keep none.
        storage = tensor.untyped_storage()
        if storage._cdata not in own and tensor.shape[-1:] != tensor.shape[-2:-1]:
            kept[storage._cdata] = storage, 0.5 if tensor.dtype == torch.float32 else 1
        return tensor

    formulas = {torch.ops.aten.convolution_backward: _backward}
    with (
        FlopCounterMode(display=False, custom_mapping=formulas) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        loss = model(x, labels)["loss"]
        if train:
            loss.backward()
    between = sum(storage.nbytes() * half for storage, half in kept.values())  # in half precision
    state = 4 * sum(weight.numel() for weight in model.parameters()) + 12 * learnt  # gradient, AdamW's two averages
    return Work(counter.get_total_flops(), 2 * (state + between), state + (between if train else 0))


def workloads() -> dict[str, list[tuple[Work, float]]]:
    """What each approach does with the fault-filtered split: pieces of work, and how often each is done."""
    frames, batch = MEL.frames(round(P.clip_s * MEL.rate_hz)), P.cnn.batch_size
    window, excerpts = round(P.full.window_s * P.wave_rate_hz), P.full.batch_size
    cnn_windows = P.cnn.epochs * CLIPS["val"] + CLIPS["test"]
    of_a_clip = round(P.clip_s / P.full.window_s)
    full_windows = P.full.epochs * CLIPS["val"] * 2 + CLIPS["test"] * of_a_clip  # of validation clips two are enough
    heard = count(wav2vec, 16, window, train=False)
    return {
        "cnn": [
            (count(GenreCNN, batch, 1, MEL.n_mels, frames), P.cnn.epochs * steps_per_epoch(CLIPS["train"], batch)),
            (count(GenreCNN, 2 * batch, 1, MEL.n_mels, frames, train=False), cnn_windows / (2 * batch)),
        ],
        "head-only": [(heard, sum(CLIPS.values()) * of_a_clip / 16)],
        "full": [
            (count(wav2vec, excerpts, window), P.full.epochs * steps_per_epoch(CLIPS["train"], excerpts)),
            (heard, full_windows / 16),
        ],
    }


def median_s(act) -> float:
    """Median seconds of three times `act`, once it has been done to warm up."""
    took = []
    for _ in range(4):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took[1:])


def cpu_flop_s(make, *shape: int, train: bool = True) -> float:
    """Operations a second that this processor reaches in float32 with one step, or one pass."""
    model, x, labels = make().train(train), torch.randn(shape), torch.zeros(shape[0], dtype=torch.long)
    optimiser = torch.optim.AdamW(weight for weight in model.parameters() if weight.requires_grad)

    def act():
        with torch.set_grad_enabled(train):
            loss = model(x, labels)["loss"]
        if train:
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    return count(make, *shape, train=train).flop / median_s(act)


def features_s() -> float:
    """Seconds of one processor core for a clip: decoding for both kinds of network, and the mel-spectrogram."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(P.clip_s * P.mel_rate_hz))
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        sf.write(file.name, noise, P.mel_rate_hz)
        decode = [partial(load_audio, file.name, rate_hz=rate_hz) for rate_hz in (P.wave_rate_hz, P.mel_rate_hz)]
        return median_s(lambda: (decode[0](), mel_unit(decode[1]()[0])))


def section(one: dict) -> str:
    """What the timing page says of a result: Markdown."""
    names = list(one["estimate_s"])
    flop = ", ".join(f"{name} {one['total_flop'][name] / 1e15:.2g}" for name in names)
    shares = ", ".join(f"{name} {100 * one['cpu_share'][name]:.0f} %" for name in names)
    (slow, fast), (slow_memory, fast_memory) = ([f"{100 * x:.0f}" for x in pair] for pair in one["of_peak"].values())
    text = f"""Nobody has run the profile gtzan on a GPU for this edition, so these are estimates, of one training on the fault-filtered split
with all of its epochs. We counted operations (in 10<sup>15</sup>: {flop}) and the bytes that pass through memory at least, and divided them by the speeds
that the maker publishes, of which a program is taken to reach {slow} to {fast} % (half precision) and {slow_memory} to {fast_memory} % (memory). The scarcer decides.
What the processor does comes on top: decoding and spectrograms (about {one['cpu_features_s']} s of one core), training heads on stored states, saving, starting.

A processor ({one['machine']['processor']}) reached, of its own speed at one large matrix product: {shares}. That share cannot be carried
over: a GPU computes many times more for each byte that its memory delivers, and it waits for Python between small steps."""
    gpus = {gpu: [one["estimate_s"][name][gpu] for name in names] for gpu in one["estimate_s"][names[0]]}
    rows = [(gpu, *(f"{max(1, low):.0f} to {max(1, high):.0f} s" for low, high in spans)) for gpu, spans in gpus.items()]
    rows.append(("memory, at least", *(f"{one['memory_gb'][name]:.1f} GB" for name in names)))
    return "\n".join(["## Estimated, not measured", "", text, "", *markdown_table(("Estimate", *names), rows, names)]) + "\n"


def main() -> None:
    """Count, measure the processor, estimate, print, and keep it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the result in book/results/timing/")
    write = parser.parse_args().write
    work = workloads()
    square = torch.randn(3072, 3072)
    matmul = 2 * 3072**3 / median_s(lambda: square @ square)
    window = round(P.full.window_s * P.wave_rate_hz)
    reached = {
        "cnn": cpu_flop_s(GenreCNN, 4, 1, MEL.n_mels, 1292),
        "head-only": cpu_flop_s(wav2vec, 1, window, train=False),
        "full": cpu_flop_s(wav2vec, 2, window),
    }
    estimates = {
        name: {gpu: [round(total_s(parts, GPUS[gpu], share), 1) for share in (FAST, SLOW)] for gpu in GPUS}
        for name, parts in work.items()
    }
    about = {
        "estimate_s": estimates,
        "step": {name: vars(parts[0][0]) for name, parts in work.items()},
        "total_flop": {name: sum(one.flop * times for one, times in parts) for name, parts in work.items()},
        "memory_gb": {name: round(parts[0][0].held / 1e9, 2) for name, parts in work.items()},
        "of_peak": {"arithmetic": [SLOW[0], FAST[0]], "memory": [SLOW[1], FAST[1]]},
        "machine": hardware(),
        "cpu_threads": torch.get_num_threads(),
        "cpu_matmul_flop_s": round(matmul),
        "cpu_share": {name: round(flop_s / matmul, 2) for name, flop_s in reached.items()},
        "cpu_features_s": round(sum(CLIPS.values()) * features_s()),
        **{name: value for name, value in origin().items() if name in ("git_commit", "uncommitted", "created")},
    }
    print(json.dumps(about, indent=1))
    if write:
        RESULT.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        RESULT.with_suffix(".md").write_text(section(about), encoding="utf-8")


if __name__ == "__main__":
    main()

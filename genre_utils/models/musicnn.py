"""MusiCNN: a spectrogram network that was pre-trained to predict tags of music (Pons and Serra, ISMIR 2019).

Written from the paper and the shapes of the published weights, whose own code needs TensorFlow 1. The package carries
the weights as safetensors (``data/musicnn``; ISC licence).
"""

from __future__ import annotations

from functools import lru_cache

import librosa
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from genre_utils.errors import CheckpointError
from genre_utils.paths import WEIGHTS, package_data

RATE_HZ, N_FFT, HOP, BANDS = 16_000, 512, 256, 96
#: Frames of a window: 3 s.
FRAMES = 187
#: The 50 tags of the Million Song Dataset that it names, in its order.
TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy", "catchy",
    "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip
#: What it says of a window, and how many numbers that is.
LAYERS = {"pooled": 1506, "penultimate": 200, "tags": len(TAGS)}


class _Block(nn.Module):
    """Convolution, ReLU, normalisation, maximum over the width: (n, 1, frames, width) -> (n, filters, frames)."""

    def __init__(self, filters: int, frames: int, width: int):
        super().__init__()
        before = (frames - 1) // 2  # of an even number TensorFlow puts the odd one behind
        self.padding = (0, 0, before, frames - 1 - before)
        self.conv, self.norm = nn.Conv2d(1, filters, (frames, width)), nn.BatchNorm2d(filters, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(F.relu(self.conv(F.pad(x, self.padding)))).amax(dim=3)


class MusiCNN(nn.Module):
    """787,159 numbers between a log-mel window and its tags.

    Filters as tall as a timbre and as long as a rhythm; three convolutions over time, the second and third with a way
    round them; of all four stages side by side the maximum and mean over time; a dense layer; the tags.
    """

    def __init__(self) -> None:
        super().__init__()
        shapes = (204, 7, 38), (204, 7, 67), (51, 128, 1), (51, 64, 1), (51, 32, 1)
        self.norm = nn.BatchNorm2d(1, eps=1e-3)
        self.front = nn.ModuleList(_Block(*shape) for shape in shapes)
        self.middle = nn.ModuleList(_Block(64, 7, width) for width in (561, 64, 64))
        self.pool_norm, self.dense = nn.BatchNorm1d(1506, eps=1e-3), nn.Linear(1506, 200)
        self.dense_norm, self.tags = nn.BatchNorm1d(200, eps=1e-3), nn.Linear(200, len(TAGS))

    def forward(self, windows: torch.Tensor) -> dict[str, torch.Tensor]:
        """:data:`LAYERS` of log-mel `windows` (n, 187, 96): name -> (n, size); tags are scores from 0 to 1."""
        x = self.norm(windows[:, None])
        stages = [torch.cat([block(x) for block in self.front], dim=1)]
        for number, block in enumerate(self.middle):
            found = block(stages[-1].transpose(1, 2)[:, None])
            stages.append(found + stages[-1] if number else found)
        x = torch.cat(stages, dim=1)
        pooled = torch.stack([x.amax(dim=2), x.mean(dim=2)], dim=2).flatten(1)
        penultimate = self.dense_norm(F.relu(self.dense(self.pool_norm(pooled))))
        return {"pooled": pooled, "penultimate": penultimate, "tags": torch.sigmoid(self.tags(penultimate))}


def log_mel(wave: np.ndarray) -> np.ndarray:
    """What it hears of a wave (n,) at 16 kHz: log10(1 + 10,000 power) in 96 mel bands, float32 (frames, 96)."""
    mel = librosa.feature.melspectrogram(y=wave, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP, n_mels=BANDS).T
    return np.log10(1 + 1e4 * np.minimum(mel, 65_504).astype(np.float16).astype(np.float32))  # as it was trained: half precision


def hear(wave: np.ndarray, hop: int = FRAMES) -> dict[str, np.ndarray]:
    """:data:`LAYERS` of each window of a wave (n,) at 16 kHz: name -> float32 (windows, size).

    A window starts every `hop` frames; a rest shorter than a window is dropped, but what is shorter than one is repeated.
    """
    mel = log_mel(wave)
    if len(mel) < FRAMES:
        mel = np.pad(mel, ((0, FRAMES - len(mel)), (0, 0)), mode="wrap")
    windows = torch.from_numpy(mel).unfold(0, FRAMES, hop).transpose(1, 2)
    with torch.inference_mode():
        found = [load_musicnn()(some) for some in windows.split(2)]  # eight at a time take more memory, and longer
    return {name: torch.cat([one[name] for one in found]).numpy() for name in LAYERS}


@lru_cache(maxsize=1)
def load_musicnn() -> MusiCNN:
    """The network with its published weights, in eval mode; a CheckpointError if the package's copy is damaged."""
    path, model = package_data("musicnn", WEIGHTS), MusiCNN()
    try:
        model.load_state_dict(load_file(path))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({str(error).splitlines()[0]}): install the package again") from error
    return model.eval()

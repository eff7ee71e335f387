"""Excerpts of clips: cut at random for training, evenly for scoring; the clip's score is the mean over its excerpts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from genre_utils.device import default_device, precision_of
from genre_utils.errors import GenreError


def window_starts(length: int, window: int | None, most: int | None = None) -> np.ndarray:
    """Starts of the fewest evenly spaced windows that cover `length` samples (or frames), or of `most` of them."""
    if window is None or window >= length:
        return np.zeros(1, dtype=np.int64)
    covering = np.linspace(0, length - window, math.ceil(length / window)).round().astype(np.int64)
    if most is None or most >= len(covering):
        return covering
    return covering[((np.arange(most) + 0.5) / most * len(covering)).astype(int)]


class WindowSet(torch.utils.data.Dataset):
    """Excerpts of equally long clips: one random crop a clip and epoch, or all evenly spaced windows.

    Parameters
    ----------
    inputs : float array or Rows (n, ..., time)
        Mel-spectrograms, waveforms or pooled states.
    labels : int array (n,)
    window : int or None
        Length of an excerpt on the last axis, in frames or samples; None feeds the whole array.
    most : int, optional
        So many of a clip's evenly spaced windows at most: enough to tell a better epoch from a worse one.
    train : bool
        True: ``len`` is n and item i is a random crop of clip i, a function of (seed, epoch, i) alone.
        False: all windows of clip 0, then of clip 1, and so on.
    """

    def __init__(
        self, inputs: np.ndarray, labels: Sequence[int], window: int | None = None, train: bool = False,
        most: int | None = None,
    ):  # fmt: skip
        if len(inputs) != len(labels) or len(inputs) == 0:
            raise GenreError(f"{len(inputs)} clips and {len(labels)} labels: they must be equally many, and some")
        self.inputs, self.labels = inputs, np.asarray(labels, dtype=np.int64)
        self.window = None if window is None else min(int(window), inputs.shape[-1])
        self.train, self.seed, self.epoch = train, 0, 0
        self.starts = window_starts(inputs.shape[-1], self.window, most)

    def __len__(self) -> int:
        return len(self.inputs) * (1 if self.train else len(self.starts))

    @property
    def clip_index(self) -> np.ndarray:
        """Clip of each item, int (len,)."""
        return np.arange(len(self)) // (1 if self.train else len(self.starts))

    def _start(self, index: int) -> int:
        if not self.train:
            return int(self.starts[index % len(self.starts)])
        if self.window is None:
            return 0
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return int(rng.integers(0, self.inputs.shape[-1] - self.window + 1))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        clip = index if self.train else index // len(self.starts)
        start = self._start(index)
        stop = None if self.window is None else start + self.window
        values = np.array(self.inputs[clip, ..., start:stop], dtype=np.float32)
        return {"input_values": torch.from_numpy(values), "labels": torch.tensor(self.labels[clip])}


def mean_over_windows(probabilities: np.ndarray, clip_index: np.ndarray) -> np.ndarray:
    sums = np.zeros((clip_index.max() + 1, probabilities.shape[1]))
    np.add.at(sums, clip_index, probabilities)
    return sums / np.bincount(clip_index)[:, None]


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.asarray(logits, dtype=np.float64)).softmax(-1).numpy()


@torch.no_grad()
def predict_clips(
    model: nn.Module, inputs: np.ndarray, window: int | None = None, batch_size: int = 32, *, precision: str = "auto"
) -> np.ndarray:
    """Class probabilities of every clip, float (n, n_genres): the mean over its evenly spaced windows.

    Parameters
    ----------
    model : nn.Module
        Returns a dict with ``logits``. It moves to this machine's :func:`~genre_utils.device.default_device`, and stays there.
    inputs : float array or Rows (n, ..., time)
    window : int or None
        In frames or samples, as in training.
    precision : {"auto", "fp32", "bf16", "fp16"}
    """
    windows = WindowSet(inputs, np.zeros(len(inputs)), window)
    device = next(model.to(default_device()).parameters()).device
    precision = precision_of(device, model) if precision == "auto" else precision
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    was_training, rows = model.training, []
    model.eval()
    for batch in torch.utils.data.DataLoader(windows, batch_size):
        with torch.autocast(device.type, kind, enabled=precision != "fp32"):
            rows.append(model(batch["input_values"].to(device))["logits"].float().cpu().numpy())
    model.train(was_training)
    return mean_over_windows(softmax(np.concatenate(rows)), windows.clip_index)

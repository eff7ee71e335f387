"""The study's baseline: a convolutional network on mel-spectrograms."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def conv_block(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Convolution 3x3, batch norm, ReLU, halve both axes, dropout: (b, in, F, T) -> (b, out, F//2, T//2).

    ReLU and the maximum of four may change places; after it, there is a quarter of the numbers to cut.
    """
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout(dropout),
    )


def with_loss(logits: torch.Tensor, labels: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """What a classifier returns: ``logits`` and, where there are labels, their cross-entropy as ``loss``."""
    if labels is None:
        return {"logits": logits}
    return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


class GenreCNN(nn.Module):
    """The study's network: four blocks 1-32-64-128-256, global average pooling, FC 256-512-256-`n_genres`.

    654,282 parameters for ten genres. The pooling makes it independent of the excerpt's length.

    Parameters
    ----------
    n_genres : int
    dropout : float
        Of the fully connected part; the convolutional blocks drop half as much (0.25 and 0.5 in the study).
    """

    def __init__(self, n_genres: int = 10, dropout: float = 0.5):
        super().__init__()
        self.settings = {"n_genres": n_genres, "dropout": dropout}
        widths = (1, 32, 64, 128, 256)
        self.blocks = nn.Sequential(*(conv_block(a, b, dropout / 2) for a, b in pairwise(widths)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(256, 512),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, n_genres),
        )

    def forward(
        self, input_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Scores of a batch of mel-spectrograms.

        Parameters
        ----------
        input_values : float tensor (b, 1, bands, frames), in [0, 1]
            At least 16 bands and 16 frames, because four blocks halve both axes.
        labels : int64 tensor (b,), optional

        Returns
        -------
        dict
            ``logits`` (b, n_genres), and ``loss`` (mean cross-entropy) if labels were given.
        """
        # Channels last: the layout in which convolutions run fastest on CPUs.
        x = input_values.contiguous(memory_format=torch.channels_last)
        return with_loss(self.head(self.pool(self.blocks(x))), labels)

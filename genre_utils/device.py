"""Where a run computes."""

from __future__ import annotations


def default_device() -> str:
    """``"cuda"`` where there is such a GPU, else ``"cpu"`` (Apple's ``mps`` is not used: untested here)."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""Where a run computes, and in what arithmetic."""

from __future__ import annotations

import functools

#: More than rounding can explain, for :func:`bf16_error`.
WRONG = 0.05


def default_device() -> str:
    """``"cuda"`` where there is such a GPU, else ``"cpu"`` (Apple's ``mps`` is not used: untested here)."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(device=None) -> str:
    """Fastest safe arithmetic of `device` (this machine's, if None): "bf16" where the hardware has it and computes it
    right, "fp16" on older GPUs, else "fp32"."""
    import torch

    device = torch.device(device or default_device())
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bf16" if device.type == "cpu" and native is not None and native() and bf16_error() < WRONG else "fp32"


@functools.cache
def bf16_error() -> float:
    """How far a convolution in bfloat16 is from the same one in float32 on this processor, relative to the latter.

    Rounding alone gives 0.003. On processors with AMX, oneDNN (as in torch 2.11) computes convolutions with fewer than
    16 channels a group plainly wrong, and says nothing: 1.2 for this one, the positional convolution of the book's own
    backbone.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    sound, kernel = (torch.randn(shape, generator=generator) for shape in ((1, 192, 50), (192, 12, 32)))
    exact = torch.nn.functional.conv1d(sound, kernel, groups=16)
    rounded = torch.nn.functional.conv1d(sound.bfloat16(), kernel.bfloat16(), groups=16)
    return float((rounded.float() - exact).norm() / exact.norm())


def autocast(device=None, bf16: bool | None = None):
    """Context that computes in bfloat16 on `device` (this machine's, if None): where the hardware has it, or as `bf16`
    says."""
    import torch

    device = torch.device(device or default_device())
    enabled = precision_of(device) == "bf16" if bf16 is None else bf16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

"""Where a run computes, and in what arithmetic."""

from __future__ import annotations


def default_device() -> str:
    """``"cuda"`` where there is such a GPU, else ``"cpu"`` (Apple's ``mps`` is not used: untested here)."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(device=None) -> str:
    """Fastest safe arithmetic of `device` (this machine's, if None): "bf16" where the hardware has
    it, "fp16" on older GPUs, else "fp32"."""
    import torch

    device = torch.device(device or default_device())
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bf16" if device.type == "cpu" and native is not None and native() else "fp32"


def autocast(device=None, bf16: bool | None = None):
    """Context that computes in bfloat16 on `device` (this machine's, if None): where the hardware has it, or as `bf16`
    says."""
    import torch

    device = torch.device(device or default_device())
    enabled = precision_of(device) == "bf16" if bf16 is None else bf16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

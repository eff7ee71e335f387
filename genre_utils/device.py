"""Where a run computes, in what arithmetic, and with how much memory."""

from __future__ import annotations

import functools
import os

import joblib
import psutil

#: More than rounding can explain, for :func:`bf16_error`.
WRONG = 0.05


def cores() -> int:
    """How many cores are ours: those this process is bound to, no more than a container's or a batch job's share, and
    no more than ``OMP_NUM_THREADS``."""
    limits = (os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"))
    return min([joblib.cpu_count(), *(int(limit) for limit in limits if limit.isdigit() and int(limit))])


@functools.cache
def gpu_problem() -> str | None:
    """Why a GPU that torch sees cannot be used, in a sentence; None if it can be, or if there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    try:
        torch.nn.functional.conv1d(torch.ones(1, 1, 8, device="cuda"), torch.ones(1, 1, 3, device="cuda")).sum().item()
    except RuntimeError as error:  # built for other cards, out of memory, taken by somebody else, driver too old
        return f"{torch.cuda.get_device_name(0)} cannot be used ({str(error).splitlines()[0]})"
    return None


def default_device() -> str:
    """``"cuda"`` where there is such a GPU and it works, else ``"cpu"`` (Apple's ``mps`` is not used: untested here)."""
    import torch

    return "cuda" if torch.cuda.is_available() and gpu_problem() is None else "cpu"


def memory_mb() -> tuple[float, float]:
    """What this process holds and what is free, in MB: of the GPU's memory where one is used, else of the machine's."""
    import torch

    if default_device() == "cuda":
        return torch.cuda.memory_allocated() / 2**20, torch.cuda.mem_get_info()[0] / 2**20
    return psutil.Process().memory_info().rss / 2**20, psutil.virtual_memory().available / 2**20


def kept_mb(model, batch: dict) -> float:
    """MB that a training step on `batch` (name -> tensor) keeps for its backward pass, weights not counted: what autograd saves.

    The model is as it was afterwards, its running statistics too; parts that lay elsewhere moved to where its first weight is.
    """
    import torch

    where = next(model.parameters()).device
    model.to(where)  # first: what moves is another storage afterwards, and would not be known for a weight
    weights, kept = {weight.data_ptr() for weight in model.parameters()}, {}
    before, was_training = {name: value.clone() for name, value in model.named_buffers()}, model.training

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    try:
        with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.train()(**{name: value.to(where) for name, value in batch.items()})
    finally:
        model.train(was_training).load_state_dict(before, strict=False)
    return sum(kept.values()) / 2**20


def precision_of(device=None, model=None) -> str:
    """Fastest safe arithmetic of `device` (this machine's, if None) for `model`: "bf16", "fp16" or "fp32".

    "bf16" where the hardware has it, unless it is a processor that gets one of the model's grouped convolutions wrong
    (see :func:`bf16_error`); "fp16" on older GPUs.
    """
    import torch

    device = torch.device(device or default_device())
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")  # not where it is told to do without
    if device.type != "cpu" or native is None or not native() or not wide:
        return "fp32"
    grouped = {
        (module.out_channels, module.in_channels // module.groups, module.groups, *module.kernel_size)
        for module in (model.modules() if model is not None else ())
        if isinstance(module, torch.nn.Conv1d) and module.groups > 1
    }
    return "fp32" if any(bf16_error(*shape) > WRONG for shape in grouped) else "bf16"


@functools.cache
def bf16_error(channels: int = 192, per_group: int = 12, groups: int = 16, width: int = 32) -> float:
    """How far a grouped convolution in bfloat16 is from the same one in float32 on this processor, relative to it.

    Rounding alone gives 0.003. But on processors with AMX, oneDNN (as in torch 2.11) gets such convolutions wrong if a
    group has fewer than 16 channels: by 1.2 in the defaults, the positional convolution of the book's own backbone.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(1, per_group * groups, width + 20, generator=generator)
    kernel = torch.randn(channels, per_group, width, generator=generator)
    exact = torch.nn.functional.conv1d(sound, kernel, groups=groups)
    rounded = torch.nn.functional.conv1d(sound.bfloat16(), kernel.bfloat16(), groups=groups)
    return float((rounded.float() - exact).norm() / exact.norm())


def autocast(model, bf16: bool | None = None):
    """Context in which `model` computes in bfloat16: where it is the fastest safe arithmetic, or as `bf16` says."""
    import torch

    device = next(model.parameters()).device
    bf16 = precision_of(device, model) == "bf16" if bf16 is None else bf16
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)

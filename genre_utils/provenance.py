"""Where a result comes from: versions, machine and commit; and what it cost: seconds and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, Field

from genre_utils.paths import project_root

_PACKAGES = (
    "torch", "transformers", "accelerate", "librosa", "soundfile", "numpy", "scipy", "scikit-learn",
    "statsmodels", "genre-utils",
)  # fmt: skip


class Stage(BaseModel):
    """A timed part of a run. Memory is the peak of the process (RSS), and of the GPU where there is one."""

    model_config = ConfigDict(extra="forbid")

    name: str
    seconds: float = Field(ge=0)
    peak_memory_mb: float = Field(ge=0)
    peak_gpu_mb: float | None = None


class Cost(BaseModel):
    """What a run cost: its stages and the number of parameters trained and held."""

    model_config = ConfigDict(extra="forbid")

    stages: list[Stage] = []
    trainable_parameters: int | None = None
    total_parameters: int | None = None

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak_memory_mb(self) -> float | None:
        return max((stage.peak_memory_mb for stage in self.stages), default=None)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result may depend on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPU of this machine (nothing that identifies it)."""
    gpu = None
    torch = sys.modules.get("torch")  # asked only if a model was run
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(0)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def origin() -> dict[str, Any]:
    """What every record says of its making: versions, hardware, commit and time."""
    return {
        "versions": versions(),
        "hardware": hardware(),
        **_checkout(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _checkout() -> dict[str, Any]:
    """Commit of the checkout, and whether tracked files differ from it; None where there is no checkout."""
    root = project_root()

    def git(*words: str) -> str | None:
        try:
            call = ["git", "-C", str(root), *words]
            return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    commit = git("rev-parse", "HEAD") if root else None
    changed = git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"git_commit": commit or None, "uncommitted": None if changed is None else bool(changed)}


class Stopwatch:
    """Times the stages of a run and watches its memory.

    >>> watch = Stopwatch()
    >>> with watch.stage("train"):
    ...     pass
    >>> watch.cost(trainable=10, total=20).stages[0].name
    'train'
    """

    def __init__(self, interval_s: float = 0.05) -> None:
        self.stages: list[Stage] = []
        self._interval_s = interval_s

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the wall time and peak memory of the block, also when it raises."""
        process, peak, done = psutil.Process(), [0], threading.Event()

        def sample() -> None:
            while True:
                peak[0] = max(peak[0], process.memory_info().rss)
                if done.wait(self._interval_s):
                    return

        torch = sys.modules.get("torch")
        cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
        if cuda:
            cuda.reset_peak_memory_stats()
        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            done.set()
            sampler.join()
            peak[0] = max(peak[0], process.memory_info().rss)
            self.stages.append(
                Stage(
                    name=name,
                    seconds=round(seconds, 3),
                    peak_memory_mb=round(peak[0] / 2**20, 1),
                    peak_gpu_mb=round(cuda.max_memory_allocated() / 2**20, 1) if cuda else None,
                )
            )

    def cost(self, trainable: int | None = None, total: int | None = None) -> Cost:
        """The stages so far, with the parameters of the model."""
        return Cost(stages=list(self.stages), trainable_parameters=trainable, total_parameters=total)

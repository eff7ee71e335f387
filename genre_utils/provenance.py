"""Where a result comes from: versions, machine and commit; and what it cost: seconds and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, Field

from genre_utils.device import default_device
from genre_utils.paths import project_root

_PACKAGES = (
    "torch", "transformers", "accelerate", "librosa", "soundfile", "numpy", "scipy", "scikit-learn",
    "statsmodels", "genre-utils",
)  # fmt: skip


class Strict(BaseModel):
    """A part of a record: what it does not know is an error."""

    model_config = ConfigDict(extra="forbid")


class Stage(Strict):
    """A timed part of a run. Memory is the peak of the process (RSS), and of the GPU where there is one."""

    name: str
    seconds: float = Field(ge=0)
    peak_memory_mb: float = Field(ge=0)
    peak_gpu_mb: float | None = None


class Cost(Strict):
    """What a run cost: its stages and the number of parameters trained and held."""

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
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPU of this machine (nothing that identifies it)."""
    cuda = _cuda()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": cuda.get_device_name(0) if cuda else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cuda():
    """``torch.cuda`` where a GPU is used and torch was imported."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and default_device() == "cuda" else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def origin() -> dict[str, Any]:
    """What every record says of its making: versions, hardware, commit and time."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"versions": versions(), "hardware": hardware(), **_checkout(), "created": created}


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
    return {"git_commit": commit, "uncommitted": None if changed is None else bool(changed)}


class Stopwatch:
    """Times the stages of a run and watches its memory: ``with watch.stage("train"): ...`` adds one to ``stages``."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the wall time and peak memory of the block, also when it raises."""
        process, done = psutil.Process(), threading.Event()
        seen = [process.memory_info().rss]

        def sample() -> None:
            while not done.wait(0.05):
                seen.append(process.memory_info().rss)

        if cuda := _cuda():
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
            peak = round(max(*seen, process.memory_info().rss) / 2**20, 1)
            gpu = round(cuda.max_memory_allocated() / 2**20, 1) if cuda else None
            self.stages.append(Stage(name=name, seconds=round(seconds, 3), peak_memory_mb=peak, peak_gpu_mb=gpu))

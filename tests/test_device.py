"""Where a run computes, and that the arithmetic it chooses is right."""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import torch

from genre_utils import device
from genre_utils.models.wav2vec import load_backbone

MODEL = torch.nn.Sequential(torch.nn.Conv1d(32, 32, 8, groups=4), torch.nn.Linear(8, 8))


@pytest.mark.parametrize(("fastest", "asked", "used"), [("bf16", None, True), ("fp32", None, False), ("fp32", True, True)])
def test_bfloat16_is_used_where_the_hardware_has_it_unless_told_otherwise(monkeypatch, fastest, asked, used):
    monkeypatch.setattr(device, "precision_of", lambda *_: fastest)
    with device.autocast(MODEL, asked):
        assert torch.is_autocast_enabled("cpu") is used


@pytest.mark.parametrize(("native", "wrong", "chosen"), [(True, (), "bf16"), (True, (32, 8, 4, 8), "fp32"), (False, (), "fp32")])
def test_a_processor_computes_in_bfloat16_if_it_has_it_and_gets_the_models_layers_right(monkeypatch, native, wrong, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(device, "bf16_error", lambda *shape: 1.2 if shape == wrong else 0.003)
    assert device.precision_of("cpu", MODEL) == chosen
    assert device.precision_of("cpu") == ("bf16" if native else "fp32"), "without a model there is nothing to get wrong"


def test_the_chosen_arithmetic_gives_the_states_of_float32():
    backbone = load_backbone("shipped")
    sound = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = backbone.hidden_states(sound)
        with device.autocast(backbone):
            chosen = backbone.hidden_states(sound)
    for ours, right in zip(chosen, exact, strict=True):
        assert (ours.float() - right).norm() < 0.05 * right.norm()


@pytest.mark.parametrize(
    ("share", "environment", "expected"),
    [(8, {}, 8), (8, {"OMP_NUM_THREADS": "3"}, 3), (8, {"SLURM_CPUS_PER_TASK": "2"}, 2), (1, {"OMP_NUM_THREADS": "4"}, 1), (8, {"OMP_NUM_THREADS": "0"}, 8)],
)
def test_cores_that_are_not_ours_are_not_counted(monkeypatch, share, environment, expected):
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(joblib, "cpu_count", lambda: share)  # which knows taskset and the quotas of containers
    assert device.cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_that_is_bound_to_one_core_counts_one():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from genre_utils.device import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "1"


def test_a_gpu_that_cannot_be_used_is_named_and_passed_over(monkeypatch):
    from genre_utils.chapter import device_line

    def broken(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla K80")
    monkeypatch.setattr(torch, "ones", broken)
    device.gpu_problem.cache_clear()
    try:
        assert device.default_device() == "cpu"
        assert "Tesla K80 cannot be used (CUDA error: no kernel image is available for execution on the device)" in device_line()
    finally:
        device.gpu_problem.cache_clear()


def test_caches_have_a_place_where_the_home_may_not_be_written(tmp_path):
    code = "import genre_utils, os; print(os.environ['NUMBA_CACHE_DIR'], os.environ['MPLCONFIGDIR'], os.environ['HF_HOME'])"
    environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "HF_HOME")}
    environment |= {"HOME": "/proc/no/home", "GENRE_UTILS_HOME": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert all(place.startswith(str(tmp_path)) for place in said.split())
    nowhere = environment | {"GENRE_UTILS_HOME": "/proc/no"}
    said = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True, check=True).stdout
    assert all(Path(place).parent.stat().st_uid == os.getuid() for place in said.split())

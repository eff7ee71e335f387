"""What GPUs are expected to take: the formula, the count of operations, and the page that calls it an estimate."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from torch import nn

from genre_utils.paths import recorded_dir
from genre_utils.publish import pages

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("gpu_estimate", ROOT / "benchmarks" / "gpu_estimate.py")
    sys.modules["gpu_estimate"] = module = importlib.util.module_from_spec(spec)  # dataclasses look it up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["gpu_estimate"]


def test_the_scarcer_of_arithmetic_and_memory_decides(benchmark):
    gpu, share = (100.0, 10.0), (0.5, 0.25)  # it reaches 50 operations and 2.5 bytes a second
    assert benchmark.seconds(benchmark.Work(flop=200, moved=5, held=0), gpu, share) == 4
    assert benchmark.seconds(benchmark.Work(flop=200, moved=15, held=0), gpu, share) == 6


class Grouped(nn.Module):
    """A grouped convolution (4 channels in 2 groups, 3 wide) between two ordinary ones (1 wide)."""

    def __init__(self):
        super().__init__()
        widths = [nn.Conv1d(1, 4, 1), nn.Conv1d(4, 4, 3, groups=2, padding=1), nn.Conv1d(4, 2, 1)]
        self.layers = nn.Sequential(*widths)

    def forward(self, x, labels):
        logits = self.layers(x).mean(-1)
        return {"loss": nn.functional.cross_entropy(logits, labels)}


def test_operations_and_bytes_are_those_counted_by_hand(benchmark):
    step = benchmark.count(Grouped, 5, 1, 10)  # 5 clips of 10 samples
    first, grouped, last = 2 * 5 * 10 * 4 * 1, 2 * 5 * 10 * 4 * 2 * 3, 2 * 5 * 10 * 2 * 4
    # Forward; the gradients of all weights; those of the inputs, which nobody asks of the first layer.
    assert step.flop == 3 * (first + grouped + last) - first
    weights = (4 + 4) + (4 * 2 * 3 + 4) + (2 * 4 + 2)
    assert step.held > 16 * weights  # the weight, its gradient, AdamW's two averages; and what lies between the layers
    assert benchmark.count(Grouped, 5, 1, 10, train=False).flop == first + grouped + last


def test_sections_of_the_timing_page_are_those_of_their_records(benchmark):
    spec = importlib.util.spec_from_file_location("book_benchmark", ROOT / "benchmarks" / "book.py")
    book = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(book)
    for path in (recorded_dir() / "timing").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        made = (benchmark if "estimate_s" in record else book).section(record)
        assert path.with_suffix(".md").read_text(encoding="utf-8") == made


def test_the_timing_page_shows_the_recorded_estimate_as_one(monkeypatch, tmp_path):
    record = json.loads((recorded_dir() / "timing" / "gpu-estimate.json").read_text(encoding="utf-8"))
    page = pages.timing_page({}).partition("## Estimated, not measured")[2]
    assert "Nobody has run" in page and "| Estimate | cnn | head-only | full |" in page
    for gpu in ("T4", "A100", "H100"):
        low, high = record["estimate_s"]["full"][gpu]
        assert 0 < low < high and f"| {low:.0f} to {high:.0f} s |\n" in page.partition(f"| {gpu} ")[2]
    assert f"{record['memory_gb']['full']:.1f} GB" in page

    monkeypatch.setattr(pages, "recorded_dir", lambda: tmp_path)
    assert "stimate" not in pages.timing_page({})

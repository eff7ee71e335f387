"""What was measured on a GPU: the count of operations behind it, and the page that shows it."""

import importlib.util
import json
from pathlib import Path

import pytest
from torch import nn

from genre_utils.paths import recorded_dir
from genre_utils.publish import pages

ROOT = Path(__file__).resolve().parents[1]


def script(name: str):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark():
    return script("gpu")


class Grouped(nn.Module):
    """A grouped convolution (4 channels in 2 groups, 3 wide) between two ordinary ones (1 wide)."""

    def __init__(self):
        super().__init__()
        widths = [nn.Conv1d(1, 4, 1), nn.Conv1d(4, 4, 3, groups=2, padding=1), nn.Conv1d(4, 2, 1)]
        self.layers = nn.Sequential(*widths)

    def forward(self, x, labels):
        logits = self.layers(x).mean(-1)
        return {"loss": nn.functional.cross_entropy(logits, labels)}


def test_operations_are_those_counted_by_hand(benchmark):
    first, grouped, last = 2 * 5 * 10 * 4 * 1, 2 * 5 * 10 * 4 * 2 * 3, 2 * 5 * 10 * 2 * 4  # 5 clips of 10 samples
    # Forward; the gradients of all weights; those of the inputs, which nobody asks of the first layer.
    assert benchmark.operations(Grouped, 5, 1, 10) == 3 * (first + grouped + last) - first
    assert benchmark.operations(Grouped, 5, 1, 10, train=False) == first + grouped + last


def test_sections_of_the_timing_page_are_those_of_their_records(benchmark):
    book = script("book")
    for path in (recorded_dir() / "timing").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        made = (benchmark if "epochs" in record else book).section(record)
        assert path.with_suffix(".md").read_text(encoding="utf-8") == made


def test_the_timing_page_tells_what_was_measured_from_what_is_estimated(monkeypatch, tmp_path):
    record = json.loads((recorded_dir() / "timing" / "gpu.json").read_text(encoding="utf-8"))
    measured, _, guessed = pages.timing_page({}).partition("## On a GPU: ")[2].partition("**estimated, not measured**")
    assert measured.startswith(record["machine"]["gpu"]) and "T4" not in measured and "| T4 |" in guessed and "| A100 |" in guessed
    for name, its in record["epochs"].items():
        assert f"| {name} | {its['epoch_s']:.3g} s |" in measured

    monkeypatch.setattr(pages, "recorded_dir", lambda: tmp_path)
    assert "GPU" not in pages.timing_page({})

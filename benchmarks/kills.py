"""Kill runs of real chapters, resume each, and compare what they end with to an undisturbed run.

    python benchmarks/kills.py --times 10

Chapters 2 and 5 in turn, on the profile mini made small (clips of 5 s, a tiny backbone), as in the tests. Every second kill comes
while the network trains, the others at any moment.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from real_chapters import kill, tiny_backbone
from test_real_runs import SMALL

from genre_utils.records import RunCard

#: Chapter -> the folder of its network.
CHAPTERS = {2: "cnn", 5: "full"}


def start(chapter: int, home: Path, runs: Path) -> subprocess.Popen:
    words = ["run", "--chapters", str(chapter), "--out", str(runs / "chapters")]
    words += ["--backbone", str(home / "tiny")] if chapter > 2 else []
    places = {"PYTHONPATH": str(home / "site"), "GENRE_UTILS_RUNS": str(runs), "GENRE_UTILS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "genre_utils", *words], cwd=ROOT, env=os.environ | places, start_new_session=True, **quiet)


def finish(process: subprocess.Popen) -> None:
    if process.wait(600):
        raise SystemExit(f"{' '.join(process.args[1:])} failed")


def trains(runs: Path, approach: str) -> bool:
    return bool(list(runs.glob(f"*/{approach}/checkpoints/*")))


def outcome(runs: Path, approach: str) -> tuple[bytes, list]:
    """Weights to the byte, and the probabilities of every test clip."""
    (folder,) = runs.glob(f"*/{approach}")
    return (folder / "model.safetensors").read_bytes(), RunCard.load(folder / "record.json").predictions


def main(
    times: Annotated[int, typer.Option(min=1, help="How many kills.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Print, for each kill, when it came, whether a training was under way, and whether the end is the same."""
    moments, equal = random.Random(seed), 0
    with TemporaryDirectory() as folder:
        home = Path(folder)
        tiny_backbone(home / "tiny")
        (home / "site").mkdir()
        (home / "site" / "sitecustomize.py").write_text(SMALL.format(tests=str(ROOT / "tests")))
        took, wanted = {}, {}
        for chapter, approach in CHAPTERS.items():
            finish(start(chapter, home, home / "first"))  # fills the caches of features
            began = time.monotonic()
            finish(start(chapter, home, home / "alone"))
            took[chapter], wanted[chapter] = time.monotonic() - began, outcome(home / "alone", approach)
        for i in range(times):
            chapter, approach = list(CHAPTERS.items())[i % len(CHAPTERS)]
            runs, began = home / f"kill{i}", time.monotonic()
            process = start(chapter, home, runs)
            if i // len(CHAPTERS) % 2 == 0:
                while not trains(runs, approach) and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(moments.uniform(0, 0.4))
            else:
                time.sleep(moments.uniform(0.1, 0.95) * took[chapter])
            after_s, ended, training = time.monotonic() - began, process.poll() is not None, trains(runs, approach)
            kill(process)
            finish(start(chapter, home, runs))
            same = outcome(runs, approach) == wanted[chapter]
            equal += same
            state = "it had ended" if ended else "in its training" if training else "outside its training"
            print(f"chapter {chapter}, killed after {after_s:.0f} of {took[chapter]:.0f} s ({state}): {'equal' if same else 'DIFFERENT'}", flush=True)
    print(f"{equal} of {times} end with the weights and predictions of an undisturbed run")
    raise SystemExit(equal != times)


if __name__ == "__main__":
    typer.run(main)

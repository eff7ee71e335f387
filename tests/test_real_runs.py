"""The command line on the real chapters, in processes of their own: side by side, killed, resumed, from a Hub, and asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback_hub import COMMIT, LoopbackHub
from real_chapters import CLIP_S, ROOT, kill, tiny_backbone

from genre_utils.identity import identity
from genre_utils.records import RECORD, RunCard

#: Makes the profiles small in every Python that starts with it: the command's, and those of its kernels.
SMALL = """
import sys
sys.path.insert(0, {tests!r})
if any(word in " ".join(sys.orig_argv) for word in ("ipykernel_launcher", "forkserver", "-m genre_utils")):
    import pytest, real_chapters
    from dataclasses import replace
    from genre_utils.profiles import PROFILES
    patch = pytest.MonkeyPatch()
    real_chapters.shrink(patch)
    PROFILES["mini"] = replace(PROFILES["mini"], full=replace(PROFILES["mini"].full, epochs=4, patience=4))
"""


@pytest.fixture
def command(tmp_path, genre_home):
    """Start ``python -m genre_utils`` with small profiles and an own folder of runs; the corpus is shared."""
    pytest.importorskip("tinysoundfont", reason="rendering needs tinysoundfont")
    from genre_utils.corpora.synthetic import synthetic_corpus

    synthetic_corpus(8, CLIP_S, seed=0, progress=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SMALL.format(tests=str(ROOT / "tests")))

    def start(*words: str, runs: Path, **more: str) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "GENRE_UTILS_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        call = [sys.executable, "-m", "genre_utils", *words]
        return subprocess.Popen(call, cwd=ROOT, env=environment | more, start_new_session=True, **pipes)

    return start


def finish(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said[-3000:]
    return said


def test_two_runs_at_once_killed_and_resumed_end_as_undisturbed_ones(command, tmp_path):
    backbone = str(tiny_backbone(tmp_path / "tiny"))
    runs = [identity(seed=seed, backbone=backbone) for seed in (0, 1)]
    words = [("run", "--chapters", "5", "--backbone", backbone, "--seed", str(run.seed), "--out", str(tmp_path / f"out{run.seed}"))
             for run in runs]  # fmt: skip
    beside, alone = tmp_path / "beside", tmp_path / "alone"
    finish(command(*words[0], "--seeds", "2", runs=alone))  # one after the other

    both = {run.name(): command(*said, runs=beside) for run, said in zip(runs, words, strict=True)}
    until, killed = time.monotonic() + 300, set()
    while len(killed) < 2 and time.monotonic() < until and any(one.poll() is None for one in both.values()):
        for name in {path.parents[2].name for path in beside.glob("*/full/checkpoints/checkpoint-*")} - killed:
            kill(both[name])
            killed.add(name)
        time.sleep(0.02)
    assert killed == set(both), "both were to be killed in the middle of their training"
    assert not list(beside.glob("*/full/record.json"))

    for process in [command(*said, runs=beside) for said in words]:
        finish(process)
    for run in runs:
        weights = Path(run.name(), "full", "model.safetensors")
        assert (beside / weights).read_bytes() == (alone / weights).read_bytes()
    cards = [RunCard.load(beside / run.name() / "full" / RECORD) for run in runs]
    assert [card.seed for card in cards] == [0, 1] and cards[0].predictions != cards[1].predictions


def test_a_backbone_of_the_hub_trains_and_predict_says_who_answers(command, tmp_path, music_file):
    tiny_backbone(tmp_path / "hub" / "lab" / "tiny")
    with LoopbackHub(tmp_path / "hub").running() as hub:
        there = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        words = ("--backbone", f"lab/tiny@{COMMIT}")
        records = tmp_path / "records"
        finish(command("run", "--chapters", "4", *words, "--out", str(tmp_path / "out"), "--records", str(records),
                       runs=tmp_path / "runs", **there))  # fmt: skip
        card = RunCard.load(records / "head-only-seed0.json")
        assert card.backbone["name"] == f"lab/tiny@{COMMIT}"
        said = finish(command("predict", str(music_file), "--own", "--json", runs=tmp_path / "runs", **there))
    answer = json.loads(said[said.index("{") :])
    assert answer["run"]["backbone"] == f"lab/tiny@{COMMIT}", "the last run answers"
    assert list(answer["models"]) == ["tags", "head-only"] and "trained on" in answer["models"]["head-only"]
    assert len(answer["files"][0]["guesses"]["head-only"]) == 3
    other = command("predict", str(music_file), "--seed", "3", runs=tmp_path / "runs")
    said, _ = other.communicate()
    assert other.returncode == 2 and "no model of the run" in said and "seed 3" in said


@pytest.fixture
def music_file(genre_home):
    from genre_utils.corpora.synthetic import synthetic_corpus

    return synthetic_corpus(8, CLIP_S, seed=0, progress=False).clips[3].path


def test_identities_of_the_command_line_and_of_the_kernels_agree(tmp_path, monkeypatch):
    """A relative folder means the same to the command and to a kernel that runs in chapters/."""
    monkeypatch.chdir(tmp_path)
    tiny_backbone(tmp_path / "mine")
    given = identity(backbone="mine").parameters()["backbone"]
    assert Path(given).is_absolute() and identity(backbone=given) == identity(backbone="mine")

"""The replication itself, rehearsed: profile gtzan through the real command, with stand-ins for what it needs.

    python tests/rehearsal.py                             # full size: 1000 clips of 30 s, 95 million parameters; hours
    python tests/rehearsal.py --small --genres blues,jazz # the sample that is run with the tests: minutes
    python tests/rehearsal.py --whole                     # every epoch, undisturbed: for a GPU

The stand-ins: rendered clips under GTZAN's names, among them the copies that are documented of GTZAN and its broken file;
and a wav2vec 2.0 of the base layout with random weights, which a Hub on the loopback interface gives out under its real
name and commit. Every training has one epoch (if small: four; if whole: the profile's own). Chapters 1, 2, 4 and 5 are killed
once in the middle of their work, and resumed (if whole: not); at the end the records are exported and judged as a contributed file
would be. What each chapter took is printed. A chapter that fails does not cost the others their turn.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import psutil
import torch
import typer
from loopback_hub import LoopbackHub
from real_chapters import kill, stand_in
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from genre_utils.corpora import gtzan_faults
from genre_utils.corpora.synthetic import synthetic_corpus
from genre_utils.profiles import PROFILES
from genre_utils.splits import gtzan_ids

ROOT = Path(__file__).resolve().parents[1]
GTZAN, BROKEN = PROFILES["gtzan"], "jazz.00054"
#: Made short in every Python that starts with it: the command's, and those of its kernels.
SHORT = """
import sys
if any(word in " ".join(sys.orig_argv) for word in ("ipykernel_launcher", "forkserver", "-m genre_utils")):
    from dataclasses import replace
    from genre_utils.corpora import gtzan
    from genre_utils.profiles import PROFILES
    whole, gtzan.CLIP_S = PROFILES["gtzan"], {clip_s}
    brief = {{name: replace(getattr(whole, name), epochs={epochs}, patience={epochs}, window_s=min({clip_s}, getattr(whole, name).window_s))
             for name in ("cnn", "head_only", "full")}}
    # Of so few clips a chapter does not ask whether anything was learned: one epoch teaches nothing.
    PROFILES["gtzan"] = replace(whole, clip_s={clip_s}, clips_per_genre=8, **brief)
"""
#: The base layout in small: the same parts, a hundredth of the weights.
SMALL = {"conv_dim": (64,) * 7, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 192}


def clips(folder: Path, clip_s: float, genres: tuple[str, ...], small: bool) -> None:
    """GTZAN's folders, filled with rendered music (if `small`, with a hundred excerpts of eight pieces of each genre)."""
    ids = [clip_id for clip_id in gtzan_ids() if clip_id.split(".")[0] in genres]
    if small:
        stand_in(folder, ids, synthetic_corpus(8, clip_s, seed=0))
    else:
        files = {clip.id: clip.path for clip in synthetic_corpus(100, clip_s, seed=0)}
        for clip_id in ids:
            genre, number = clip_id.split(".")
            path = folder / genre / f"{clip_id}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(files.get(clip_id) or files[f"{genre}.{(int(number) + 1) % 100:05d}"], path)
    for copies in gtzan_faults().replicas:
        first, *others = (folder / clip_id.split(".")[0] / f"{clip_id}.wav" for clip_id in copies)
        for other in others:
            if first.is_file() and other.is_file():
                shutil.copy(first, other)
    if "jazz" in genres:
        (folder / "jazz" / f"{BROKEN}.wav").write_bytes(b"broken, as in the usual copy")


def busy(number: int, home: Path, small: bool) -> bool:
    """Whether chapter `number` is in the middle of its work (of several epochs, if `small`: after the first)."""
    runs, cache = home / "build" / "runs", home / "data" / "cache"
    if number in (2, 5):
        sign = "checkpoint-*/trainer_state.json" if small else "key.json"
        return any(runs.glob(f"gtzan*/{'cnn' if number == 2 else 'full'}/checkpoints/{sign}"))
    kept = {1: "statistics", 4: "frozen"}.get(number)
    return bool(kept) and len(list((cache / kept).glob("*/*.npy"))) > 20


class Failed(Exception):
    """A command did not come to its end; the message is the end of what it said."""


def gpu_mb() -> float:
    """What all processes hold of the GPU's memory."""
    if not torch.cuda.is_available():
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


class Watched:
    """A command, the most memory that it and its kernels hold, and how long it runs."""

    def __init__(self, words: list[str], environment: dict[str, str]):
        self.began, self.private_mb, self.rss_mb, self.gpu_mb, self.used_mb = time.monotonic(), 0.0, 0.0, 0.0, gpu_mb()
        self.log = open(Path(environment["GENRE_UTILS_HOME"]) / "command.log", "a+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genre_utils", *words], cwd=ROOT, env=os.environ | environment, start_new_session=True,
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def look(self) -> bool:
        """Whether it still runs."""
        try:
            tree = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            held = [one.memory_info() for one in tree]
        except psutil.Error:
            held = []
        self.rss_mb = max(self.rss_mb, max((one.rss for one in held), default=0) / 2**20)
        self.private_mb = max(self.private_mb, max((one.rss - one.shared for one in held), default=0) / 2**20)
        self.gpu_mb = max(self.gpu_mb, gpu_mb() - self.used_mb)
        time.sleep(0.05)
        return self.process.poll() is None

    def finish(self) -> float:
        while self.look():
            pass
        if self.process.returncode:
            self.log.seek(0)
            raise Failed(f"{' '.join(self.process.args[2:])} failed:\n{self.log.read()[-3000:]}")
        return time.monotonic() - self.began


def rehearse(number: int, about: list[str], folder: Path, environment: dict[str, str], small: bool, interrupt: bool) -> dict:
    """Run chapter `number`, killed once and resumed if `interrupt`: what it took."""
    words = ["run", *about, "--chapters", str(number), "--out", str(folder)]
    home, tries = Path(environment["GENRE_UTILS_HOME"]), [Watched(words, environment)]
    killed = False
    while tries[0].look() and not killed:
        if killed := interrupt and busy(number, home, small):
            kill(tries[0].process)
    seconds = time.monotonic() - tries[0].began
    if killed:
        tries.append(Watched(words, environment))
        seconds += tries[1].finish()
    else:
        tries[0].finish()
    peaks = {name: round(max(getattr(one, name) for one in tries)) for name in ("rss_mb", "private_mb", "gpu_mb")}
    return {"split": folder.name, "chapter": number, "seconds": round(seconds), "killed": killed, **peaks}


def main(
    small: Annotated[bool, typer.Option("--small", help="Clips of 5 s and a small network.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="The profile's own epochs; nothing is killed.")] = False,
    genres: Annotated[str, typer.Option(help="Some of the ten.")] = "",
    splits: Annotated[str, typer.Option(help="Which of filtered, cnn, wav2vec.")] = "filtered",
    chapters: Annotated[str, typer.Option(help="Which chapters.")] = "1,2,3,4,5,6",
    out: Annotated[Path, typer.Option(help="Where all of it is kept; a second call goes on there.")] = Path("build/rehearsal"),
) -> None:
    """Run chapters of profile gtzan, those that work long killed once and resumed, with stand-ins for clips and Hub."""
    home = out.resolve()
    clip_s = 5.0 if small else GTZAN.clip_s
    (home / "site").mkdir(parents=True, exist_ok=True)
    (home / "site" / "sitecustomize.py").write_text("" if whole and not small else SHORT.format(clip_s=clip_s, epochs=4 if small else 1))
    os.environ["GENRE_UTILS_HOME"] = str(home)
    chosen = tuple(genres.split(",")) if genres else GTZAN.genres
    if not (home / "gtzan").is_dir():
        clips(home / "gtzan.part", clip_s, chosen, small)
        (home / "gtzan.part").rename(home / "gtzan")
    model = home / "hub" / GTZAN.backbone
    if not (model / "model.safetensors").is_file():
        torch.manual_seed(0)
        Wav2Vec2ForPreTraining(Wav2Vec2Config(**(SMALL if small else {}))).save_pretrained(model)

    rows, failures = [], []
    with LoopbackHub(home / "hub", GTZAN.backbone_revision).running() as hub:
        environment = {
            "GENRE_UTILS_HOME": str(home), "GTZAN_DIR": str(home / "gtzan"), "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"),
            "PYTHONPATH": os.pathsep.join([str(home / "site"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        for split in splits.split(","):
            about = ["--profile", "gtzan", "--split", split, "--genres", genres]
            steps = [partial(rehearse, int(n), about, home / "chapters" / split, environment, small, not whole) for n in chapters.split(",")]
            for words in (["export", *about, "--out", str(home / f"{split}.json")], ["ledger", str(home / f"{split}.json")]):
                steps.append(lambda words=words: Watched(words, environment).finish())
            for step in steps:  # one that fails does not keep the others from being tried
                try:
                    found = step()
                except Failed as error:
                    failures.append(str(error))
                    print(error, flush=True)
                    continue
                if isinstance(found, dict):
                    rows.append(found)
                    print(json.dumps(found), flush=True)
                    (home / "took.json").write_text(json.dumps(rows, indent=1))
    asked = [path for path in hub.asked if f"/{GTZAN.backbone}/resolve/{GTZAN.backbone_revision}/" in path]
    killed = sum(row["killed"] for row in rows)
    print(f"{len(rows)} chapters, {killed} killed once and resumed; {len(asked)} requests to the Hub; {len(failures)} failures")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    typer.run(main)

"""Run the real chapters, all of their code, on corpora and networks small enough for a test.

The profiles keep everything but their sizes. Chapters run in this process, one after another in a clean namespace, with
their parameters put in as papermill does: starting a kernel for each would take longer than all else.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import psutil
import soundfile as sf
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from tiny_wav2vec import TINY
from transformers import Wav2Vec2ForPreTraining

from genre_utils import profiles
from genre_utils.corpora import gtzan
from genre_utils.models.wav2vec import small_config
from genre_utils.profiles import GENRES, PROFILES
from genre_utils.splits import gtzan_ids

ROOT = Path(__file__).resolve().parents[1]
CLIP_S = 5.0


def small(profile: profiles.Profile) -> profiles.Profile:
    """`profile` with short clips, short excerpts and hardly any training."""
    brief = {"epochs": 1, "patience": 1, "window_s": 1.0}
    return replace(
        profile,
        clips_per_genre=min(profile.clips_per_genre, 8),
        clip_s=CLIP_S,
        cnn=replace(profile.cnn, **brief),
        head_only=replace(profile.head_only, **(brief | {"epochs": 2})),
        full=replace(profile.full, **brief),
    )


def shrink(monkeypatch, gtzan_folder: Path | None = None, mini_folder: Path | None = None) -> None:
    """Make every profile small, also where a protocol or a chapter names a length of training; point
    the real profiles to stand-ins. Figures are made but not turned into pixels: that would take most of the time."""
    from genre_utils import protocol
    from genre_utils.models import pretraining
    from genre_utils.plots import display

    train = pretraining.pretrain
    monkeypatch.setattr(pretraining, "pretrain", lambda *args, **more: train(*args, **(more | {"steps": 20})))
    monkeypatch.setattr(display, "drawing", lambda fig, alt: "<svg></svg>")
    monkeypatch.setattr(gtzan, "CLIP_S", CLIP_S)
    for name, profile in PROFILES.items():
        monkeypatch.setitem(PROFILES, name, small(profile))

    brief = {"full": {"epochs": 2}, "head_only": {"epochs": 3}}
    monkeypatch.setitem(protocol.CHOICES, "epochs", (protocol.CHOICES["epochs"][0], brief))
    if gtzan_folder:
        monkeypatch.setenv("GTZAN_DIR", str(gtzan_folder))
    if mini_folder:
        monkeypatch.setenv("GTZAN_MINI_DIR", str(mini_folder))
        listing = {path.stem: {"sha256": gtzan.file_sha256(path)} for path in mini_folder.glob("*/*.wav")}
        monkeypatch.setattr(gtzan, "mini_listing", lambda: listing)


def stand_in(root: Path, ids, corpus) -> Path:
    """Clips with GTZAN's names below `root`: excerpts of the clips of `corpus`, each begun at another moment."""
    sounds = {genre: [sf.read(clip.path, dtype="int16")[0] for clip in corpus if clip.genre == genre] for genre in GENRES}
    for clip in ids:
        genre, number = clip.split(".")
        wave = sounds[genre][int(number) % len(sounds[genre])]
        path = root / genre / f"{clip}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.roll(wave, 2_003 * int(number)), 22_050)
    return root


def all_gtzan(root: Path, corpus) -> Path:
    return stand_in(root, gtzan_ids(), corpus)


def mini_gtzan(root: Path, corpus) -> Path:
    return stand_in(root, sorted(gtzan.mini_listing()), corpus)


def tiny_backbone(folder: Path, seed: int = 0) -> Path:
    """A wav2vec 2.0 with every part, as the library saves it."""
    torch.manual_seed(seed)
    Wav2Vec2ForPreTraining(small_config(**TINY)).save_pretrained(folder)
    return folder


def kill(process: subprocess.Popen) -> None:
    """As when the power goes: the command and its kernels, at once."""
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def run_chapter(number: int, **parameters) -> tuple[dict, str]:
    """The names a chapter leaves, and the text it shows.

    Raises
    ------
    Exception
        Whatever a cell raises.
    """
    (path,) = (ROOT / "chapters").glob(f"{number:02d}_*.ipynb")
    main, home = sys.modules["__main__"], Path.cwd()
    shell, shown = InteractiveShell.instance(), []
    shell.reset(new_session=True)
    gc.freeze()  # every training asks for a full collection at its end: not of all that was imported, each time
    sys.modules["__main__"] = shell.user_module
    os.chdir(path.parent)
    try:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            source = cell.source
            if "parameters" in cell.metadata.get("tags", []):
                source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
            with capture_output() as said:
                result = shell.run_cell(source)
            result.raise_error()
            shown += [said.stdout, str(getattr(result.result, "data", ""))]
    finally:
        os.chdir(home)
        sys.modules["__main__"] = main  # the shell's lacks what starting another process needs
    return shell.user_ns, "\n".join(shown)

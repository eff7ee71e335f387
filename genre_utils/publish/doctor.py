"""Is this machine ready? Each check says what was found and, where something is amiss, what to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from genre_utils.cache import Cache
from genre_utils.device import WRONG, bf16_error, cores, default_device, gpu_problem, precision_of
from genre_utils.errors import GenreError
from genre_utils.paths import home, made_folder


@dataclass(frozen=True)
class Finding:
    """One line of the report; `level` is "ok", "note" (something optional is missing) or "broken"."""

    what: str
    found: str
    level: str = "ok"
    remedy: str = ""


def check_software() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    try:
        import torch
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("torch and torchaudio", f"cannot be imported: {error}", "broken", "make setup")
        return
    found = torch.__version__, torchaudio.__version__
    same = len({version.split("+")[0].rpartition(".")[0] for version in found}) == 1
    remedy = "" if same else "install both in one command: pip install torch==2.11.* torchaudio==2.11.*"
    yield Finding("torch / torchaudio", " / ".join(found), "ok" if same else "note", remedy)
    if gpu_problem():
        remedy = "the CPU is used; install a build of torch for this card (pytorch.org/get-started), or free it"
        yield Finding("Device", gpu_problem(), "note", remedy)
    elif torch.cuda.is_available():
        memory_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
        yield Finding("Device", f"CUDA: {torch.cuda.get_device_name(0)}, {memory_gb:.0f} GB")
    else:
        yield Finding("Device", f"CPU, {cores()} cores", "ok", "the profile gtzan needs a GPU: run it in Colab")
    arithmetic = precision_of()
    wrong = default_device() == "cpu" and arithmetic == "bf16" and bf16_error() > WRONG
    remedy = "grouped convolutions come out wrong in it here: models that have them compute in float32" if wrong else ""
    yield Finding("Arithmetic", arithmetic, "note" if wrong else "ok", remedy)


def check_corpora() -> Iterator[Finding]:
    from genre_utils.corpora import gtzan

    corpora = home() / "data" / "corpora"
    rendered = [f.name for f in corpora.glob("synthetic*")] if corpora.is_dir() else []
    yield Finding("Synthetic corpus", ", ".join(rendered) or "not rendered yet (the first run does it)")
    for name, variable, load, get_it in (
        ("gtzan-mini", "GTZAN_MINI_DIR", partial(gtzan.gtzan_mini, progress=False), "fetch gtzan-mini"),
        ("gtzan", "GTZAN_DIR", gtzan.gtzan_full, "fetch gtzan  (your folders, Kaggle, the Hub)"),
    ):
        found = (corpora / name.replace("-", "_"), corpora / f"{name}.where")
        if not os.environ.get(variable) and not any(place.exists() for place in found):
            yield Finding(name, "not here (optional)", "note", f"python -m genre_utils {get_it}")
            continue
        try:
            corpus = load()
            yield Finding(name, f"{len(corpus)} clips in {corpus.root}")
        except GenreError as error:
            yield Finding(name, str(error), "note", f"set {variable}, or: python -m genre_utils {get_it}")


def check_disk() -> Iterator[Finding]:
    try:
        cache = made_folder(Cache().folder)
    except GenreError as error:
        yield Finding("Working folder", str(error), "broken", "set GENRE_UTILS_HOME to a folder you may write to")
        return
    free_gb = shutil.disk_usage(cache).free / 1e9
    remedy = "" if free_gb >= 3 else "free some space, or set GENRE_UTILS_HOME to another disk"
    yield Finding("Free disk", f"{free_gb:.1f} GB at {home()}", "ok" if free_gb >= 3 else "note", remedy)
    size_mb = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) / 1e6
    yield Finding("Cache", f"{size_mb:.0f} MB in {cache}")


def examine() -> list[Finding]:
    """Every check, in the order of the report."""
    return [*check_software(), *check_corpora(), *check_disk()]

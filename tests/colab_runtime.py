"""Colab at home: an environment with the versions of ``tests/colab.txt``, and kernels that take it for Colab.

What differs from Colab: the Python (the one that runs the tests or the environment variable COLAB_PYTHON names, where
Colab has 3.13), PyPI's build of torch 2.11.0 (for CUDA 13.0, where Colab's is for 12.8), no GPU, and of Colab's packages
only those that the book uses and what these need.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from filelock import FileLock
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "tests" / "colab.txt"
FOLDER = ROOT / "build" / "colab"
PYTHON = FOLDER / "environment" / "bin" / "python"
BASE = os.environ.get("COLAB_PYTHON", sys.executable)

#: A cell that makes the profiles small. Colab's kernel has no pytest, and nothing needs to be undone in it.
SHRINK = f"""
import operator, sys, types
sys.path.append({str(ROOT / "tests")!r})
import real_chapters
real_chapters.shrink(types.SimpleNamespace(setattr=setattr, setitem=operator.setitem))
"""
#: The same for chapter 6, whose records are about all clips of the corpus: only the clips are short.
SHORT_CLIPS = """
from dataclasses import replace
from genre_utils.plots import display
from genre_utils.profiles import PROFILES
display.drawing = lambda fig, alt: "<svg></svg>"
PROFILES["mini"] = replace(PROFILES["mini"], clip_s=1.5)
"""
#: What Colab's kernel has imported before a notebook's first cell.
STARTS_AS_COLAB = 'import sys\nif "ipykernel_launcher" in " ".join(sys.orig_argv):\n    import google.colab\n'
#: Begin the names of variables that say something about this machine, not about Colab.
NOT_COLABS = ("BINDER_", "COLAB_", "GENRE_UTILS_", "GIT_", "GTZAN_", "KAGGLE_", "PYTHON", "SAGEMAKER_", "SM_", "VIRTUAL_ENV")


class CannotInstall(Exception):
    """Colab's packages cannot be had here; the message is the installer's."""


def uv(*words: str) -> str:
    """What uv prints; it installs 6 GB in seconds, because it links to what it once fetched.

    Raises
    ------
    CannotInstall
        There is no uv, or it failed.
    """
    done = subprocess.run([sys.executable, "-m", "uv", *words], check=False, capture_output=True, text=True, timeout=800)
    if done.returncode:
        raise CannotInstall(done.stderr.strip()[-600:])
    return done.stdout


def packages() -> dict[str, str]:
    """Every package in the environment, with its version or its address."""
    lines = uv("pip", "freeze", "--python", str(PYTHON)).splitlines()
    return dict(re.split(r"==| @ ", line, maxsplit=1) for line in lines)


def as_colab_gives_it() -> None:
    """Make the environment or, if it was made from the same pins, take away what was added since."""
    made_from, fresh = FOLDER / "made-from.txt", FOLDER / "fresh.txt"
    recipe = f"{BASE} ({sys.version})\n{PINS.read_text()}"
    if made_from.is_file() and made_from.read_text() == recipe and PYTHON.exists():
        uv("pip", "sync", "--python", str(PYTHON), str(fresh))
        return
    made_from.unlink(missing_ok=True)
    uv("venv", "--clear", "--python", BASE, str(PYTHON.parents[1]))
    uv("pip", "install", "--python", str(PYTHON), "-r", str(PINS))
    (own,) = PYTHON.parents[1].glob("lib/python*/site-packages")
    (own / "google" / "colab").mkdir(parents=True, exist_ok=True)
    (own / "google" / "colab" / "__init__.py").write_text('"""Stands for Colab\'s own package."""\n')
    (own / "sitecustomize.py").write_text(STARTS_AS_COLAB)
    fresh.write_text(uv("pip", "freeze", "--python", str(PYTHON)))
    made_from.write_text(recipe)


def git(*words: str, cwd: Path = ROOT) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")}
    return subprocess.run(["git", *words], cwd=cwd, env=environment, check=True, capture_output=True, text=True).stdout


def published(folder: Path) -> Path:
    """A repository of one commit: this checkout as it is, with what is not committed yet, shallow or not.

    Raises
    ------
    subprocess.CalledProcessError
        This is no checkout that git can read.
    """
    new = git("ls-files", "-z", "--others", "--exclude-standard", "--", "genre_utils", "book/results")
    for name in filter(None, (git("ls-files", "-z") + new).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git("init", "--quiet", cwd=folder)
    git("add", "--all", "--force", cwd=folder)
    git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--no-verify", "-m", "as it is", cwd=folder)
    return folder


def first_cell(chapter: Path) -> str:
    return next(cell.source for cell in nbformat.read(chapter, as_version=4).cells if cell.cell_type == "code")


class Colab:
    """Runs notebooks as Colab does, each in a fresh kernel and an empty folder below `scratch`."""

    def __init__(self, scratch: Path, address: str, repository: Path):
        """`address` leads to `repository`, for whatever git the kernels start."""
        self.scratch = scratch
        self.git_config = scratch / "gitconfig"
        redirect = f'[url "{repository.as_uri()}"]\n\tinsteadOf = {address}\n'
        self.git_config.write_text(redirect + "[safe]\n\tdirectory = *\n")
        kernel = scratch / "kernels" / "colab" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        words = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": words, "display_name": "Colab", "language": "python"}))
        self.kernels = KernelSpecManager(kernel_dirs=[str(scratch / "kernels")])

    def environment(self, runs: Path) -> dict[str, str]:
        """The variables of a kernel: this machine's, without those that could betray the checkout, and Colab's.

        Clips and features of one kernel serve the next; models and records are kept in `runs`.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_COLABS)}
        colabs = {"COLAB_RELEASE_TAG": "release-colab-external_20260815", "CUDA_VISIBLE_DEVICES": ""}
        small = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NUMBA_CACHE_DIR": str(FOLDER / "numba")}
        quiet = {"IPYTHONDIR": str(self.scratch / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        own = {"GENRE_UTILS_HOME": str(self.scratch / "home"), "GENRE_UTILS_RUNS": str(runs), "GIT_CONFIG_GLOBAL": str(self.git_config)}
        return kept | colabs | small | quiet | own

    def run(self, cells: list, runs: Path, cell_s: float) -> str:
        """Run `cells`; all that they show, as text and HTML.

        Raises
        ------
        nbclient.exceptions.CellExecutionError
            A cell raised an exception.
        nbclient.exceptions.CellControlSignal
            A cell took longer than `cell_s`.
        nbclient.exceptions.DeadKernelError
            The kernel died.
        """
        notebook = nbformat.v4.new_notebook(cells=cells)
        kernel = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=self.kernels)
        folder = self.scratch / "content"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        limits = {"timeout": cell_s, "startup_timeout": 120, "shutdown_kernel": "immediate"}
        client = NotebookClient(notebook, km=kernel, resources={"metadata": {"path": str(folder)}}, **limits)
        client.execute(env=self.environment(runs), cleanup_kc=True)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        return "\n".join(str(output.get("text", "")) + str(output.get("data", "")) for output in outputs)


def alone() -> FileLock:
    """Held by the one test run that may change the environment."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FileLock(FOLDER / "lock", timeout=600)

"""Colab, rehearsed: the chapters' first cell installs the book beside Colab's packages, and every chapter runs there.

The environment has the versions that Colab publishes (``tests/colab.txt``); ``colab_runtime`` says what differs. The
repository's address leads to this checkout as it is, committed or not. pip really clones, builds and installs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess

import nbformat
import pytest
from colab_runtime import (
    PINS,
    PYTHON,
    ROOT,
    SHORT_CLIPS,
    SHRINK,
    CannotInstall,
    Colab,
    alone,
    as_colab_gives_it,
    first_cell,
    packages,
    published,
)
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement

from genre_utils.chapter import GPU_SWITCH, device_line

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

CHAPTERS = sorted((ROOT / "chapters").glob("0*.ipynb"))
#: What pip adds to Colab: the book, its synthesiser, and a General MIDI sound font with what reads MIDI.
ADDED = {"genre-utils", "tinysoundfont", "pretty-midi", "mido"}
#: Not the book's order.
ORDER = [6, 3, 5, 1, 4, 2]
WHERE = """
import genre_utils, os, sys
print("package in", genre_utils.__file__)
print("python", sys.executable, "folder", os.listdir())
print("kernel has", [name for name in ("papermill", "pytest", "nbval", "google.colab") if name in sys.modules])
"""

rehearsal = pytest.mark.timeout(900)


def give_up(why: str) -> None:
    """Skip; where COLAB_REHEARSAL is set, as in CI, fail."""
    (pytest.fail if os.environ.get("COLAB_REHEARSAL") else pytest.skip)(f"no Colab to rehearse in: {why}")


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """Colab's runtime, as it is before a notebook's first cell."""
    if not shutil.which("git"):
        give_up("git is missing")
    scratch = tmp_path_factory.mktemp("colab")
    (scratch / "published").mkdir()
    try:
        repository = published(scratch / "published")
    except subprocess.CalledProcessError as error:
        give_up(f"the book is no checkout of git: {error.stderr.strip()}")
    (address,) = set(re.findall(r"git\+(https://[^\s\"@]+)", first_cell(CHAPTERS[0])))
    with alone():
        try:
            as_colab_gives_it()
        except CannotInstall as error:
            give_up(str(error))
        yield Colab(scratch, address, repository)


@pytest.fixture(scope="module")
def installed(colab, tmp_path_factory):
    """Packages before and after the first cell of a chapter, the same in all, and what it showed."""
    before = packages()
    cells = [nbformat.v4.new_code_cell(text) for text in (first_cell(CHAPTERS[0]), WHERE)]
    said = colab.run(cells, tmp_path_factory.mktemp("runs"), cell_s=400)
    return before, packages(), said


@rehearsal
def test_installing_the_book_replaces_and_removes_nothing_that_colab_had(installed):
    before, after, _ = installed
    assert {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version} == {}


@rehearsal
def test_installing_the_book_adds_little(installed):
    before, after, _ = installed
    assert set(after) - set(before) == ADDED


@rehearsal
def test_the_first_cell_installs_quietly_and_says_where_a_gpu_is_switched_on(installed):
    _, after, said = installed
    assert f"choose {GPU_SWITCH['COLAB_']}" in said and f"transformers {after['transformers']}" in said
    assert f"package in {PYTHON.parents[1]}" in said and "folder []" in said and "kernel has ['google.colab']" in said
    assert "ERROR" not in said and "incompatible" not in said


@rehearsal
@pytest.mark.parametrize("number", ORDER)
def test_a_chapter_runs_alone(installed, colab, number, tmp_path):
    """In a kernel of its own, from its first cell on, without a model or a record of another chapter."""
    code = [cell.source for cell in nbformat.read(CHAPTERS[number - 1], as_version=4).cells if cell.cell_type == "code"]
    code.insert(1, SHORT_CLIPS if number == 6 else SHRINK)
    said = colab.run([nbformat.v4.new_code_cell(source) for source in code], tmp_path, cell_s=200)
    assert "profile mini" in said
    assert number != 6 or "All five approaches have a record." in said, "the records travel with the package"


def test_all_chapters_have_the_same_first_cell():
    """So that what one of them installs, all of them do."""
    assert len(CHAPTERS) == len(ORDER) == 6 and len({first_cell(chapter) for chapter in CHAPTERS}) == 1


def test_without_the_package_and_outside_of_a_service_the_first_cell_says_what_to_run(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    for name in list(os.environ):
        if name.startswith(("COLAB_", "KAGGLE_", "SAGEMAKER_", "SM_", "BINDER_")):
            monkeypatch.delenv(name)
    cell = TransformerManager().transform_cell(first_cell(CHAPTERS[0]))
    with pytest.raises(ModuleNotFoundError, match="`make lab`, in a clone of the book"):
        exec(cell, {"get_ipython": lambda: pytest.fail("it installs something on a reader's own machine")})  # noqa: S102


@pytest.mark.parametrize(("variable", "where"), [("COLAB_RELEASE_TAG", "T4 GPU"), ("KAGGLE_KERNEL_RUN_TYPE", "GPU T4 x2"), ("", "")])
def test_without_a_gpu_the_first_line_says_where_to_switch_one_on(monkeypatch, variable, where):
    for name in list(os.environ):
        if name.startswith(tuple(GPU_SWITCH)):
            monkeypatch.delenv(name)
    monkeypatch.setattr("genre_utils.chapter.default_device", lambda: "cpu")
    if variable:
        monkeypatch.setenv(variable, "Interactive")
    said = device_line()
    assert where in said and ("No GPU is on" in said) == bool(variable)


def test_the_ranges_of_the_package_hold_colabs_versions():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    ranges = {one.name.replace("_", "-"): one.specifier for one in map(Requirement, asked)}
    lines = [line for line in PINS.read_text(encoding="utf-8").splitlines() if "==" in line]
    pins = {name.replace("_", "-"): version.replace("*", "0") for name, version in (line.split("==") for line in lines)}
    assert {name: version for name, version in pins.items() if name in ranges and version not in ranges[name]} == {}

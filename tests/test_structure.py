"""The house stands: no circle, no import that points up, and no chapter that needs the command line."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@pytest.fixture(scope="module")
def structure():
    spec = importlib.util.spec_from_file_location("structure", ROOT / "benchmarks" / "structure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_circle_not_even_through_imports_inside_functions(structure):
    assert structure.circles(structure.graph(everywhere=True)) == []
    assert structure.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}], "it would be seen"


def test_imports_point_down(structure):
    assert structure.upward(structure.graph(everywhere=True)) == []
    assert structure.upward({"features": {"publish.cli"}}) == ["features -> publish.cli"]


def test_no_chapter_needs_the_command_line(structure):
    used = set().union(*map(structure.pulled_in, CHAPTERS))
    assert {"chapter", "identity", "plots", "records.runs", "training"} <= used
    assert not {name for name in used if name.startswith("publish")}


def test_a_chapter_needs_none_of_the_packages_of_the_command_line(structure):
    """Colab installs less: typer, rich, papermill, nbclient, nbformat and PyYAML are not among the dependencies."""
    for name in set().union(*map(structure.pulled_in, CHAPTERS)):
        text = structure.modules()[name].read_text(encoding="utf-8")
        for package in ("typer", "rich", "papermill", "nbclient", "nbformat", "yaml"):
            assert f"import {package}" not in text and f"from {package}" not in text, f"{name} needs {package}"

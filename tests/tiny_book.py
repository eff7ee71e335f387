"""A checkout of the book with six small chapters, for the tests of the machinery around the real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from genre_utils.publish.pages import QUOTED

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "01_dataset",
    "02_cnn_baseline",
    "03_wav2vec_architecture",
    "04_head_only",
    "05_full_fine_tuning",
    "06_comparison",
)
#: A 1 x 1 pixel PNG.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FIGURE = f'<img alt="one pixel" src="data:image/png;base64,{PIXEL}">'
#: The parameters that each chapter knows, by its number.
PARAMETERS = {
    number: ("profile", "seed", "split")
    + (("backbone",) if number >= 3 else ())
    + (("protocol",) if number >= 4 else ())
    + ("genres",)
    for number in range(1, 7)
}
DEFAULTS = {"profile": "mini", "seed": 0}


def defaults(number: int) -> dict:
    """What the parameters cell of a chapter sets."""
    return {name: DEFAULTS.get(name, "") for name in PARAMETERS[number]}


def notebook(name: str, *code: str, stored: str = "stored output"):
    """A chapter: title, parameters cell, then one section a code cell; `stored` is what it keeps as output."""
    parameters = "\n".join(f"{parameter} = {value!r}" for parameter, value in defaults(int(name[:2])).items())
    cells = [
        new_markdown_cell(f"# Chapter {name}\n\nWhat you will learn: nothing. $x^2$"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}, execution_count=1, outputs=[]),
    ]
    for number, source in enumerate(code or (f"print('{stored}')",), start=1):
        cells.append(new_markdown_cell(f"## Section {number}"))
        output = new_output("stream", name="stdout", text=f"{stored}\n")
        cells.append(new_code_cell(source, execution_count=number + 1, outputs=[output]))
    nb = new_notebook(cells=cells)
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb.metadata["language_info"] = {"name": "python"}
    return nb


def write_chapter(root: Path, name: str, *code: str, **more) -> Path:
    path = root / "chapters" / f"{name}.ipynb"
    nbformat.write(notebook(name, *code, **more), path)
    return path


def make_checkout(root: Path) -> Path:
    """Copy the pages and the configuration of the book to `root`, with tiny chapters beside them."""
    shutil.copytree(ROOT / "book", root / "book")
    for page in (root / "book").glob("*.md"):  # its chapters have no cells that a page could quote
        page.write_text(QUOTED.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, root / name)
    (root / "chapters").mkdir()
    for name in NAMES:
        write_chapter(root, name)
    return root

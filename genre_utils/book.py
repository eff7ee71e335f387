"""The book: run the chapters in order under papermill, stage the sources, build the pages, check them.

Nothing here writes into the source tree. A run writes ``build/chapters/<profile>/`` (executed notebooks),
``build/book-src/<profile>/`` (what Jupyter Book is given) and ``build/html/<profile>/`` (the pages).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml

from genre_utils.errors import ProfileError, RunError
from genre_utils.paths import home, project_root

#: Notebook metadata in which a run says what it ran with (read by the timing page).
RUN_KEY = "genre_utils"
_HIDDEN = {"remove-cell", "remove-output"}


class WorkFailed(Exception):
    """The command was fine, the work was not: a chapter or a page failed. The command line exits 1."""


@dataclass(frozen=True)
class Chapter:
    """One notebook of the book; `number` is what ``--chapters`` takes."""

    number: int
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem


#: Called before each cell and once at the end: chapter, cells done, cells in all, heading of the section.
Watch = Callable[[Chapter, int, int, str], None]


def book_root() -> Path:
    """Folder of the checked-out book.

    Raises
    ------
    RunError
        Outside of a checkout, where there are no chapters to run.
    """
    root = project_root()
    if root is None:
        raise RunError(
            "the chapters are not here: this command works on a checkout of the book (a folder with "
            "_toc.yml and chapters/). Clone the repository and run it from there."
        )
    return root


def all_chapters(root: Path | None = None) -> list[Chapter]:
    """Every ``chapters/NN_*.ipynb`` in order."""
    folder = (root or book_root()) / "chapters"
    return [Chapter(int(path.name[:2]), path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]


def select_chapters(wanted: str | None, available: list[Chapter]) -> list[Chapter]:
    """The chapters named in `wanted` ("1,2,4", "2-4", "02_cnn_baseline"; empty or None: all), in book order.

    Raises
    ------
    ProfileError
        If one of them does not exist; the message lists those that do.
    """
    if not wanted or not wanted.strip():
        return available
    chosen: set[int] = set()
    by_key = {c.name: c.number for c in available} | {str(c.number): c.number for c in available}
    for word in filter(None, re.split(r"[,\s]+", wanted.strip())):
        key = Path(word).name.removesuffix(".ipynb")
        span = re.fullmatch(r"(\d+)-(\d+)", key)
        numbers = [str(n) for n in range(int(span[1]), int(span[2]) + 1)] if span else [key]
        for number in numbers or [key]:
            number = number.lstrip("0") if number.isdigit() else number
            if number not in by_key:
                raise ProfileError(
                    f"unknown chapter {word!r}: choose from "
                    + ", ".join(f"{c.number} ({c.name})" for c in available)
                )
            chosen.add(by_key[number])
    return [c for c in available if c.number in chosen]


def sections(cells: Iterable) -> list[str]:
    """For each cell the Markdown heading it stands under ("" before the first one)."""
    current, found = "", []
    for cell in cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,4}\s+(.+?)\s*#*\s*$", cell.source, flags=re.M)
            current = headings[-1] if headings else current
        found.append(current)
    return found


def _engine():
    """Register (once) and name the papermill engine that reports each cell as it starts."""
    from papermill.engines import NBClientEngine, papermill_engines

    name = "genre-utils"
    if name in papermill_engines._engines:
        return name

    class WatchedEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, on_cell, **kwargs):
            start = nb_man.cell_start

            def cell_start(cell, cell_index=None, **more):
                on_cell(cell_index, nb_man.nb)
                return start(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

    papermill_engines.register(name, WatchedEngine)
    return name


def run_chapters(
    profile: str, seed: int, chapters: list[Chapter], *, out: Path | None = None, watch: Watch | None = None
) -> list[Path]:
    """Execute `chapters` in order, each with the parameters `profile` and `seed`.

    Parameters
    ----------
    out : Path, optional
        Folder of the executed notebooks; ``build/chapters/<profile>`` if None. A notebook arrives there only
        when all of its cells have run, so that a failure never replaces a good page.
    watch : callable, optional
        Told of each cell as it starts (see :data:`Watch`).

    Returns
    -------
    list of Path
        The executed notebooks.

    Raises
    ------
    WorkFailed
        If a cell raises or the kernel dies. The message names the notebook, the cell and its first line,
        and where the partly executed notebook is kept.
    """
    out = out or home() / "build" / "chapters" / profile
    (out / "unfinished").mkdir(parents=True, exist_ok=True)
    return [_run_one(chapter, profile, seed, out, watch) for chapter in chapters]


def _run_one(chapter: Chapter, profile: str, seed: int, out: Path, watch: Watch | None) -> Path:
    import papermill as pm
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    unfinished = (out / "unfinished" / chapter.path.name).resolve()
    seen: dict = {"index": 0, "cells": []}

    def on_cell(index, nb):
        if not seen["cells"]:
            seen.update(cells=nb.cells, sections=sections(nb.cells))
        seen["index"] = index
        if watch:
            watch(chapter, index, len(nb.cells), seen["sections"][index])

    try:
        nb = pm.execute_notebook(
            str(chapter.path.resolve()),
            str(unfinished),
            parameters={"profile": profile, "seed": seed},
            engine_name=_engine(),
            kernel_name="python3",
            cwd=str(chapter.path.resolve().parent),
            progress_bar=False,
            on_cell=on_cell,
        )
    except PapermillExecutionError as error:
        raise WorkFailed(_failure(chapter, seen, f"{error.ename}: {error.evalue}", unfinished)) from error
    except (DeadKernelError, CellTimeoutError) as error:
        what = "the kernel died (out of memory, most often: close other programs, or choose a smaller profile)"
        raise WorkFailed(_failure(chapter, seen, what, unfinished)) from error
    nb.metadata[RUN_KEY] = {"profile": profile, "seed": seed, "machine": machine()}
    nbformat.write(nb, unfinished)
    if watch:
        watch(chapter, len(nb.cells), len(nb.cells), "finished")
    return Path(shutil.move(unfinished, out / chapter.path.name))


def _failure(chapter: Chapter, seen: dict, what: str, kept: Path) -> str:
    cells, index = seen["cells"], seen["index"]
    if not cells:
        return f"chapters/{chapter.path.name} did not start: {what}"
    # Cells are counted as the reader sees them in the source: without the one papermill injects.
    number = 1 + sum("injected-parameters" not in c.metadata.get("tags", []) for c in cells[:index])
    lines = [line for line in cells[index].source.splitlines() if line.strip()] or [""]
    return (
        f"chapters/{chapter.path.name} failed in cell {number} (section: {seen['sections'][index] or 'start'})\n"
        f"    {lines[0]}\n{what}\n"
        f"The notebook as far as it ran is kept at {kept}"
    )


def machine() -> str:
    """What this computer is, in one line without its name: processor, cores, GPU if any, system."""
    import torch

    processor = platform.processor() or platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text()
        processor = re.search(r"^model name\s*:\s*(.+)$", info, flags=re.M)[1]
    except (OSError, TypeError):
        pass
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor}, {cores} cores{gpu}, {platform.system()}, Python {platform.python_version()}"


# --- From notebooks to pages -----------------------------------------------------------------------------


def toc_pages(root: Path) -> list[str]:
    """Every document of ``_toc.yml``, without its ending, root first."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def files(node) -> list[str]:
        if isinstance(node, list):
            return [name for item in node for name in files(item)]
        here = [node["file"]] if "file" in node else []
        return here + [n for k in ("parts", "chapters", "sections") for n in files(node.get(k, []))]

    return [toc["root"], *files(toc)]


def stage(source: Path, target: Path, executed: Path | None) -> list[str]:
    """Lay out in `target` what Jupyter Book builds; returns the chapters shown with their committed outputs.

    Chapters come from `executed` where that folder has them, else from the source tree.
    """
    if target.exists():
        shutil.rmtree(target)
    keep_out = shutil.ignore_patterns("_static", "vendor", ".ipynb_checkpoints")
    shutil.copytree(source / "book", target / "book", ignore=keep_out)
    shutil.copytree(source / "book" / "_static", target / "_static")
    # Jupyter Book loads every script below _static on every page. The two big libraries, which only some
    # pages need, arrive in the site's _static through html_extra_path instead.
    vendor = target / "_extra" / "_static"
    shutil.copytree(source / "book" / "vendor", vendor)
    shutil.copy2(_plotly_script(), vendor / "plotly.min.js")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(source / name, target / name)

    (target / "chapters").mkdir()
    notebooks, committed = {}, []
    for chapter in all_chapters(source):
        fresh = executed / chapter.path.name if executed else None
        if not (fresh and fresh.is_file()):
            fresh, _ = chapter.path, committed.append(chapter.name)
        notebooks[chapter.name] = nbformat.read(fresh, as_version=4)
    (target / "book" / "timing.md").write_text(timing_page(notebooks), encoding="utf-8")
    for name, nb in notebooks.items():
        nbformat.write(_for_the_page(nb), target / "chapters" / f"{name}.ipynb")
    return committed


def _plotly_script() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def _for_the_page(nb):
    """Take out what belongs to one machine, and hide the injected cell where it repeats the defaults."""
    run = nb.metadata.pop(RUN_KEY, {})
    nb.metadata.pop("papermill", None)
    for cell in nb.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags and (run.get("profile"), run.get("seed")) == ("mini", 0):
            cell.metadata["tags"] = [*tags, "remove-cell"]
    return nb


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)} min {seconds % 60:04.1f} s" if seconds >= 60 else f"{seconds:.1f} s"


def timing_page(notebooks: dict) -> str:
    """Markdown page with the measured time of each chapter, from what papermill recorded in `notebooks`."""
    lines = ["# What it costs to run", ""]
    timed = {n: nb for n, nb in notebooks.items() if nb.metadata.get("papermill", {}).get("duration")}
    if not timed:
        lines += [
            "These pages were built from the outputs stored in the notebooks; nothing was run while building "
            "them, so there are no times to show. `make book` runs every chapter and measures it.",
        ]
        return "\n".join(lines) + "\n"
    machines = sorted({nb.metadata.get(RUN_KEY, {}).get("machine", "not recorded") for nb in timed.values()})
    lines += [
        "Measured by papermill while these very pages were made. The time of a chapter includes starting Python "
        "and loading its libraries; a corpus or a feature that a former run left in the cache is not made again.",
        "",
        *(f"- Machine: {name}" for name in machines),
        "",
        "| Chapter | Profile | Seed | Time | Slowest section |",
        "|---|---|---:|---:|---|",
    ]
    for name, nb in timed.items():
        run = nb.metadata.get(RUN_KEY, {})
        spent: dict[str, float] = {}
        for cell, section in zip(nb.cells, sections(nb.cells), strict=True):
            seconds = cell.metadata.get("papermill", {}).get("duration") or 0.0
            spent[section] = spent.get(section, 0.0) + seconds
        slowest = max(spent, key=spent.get)
        lines.append(
            f"| [{name}](../chapters/{name}.ipynb) | {run.get('profile', '?')} | {run.get('seed', '?')} "
            f"| {_clock(nb.metadata.papermill.duration)} | {slowest} ({_clock(spent[slowest])}) |"
        )
    total = sum(nb.metadata.papermill.duration for nb in timed.values())
    lines += [f"| **All of these** | | | **{_clock(total)}** | |"]
    rest = sorted(set(notebooks) - set(timed))
    if rest:
        lines += ["", "Shown with their stored outputs, not run this time: " + ", ".join(rest) + "."]
    return "\n".join(lines) + "\n"


def build_book(
    profile: str, *, committed: bool = False, out: Path | None = None, work: Path | None = None
) -> tuple[Path, list[str]]:
    """Build the HTML from the executed chapters of `profile`, or from the committed ones.

    Parameters
    ----------
    committed : bool
        Use the outputs stored in ``chapters/`` alone; nothing needs to have been run.
    out, work : Path, optional
        Folder of the pages (``build/html/<profile>``) and of the staged sources (``build/book-src/<profile>``).

    Returns
    -------
    (Path, list of str)
        The page to open, and the chapters that are shown with their committed outputs.

    Raises
    ------
    WorkFailed
        If Jupyter Book warns or fails, or a page or figure is missing afterwards.
    """
    root, built = book_root(), home() / "build"
    out = out or built / "html" / profile
    work = work or built / "book-src" / profile
    stored = stage(root, work, None if committed else built / "chapters" / profile)
    result = work.with_name(work.name + ".out")
    shutil.rmtree(result, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(work)]
    command += ["-W", "-n", "--keep-going", "--all", "--path-output", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=_quiet_environment())
    log = work.with_name(work.name + ".log")
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    html = result / "_build" / "html"
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if re.search("WARNING|ERROR", line)]
        said = said or (done.stderr or done.stdout).splitlines()[-15:]
        raise WorkFailed("Jupyter Book did not accept the sources:\n" + "\n".join(said) + f"\nFull log: {log}")
    problems = missing_from(html, work)
    if problems:
        raise WorkFailed("the built book is incomplete:\n" + "\n".join(problems) + f"\nFull log: {log}")
    _replace_folder(html, out)
    shutil.rmtree(result, ignore_errors=True)
    return out / "index.html", stored


def _quiet_environment() -> dict[str, str]:
    return os.environ | {"PYTHONWARNINGS": "ignore", "NO_COLOR": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def _replace_folder(new: Path, old: Path) -> None:
    """Put `new` where `old` is; the former pages stay until the new ones are complete."""
    old.parent.mkdir(parents=True, exist_ok=True)
    aside = old.with_name(f".{old.name}.{time.time_ns()}")
    if old.exists():
        old.rename(aside)
    shutil.move(new, old)
    shutil.rmtree(aside, ignore_errors=True)


def shown_figures(nb) -> int:
    """How many raster or vector figures of a notebook's stored outputs its page must show."""
    visible = [c for c in nb.cells if c.cell_type == "code" and not _HIDDEN & set(c.metadata.get("tags", []))]
    data = [output.get("data", {}) for cell in visible for output in cell.outputs]
    return sum(any(kind.startswith("image/") for kind in d) and "text/html" not in d for d in data) + sum(
        d.get("text/html", "").count("<img") for d in data
    )


def missing_from(html: Path, staged: Path) -> list[str]:
    """Pages of the table of contents, and figures of the notebooks, that are not in the built `html`."""
    problems = []
    for name in toc_pages(staged):
        page = html / f"{name}.html"
        if not page.is_file():
            problems.append(f"- no page for {name} (listed in _toc.yml)")
            continue
        notebook = staged / f"{name}.ipynb"
        if notebook.is_file():
            wanted = shown_figures(nbformat.read(notebook, as_version=4))
            article = page.read_text(encoding="utf-8").partition("<article")[2]
            if article.count("<img") < wanted:
                problems.append(f"- {name}: {article.count('<img')} of {wanted} figures reached the page")
    return problems

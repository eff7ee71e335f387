"""Run the chapters of the book under papermill, into ``build/chapters/<run>/``.

Nothing here writes into the source tree. :mod:`genre_utils.publish.pages` makes the pages from what was run.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil

from genre_utils.device import cores, default_device
from genre_utils.errors import ProfileError, RunError, WorkFailed
from genre_utils.identity import Identity, remember
from genre_utils.paths import home, project_root
from genre_utils.publish.kernels import use_warm_kernels
from genre_utils.records import RECORD

#: Notebook metadata in which a run says what it ran with (read by the timing page).
RUN_KEY = "genre_utils"


@dataclass(frozen=True)
class Chapter:
    """One notebook of the book; `number` is what ``--chapters`` takes."""

    number: int
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem


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
    """The chapters that `wanted` numbers ("1,2,4", "2-4"; empty or None: all), in book order; a ProfileError lists those
    that there are if one is none of them."""
    known, chosen = {chapter.number for chapter in available}, set()
    for word in filter(None, re.split(r"[,\s]+", wanted or "")):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        numbers = set(range(int(span[1]), int(span[2] or span[1]) + 1)) if span else set()
        if not numbers or not numbers <= known:
            names = ", ".join(f"{chapter.number} ({chapter.name})" for chapter in available)
            raise ProfileError(f"unknown chapter {word!r}: choose from {names}")
        chosen |= numbers
    return [chapter for chapter in available if not chosen or chapter.number in chosen]


#: Chapters in which something is trained that another seed changes, and the approaches whose records they leave.
TRAINED = {2: ("svm", "cnn"), 4: ("musicnn", "head-only"), 5: ("full",)}
#: Stages of a whole run, each of chains that may run side by side: chapter 5 takes up the head of chapter 4, and chapter 6
#: compares. The longest chain comes first.
STAGES = (((4, 5), (2,), (1,), (3,)), ((6,),))
#: What each chapter finds in the cache if :func:`prepare` has put it there.
NEEDS = {1: "msw", 2: "ms", 3: "w", 4: "mwt", 5: "w", 6: "s"}


def seed_plan(chapters: list[Chapter], run: Identity, seeds: int) -> list[tuple[Identity, list[Chapter]]]:
    """What to run for `seeds` seeds from the run's own on: the chapters that train for each of the others, then all for
    the first, so that its chapter 6 finds them all, and the run that is remembered is that of the first seed."""
    training = [chapter for chapter in chapters if chapter.number in TRAINED]
    others = [(run.other_seed(run.seed + k), training) for k in range(1, seeds)] if training else []
    return [*others, (run, chapters)]


def sections(cells: Iterable) -> list[str]:
    """For each cell the Markdown heading it stands under ("" before the first one)."""
    current, found = "", []
    for cell in cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,4}\s+(.+?)\s*#*\s*$", cell.source, flags=re.MULTILINE)
            current = headings[-1] if headings else current
        found.append(current)
    return found


def chapters_dir(run: Identity) -> Path:
    """Where executed notebooks of `run` go unless told otherwise."""
    return home() / "build" / "chapters" / run.name()


def at_once() -> int:
    """How many chapters run side by side: two on a processor (each with half of the cores, which small networks use
    better than one with all), one where there is a GPU."""
    return 1 if default_device() == "cuda" else min(2, cores())


def prepare(run: Identity, chapters: Iterable[Chapter], progress: bool = True) -> None:
    """Render or find the clips, and compute on all cores what `chapters` would compute of each of them one after another:
    mel-spectrograms, statistics, resampled waves and what MusiCNN hears. A chapter that is run by itself does the same when it
    needs it."""
    from joblib.externals.loky import get_reusable_executor

    from genre_utils import features
    from genre_utils.corpora import load_corpus

    use_warm_kernels()  # so that their imports are done by then
    corpus = load_corpus(run.profile, progress=progress)
    needs = {letter for chapter in chapters for letter in NEEDS.get(chapter.number, "")}
    for letter, compute in (("m", features.mels), ("s", features.statistics), ("w", features.waves), ("t", features.musicnn_states)):
        if letter in needs:
            compute(corpus, corpus.ids, run.profile, progress=progress)
    get_reusable_executor().shutdown()  # its processes would keep their memory while the chapters run


def run_chapters(
    run: Identity, chapters: list[Chapter], *, out: Path | None = None, workers: int = 1
) -> list[Path]:
    """Execute `chapters`, each with the parameters of `run` that it knows, and show how far each has come.

    Parameters
    ----------
    out : Path, optional
        Folder of the executed notebooks; ``build/chapters/<run>`` if None. A notebook arrives there only
        when all of its cells have run, so that a failure never replaces a good page.
    workers : int
        How many chapters may run side by side (see :data:`STAGES`); they share the cores. With more than one, make the
        clips ready first (:func:`prepare`).

    Returns
    -------
    list of Path
        The executed notebooks, in the book's order.

    Raises
    ------
    WorkFailed
        If a cell raises or a kernel dies. The message names the notebook, the cell and its first line,
        and where the partly executed notebook is kept. A chapter that runs beside it is finished first.
    """
    out = (out or chapters_dir(run)).resolve()
    (out / "unfinished").mkdir(parents=True, exist_ok=True)
    by_number, made, stop = {chapter.number: chapter for chapter in chapters}, {}, threading.Event()

    def work(chain: list[Chapter]) -> None:
        for chapter in chain:
            if stop.is_set():
                return
            try:
                made[chapter.number] = _run_one(chapter, run, out)
            except BaseException:
                stop.set()
                raise

    use_warm_kernels()
    limit, available = os.environ.get("OMP_NUM_THREADS"), cores()
    try:
        for stage in STAGES:
            chains = [[by_number[n] for n in chain if n in by_number] for chain in stage]
            chains = [chain for chain in chains if chain]
            side_by_side = max(1, min(workers, len(chains)))
            if workers == 1:
                chains.sort(key=lambda chain: chain[0].number)
            if limit is None:  # kernels inherit it: two that use all cores would fight for them
                os.environ["OMP_NUM_THREADS"] = str(max(1, available // side_by_side))
            with ThreadPoolExecutor(side_by_side) as pool:
                try:
                    for future in as_completed([pool.submit(work, chain) for chain in chains]):
                        future.result()
                except BaseException as error:
                    stop.set()
                    if not isinstance(error, WorkFailed):  # interrupted: the kernels would go on without us
                        _kill_children()
                    raise
    finally:
        if limit is None:
            os.environ.pop("OMP_NUM_THREADS", None)
    if any(number in TRAINED for number in made):
        remember(run)
    return [made[number] for number in sorted(made)]


def copy_records(run: Identity, chapters: list[Chapter], folder: Path) -> None:
    """Copy the records that `chapters` have left of `run` to `folder`, as ``<approach>-seed<seed>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    for approach in (name for chapter in chapters for name in TRAINED.get(chapter.number, ())):
        shutil.copyfile(run.folder(approach) / RECORD, folder / f"{approach}-seed{run.seed}.json")


@contextmanager
def no_process_stays() -> Iterator[None]:
    """Whatever ends the work early, SIGTERM included, ends the processes that work for us too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    except BaseException as error:
        if not isinstance(error, WorkFailed):  # then every kernel has been ended already
            _kill_children()
        raise


def _kill_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()


def _run_one(chapter: Chapter, run: Identity, out: Path) -> Path:
    import papermill as pm
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    unfinished = out / "unfinished" / chapter.path.name
    unfinished.unlink(missing_ok=True)
    parameters, bar = run.parameters(_known_parameters(chapter.path)), sys.stderr.isatty() and {"desc": f"{chapter.name:<24}"}
    try:
        nb = pm.execute_notebook(
            str(chapter.path.resolve()),
            str(unfinished),
            parameters=parameters,
            kernel_name="python3",
            # Not papermill's `cwd`: that changes the folder of this whole process, the chapter beside this one included.
            resources={"metadata": {"path": str(chapter.path.resolve().parent)}},
            progress_bar=bar,
            extra_arguments=["--log-level=CRITICAL"],  # a kernel that is told to end calls that an error, now and then
        )
    except PapermillExecutionError as error:
        raise WorkFailed(_failure(chapter, f"{error.ename}: {error.evalue}", unfinished)) from error
    except (DeadKernelError, CellTimeoutError) as error:
        what = "the kernel died (out of memory, most often: close other programs, or choose a smaller profile)"
        raise WorkFailed(_failure(chapter, what, unfinished)) from error
    except RuntimeError as error:
        if _begun(unfinished):
            raise
        hint = "does `python -m ipykernel --version` answer? If not: make setup"
        raise WorkFailed(f"chapters/{chapter.path.name} did not start: {error} ({hint})") from error
    nb.metadata[RUN_KEY] = {"run": run.name(), "parameters": parameters, "about": run.about, "machine": machine()}
    nbformat.write(nb, unfinished)
    if not bar:
        print(f"{chapter.name}: {len(nb.cells)} cells in {nb.metadata.papermill.duration:.0f} s", flush=True)
    return Path(shutil.move(unfinished, out / chapter.path.name))


def _known_parameters(path: Path) -> list[str]:
    """The names that a chapter's parameters cell sets."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    return [line.targets[0].id for cell in cells for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)]


def _begun(notebook: Path) -> list:
    """The cells of an executed notebook up to the last that began, without those that papermill put in."""
    own, inserted = [], {"injected-parameters", "papermill-error-cell-tag"}
    if notebook.is_file():
        cells = nbformat.read(notebook, as_version=4).cells
        own = [cell for cell in cells if not inserted & set(cell.metadata.get("tags", []))]
    while own and not own[-1].metadata.get("papermill", {}).get("start_time"):
        own.pop()
    return own


def _failure(chapter: Chapter, what: str, kept: Path) -> str:
    if not (begun := _begun(kept)):
        return f"chapters/{chapter.path.name} did not start: {what}"
    first_line = next((line for line in begun[-1].source.splitlines() if line.strip()), "")
    return (
        f"chapters/{chapter.path.name} failed in cell {len(begun)} (section: {sections(begun)[-1] or 'start'})\n"
        f"    {first_line}\n{what}\n"
        f"The notebook as far as it ran is kept at {kept}"
    )


def machine() -> str:
    """What this computer is, in one line without its name: processor, cores, GPU if any, system."""
    import torch  # noqa: F401  (hardware() names the GPU only once torch is loaded)

    from genre_utils.provenance import hardware

    found = hardware()
    gpu = f", {found['gpu']}" if found["gpu"] else ""
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_gb']} GB{gpu}, {found['system']}, "
        f"Python {platform.python_version()}"
    )

"""Where things are kept. Nothing here writes into the source tree: only ``data/`` and ``build/``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from genre_utils.errors import CacheError, GenreError


def project_root() -> Path | None:
    """Folder of the checked-out book (it holds ``_toc.yml`` and the chapters), or None outside of one."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "_toc.yml").is_file() and (folder / "chapters" / "01_dataset.ipynb").is_file():
            return folder
    return None


#: What the weights of a model are called in its folder.
WEIGHTS = "model.safetensors"
#: Environment variables that name folders.
PLACES = ("GENRE_UTILS_HOME", "GENRE_UTILS_RUNS", "GTZAN_DIR", "GTZAN_MINI_DIR")


def absolute_places() -> None:
    """Let the folders that the environment names be the same for a command and for the chapters, which run elsewhere."""
    for name in PLACES:
        if os.environ.get(name):
            places = os.environ[name].split(os.pathsep) if name == "GTZAN_DIR" else [os.environ[name]]
            os.environ[name] = os.pathsep.join(str(Path(place).expanduser().resolve()) for place in places if place.strip())


def home() -> Path:
    """Folder of ``data/`` and ``build/``: ``GENRE_UTILS_HOME``, the checked-out book, or ``~/.cache/genre_utils``."""
    chosen = os.environ.get("GENRE_UTILS_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return project_root() or Path.home() / ".cache" / "genre_utils"


@contextmanager
def disk_access(task: str, kind: type[GenreError] = CacheError, variable: str = "GENRE_UTILS_HOME") -> Iterator[None]:
    """Context in which an OSError becomes an error of this `kind`, which says that it cannot `task`, and what to do."""
    try:
        yield
    except OSError as error:
        raise kind(
            f"cannot {task}: {error.strerror or error}. Free some space, make the folder writable, or choose another "
            f"place with the environment variable {variable}."
        ) from error


def made_folder(path: Path) -> Path:
    """`path`, which is made if need be; a CacheError if that cannot be."""
    with disk_access(f"create the folder {path}"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def corpora_dir() -> Path:
    """Rendered and fetched corpora (``data/corpora``)."""
    return made_folder(home() / "data" / "corpora")


def runs_dir() -> Path:
    """Models, checkpoints and records of runs, a folder each (``build/runs``, or ``GENRE_UTILS_RUNS``)."""
    chosen = os.environ.get("GENRE_UTILS_RUNS")
    return made_folder(Path(chosen).expanduser().resolve() if chosen else home() / "build" / "runs")


def recorded_dir() -> Path | None:
    """Recorded runs and experiments: ``book/results`` of the checkout, or what the package carries of it; or None."""
    root, installed = project_root(), find_spec("genre_utils_results")
    places = [root / "book" / "results"] if root else []
    places += [Path(place) for place in (installed.submodule_search_locations or [])] if installed else []
    return next((place for place in places if place.is_dir()), None)


def package_data(*parts: str) -> Path:
    """A file shipped inside the package."""
    return Path(__file__).resolve().parent.joinpath("data", *parts)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or, if that fails, not at all; its folder is made if need be."""
    part = path.with_name(f".part-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise

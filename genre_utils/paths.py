"""Where things are kept. Nothing here writes into the source tree: only ``data/`` and ``build/``."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from genre_utils.errors import CacheError


def project_root() -> Path | None:
    """Folder of the checked-out book (it holds ``_toc.yml`` and ``chapters/``), or None outside of one."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "_toc.yml").is_file() and (folder / "chapters").is_dir():
            return folder
    return None


def home() -> Path:
    """Folder that holds ``data/`` and ``build/``.

    ``GENRE_UTILS_HOME`` if set, else the checked-out book, else ``~/.cache/genre_utils`` (Colab).
    """
    chosen = os.environ.get("GENRE_UTILS_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return project_root() or Path.home() / ".cache" / "genre_utils"


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"cannot create the folder {path}: {error.strerror or error}. "
            "Free some space or choose another place with the environment variable GENRE_UTILS_HOME."
        ) from error
    return path


def cache_dir() -> Path:
    """Decoded audio, features and frozen states, keyed by content (``data/cache``)."""
    return _folder(home() / "data" / "cache")


def corpora_dir() -> Path:
    """Rendered and fetched corpora (``data/corpora``)."""
    return _folder(home() / "data" / "corpora")


def runs_dir() -> Path:
    """Models, checkpoints and records of runs, a folder each (``build/runs``, or ``GENRE_UTILS_RUNS``)."""
    chosen = os.environ.get("GENRE_UTILS_RUNS")
    return _folder(Path(chosen).expanduser().resolve() if chosen else home() / "build" / "runs")


def recorded_dir() -> Path | None:
    """Recorded runs and experiments, or None if there are none.

    ``book/results`` of the checkout; outside of one, the same files as the package carries them.
    """
    root, installed = project_root(), find_spec("genre_utils_results")
    places = [root / "book" / "results"] if root else []
    places += [Path(place) for place in (installed.submodule_search_locations or [])] if installed else []
    return next((place for place in places if place.is_dir()), None)


def package_data(*parts: str) -> Path:
    """A file shipped inside the package."""
    return Path(__file__).resolve().parent.joinpath("data", *parts)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or, if that fails with an OSError, not at all; its folder is made if need be."""
    part = path.with_name(f".part-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise

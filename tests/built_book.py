"""The HTML of the committed notebooks' stored outputs, built once per test session (nothing is executed)."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import yaml
from chromium import CHROMIUM
from filelock import FileLock
from sphinx_external_toc.parsing import parse_toc_yaml

from genre_utils.identity import identity
from genre_utils.publish.pages import build_book

ROOT = Path(__file__).resolve().parents[1]


def repository_url(root: Path = ROOT) -> str:
    """The address of the repository, as ``_config.yml`` has it."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def toc_pages(root: Path = ROOT) -> list[str]:
    """Every document of ``_toc.yml``, without its ending, root first."""
    return list(parse_toc_yaml(root / "_toc.yml"))


@functools.cache
def build() -> Path:
    """Folder of the pages. The worker that wants them first builds them; another one waits, and has them too."""
    work = Path(os.environ["BUILT_BOOK"])
    with FileLock(f"{work}.lock"):
        if not (work / "html").is_dir():
            build_book(identity(), committed=True, paper=bool(CHROMIUM), out=work / "html", work=work / "src")
    return work / "html"


def require_chapters() -> None:
    """Skip where the checkout lacks chapters of the table of contents."""
    missing = [
        n for n in toc_pages(ROOT) if n.startswith("chapters/") and not (ROOT / f"{n}.ipynb").is_file()
    ]
    if missing:
        pytest.skip(f"the book cannot be built without {', '.join(missing)}")

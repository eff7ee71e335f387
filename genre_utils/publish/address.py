"""The repository's address: written down in ``_config.yml``, the same in every file that links to it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from genre_utils.errors import RunError

#: Files that may carry the address.
_TEXT = {".md", ".yml", ".yaml", ".toml", ".cff", ".ipynb", ".py", ".sh", ""}


def repository_url(root: Path) -> str:
    """``repository.url`` of ``_config.yml``, for example ``https://github.com/you/your-fork``."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].rstrip("/")


def project_files(root: Path) -> list[Path]:
    """The text files of the checkout that git tracks or would track, without vendored ones."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RunError(f"{root} is not a git checkout, so its files cannot be listed: {error}") from error
    files = [root / name for name in done.stdout.split("\0") if name]
    return [f for f in files if f.suffix in _TEXT and f.is_file() and "vendor" not in f.parts]


def change_address(root: Path, new: str) -> list[Path]:
    """Replace the address by `new` in every file that carries it; returns the files that changed.

    Raises
    ------
    RunError
        If `new` is not the address of a GitHub repository (Colab opens notebooks from GitHub).
    """
    new = new.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", new):
        raise RunError(f"{new!r} is not a repository's address like https://github.com/you/your-fork")
    # Colab and raw links carry "owner/name" after another host, so that is what is replaced.
    old_slug = repository_url(root).removeprefix("https://github.com/")
    new_slug = new.removeprefix("https://github.com/")
    old_site, new_site = (_pages(slug) for slug in (old_slug, new_slug))
    changed = []
    for path in project_files(root):
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = re.sub(re.escape(old_slug) + r"(?![\w-])", new_slug, before).replace(old_site, new_site)
        if after != before:
            path.write_text(after, encoding="utf-8", errors="surrogateescape", newline="")
            changed.append(path)
    return changed


def _pages(slug: str) -> str:
    owner, name = slug.split("/")
    return f"{owner.lower()}.github.io/{name}"

"""What the unit tests share: a home of their own, no Hub, and a small real corpus."""

import gc
import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import joblib
import pytest

# The tests share the cores among themselves: processes that import everything again would take twice the time.
joblib.parallel_config(backend="sequential")
# Before anything imports huggingface_hub: an unreachable Hub costs 23 s of retries.
os.environ["HF_HUB_OFFLINE"] = "1"


def copy_compiled(cache: Path) -> None:
    """Copy what ``make setup`` has compiled of librosa (20 s of work) into a new numba cache, by that one's names."""
    for file in Path(importlib.util.find_spec("librosa").origin).parent.rglob("__pycache__/*.nb[ic]"):
        source = file.parents[1]
        folder = cache / f"{source.name}_{hashlib.sha1(str(source).encode()).hexdigest()}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, folder)


# Before anything imports librosa: workers that fill one numba cache together can spoil it (numba issue 10128).
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    numba_cache = Path(__file__).parents[1] / "build" / "numba" / worker
    os.environ["NUMBA_CACHE_DIR"] = str(numba_cache)
    if not numba_cache.is_dir():
        copy_compiled(numba_cache)

#: With two workers, whoever has a long file last would end long after the other.
LONGEST_FIRST = (
    "options", "colab", "experiments", "audit", "workflow", "real_runs", "sources", "cli", "browser", "predict", "fetch",
    "training",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest files first."""
    place = {f"test_{name}.py": i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session", autouse=True)
def genre_home(tmp_path_factory):
    """``data/`` and ``build/`` of the whole session in a temporary folder; nothing in the checkout changes."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("GENRE_UTILS_HOME", str(home))
    patch.setenv("BUILT_BOOK", str((home.parents[1] if worker else home) / "book"))  # one for all workers
    gc.freeze()  # every training asks for a full collection at its end: not of the libraries, each time
    patch.delenv("GENRE_UTILS_RUNS", raising=False)
    yield home
    patch.undo()


@pytest.fixture(scope="session")
def tiny_corpus(genre_home):
    """The synthetic corpus in small: 4 clips of 4 s for each of the ten genres, with its planted faults."""
    pytest.importorskip("tinysoundfont", reason="rendering needs tinysoundfont")
    from genre_utils.corpora.synthetic import synthetic_corpus

    return synthetic_corpus(4, 4.0, seed=0, progress=False)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with six tiny chapters, which is also the working folder."""
    from tiny_book import make_checkout

    root = make_checkout(tmp_path / "book with spaces")
    monkeypatch.chdir(root)
    monkeypatch.setenv("GENRE_UTILS_HOME", str(root))
    monkeypatch.delenv("GENRE_UTILS_RUNS", raising=False)
    monkeypatch.setattr("genre_utils.publish.run.prepare", lambda *_, **__: None)  # the tiny chapters hear no clips
    return root


@pytest.fixture
def call(monkeypatch, capsys):
    """Exit code, stdout and stderr of ``python -m genre_utils`` with some arguments."""

    from genre_utils.publish import cli

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genre_utils", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run

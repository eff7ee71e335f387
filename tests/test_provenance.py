"""What a result says of its origin, and what its stages cost."""

import mmap
import subprocess
import time

import numpy as np
import pytest
from fake_cards import make_card

from genre_utils import provenance
from genre_utils.provenance import Cost, Stopwatch, hardware, origin, versions


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository with one committed file, taken for the checkout of the book."""
    root = tmp_path / "checkout"
    root.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
        done = subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (root / "code.py").write_text("print(1)\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    monkeypatch.setattr(provenance, "project_root", lambda: root)
    return root, git


def test_a_clean_checkout_is_named_by_its_commit(checkout):
    _, git = checkout
    found = origin()
    assert found["git_commit"] == git("rev-parse", "HEAD")
    assert found["uncommitted"] is False


def test_a_changed_file_is_owned_up_to_and_a_new_one_is_no_change(checkout):
    root, git = checkout
    (root / "notes.txt").write_text("not tracked")
    assert origin()["uncommitted"] is False
    (root / "code.py").write_text("print(2)\n")
    assert origin()["uncommitted"] is True
    git("add", "code.py")
    assert origin()["uncommitted"] is True, "staged is not committed"
    git("commit", "-q", "-m", "second")
    assert origin()["uncommitted"] is False


def test_a_deleted_file_is_a_change(checkout):
    root, _ = checkout
    (root / "code.py").unlink()
    assert origin()["uncommitted"] is True


def test_a_record_says_whether_its_code_was_committed(checkout):
    root, _ = checkout
    assert make_card().uncommitted is False
    (root / "code.py").write_text("print(2)\n")
    assert make_card().uncommitted is True


@pytest.mark.parametrize("what", ["no checkout", "no repository", "no commit yet"])
def test_where_there_is_no_commit_nothing_is_claimed(monkeypatch, tmp_path, what):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if what == "no commit yet":
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(provenance, "project_root", lambda: None if what == "no checkout" else tmp_path)
    found = origin()
    assert found["git_commit"] is None and found["uncommitted"] is None


def test_versions_and_machine_are_named_and_nothing_that_identifies_it():
    assert set(origin()) == {"versions", "hardware", "git_commit", "uncommitted", "created"}
    assert versions()["numpy"] == np.__version__
    assert set(hardware()) == {"processor", "cores", "memory_gb", "gpu", "system"}


def test_stopwatch_sees_time_and_memory():
    watch = Stopwatch()
    with watch.stage("small"):
        time.sleep(0.05)
    with pytest.raises(KeyError), watch.stage("large"):
        block = mmap.mmap(-1, 100 * 2**20)  # new pages: malloc may hand out free ones, which are counted already
        block.write(bytes(len(block)))
        time.sleep(0.2)
        block.close()
        raise KeyError
    small, large = watch.stages
    assert small.seconds >= 0.05
    assert large.peak_memory_mb > small.peak_memory_mb + 80
    cost = Cost(stages=watch.stages, trainable_parameters=5, total_parameters=9)
    assert cost.seconds == pytest.approx(small.seconds + large.seconds)
    assert cost.peak_memory_mb == large.peak_memory_mb
    assert make_card(cost=cost).cost == cost

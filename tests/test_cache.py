"""The cache on disk: an entry is made once, damage is noticed, and trouble says what to do."""

import errno
import os
import resource

import numpy as np
import pytest

from genre_utils.cache import IN_MEMORY, Cache, Rows, rows
from genre_utils.errors import CacheError


def test_an_entry_is_found_again_under_its_key_alone(tmp_path):
    cache, first = Cache(tmp_path), np.arange(12, dtype=np.float32).reshape(3, 4)
    assert cache.put("mel", {"a": 1}, first)
    np.testing.assert_array_equal(cache.get("mel", {"a": 1}), first)
    assert cache.get("mel", {"a": 2}) is None and cache.get("wave", {"a": 1}) is None
    np.testing.assert_array_equal(np.load(cache.path("mel", {"a": 1})), first)  # a plain .npy to anyone else


@pytest.mark.parametrize("place", [3, 60, 140, -1])
def test_a_flipped_byte_is_noticed_and_the_entry_can_be_made_again(tmp_path, place):
    cache, key, truth = Cache(tmp_path), {"a": 1}, np.arange(8.0)
    cache.put("mel", key, truth)
    content = bytearray(cache.path("mel", key).read_bytes())
    content[place] ^= 1
    cache.path("mel", key).write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.get("mel", key) is None
    cache.put("mel", key, truth)
    np.testing.assert_array_equal(cache.get("mel", key), truth)


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_cut_entry_is_rebuilt(tmp_path, size):
    cache = Cache(tmp_path)
    cache.put("mel", {}, np.arange(8.0))
    path = cache.path("mel", {})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.get("mel", {}) is None


def test_an_unwritable_cache_says_where_and_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")  # holds for root too, whom permissions do not stop
    with pytest.raises(CacheError, match="GENRE_UTILS_HOME") as caught:
        Cache(tmp_path / "file" / "cache").put("mel", {}, np.zeros(3))
    assert str(tmp_path / "file" / "cache") in str(caught.value)


def test_a_file_that_may_not_grow_is_an_error_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CacheError, match="Free some space"):
            Cache(tmp_path).put("mel", {}, np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CacheError, match="No space left on device"):
        Cache(tmp_path).put("mel", {}, np.zeros(10))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


WAVES = np.arange(5 * 7, dtype=np.int16).reshape(5, 7)
READ = [lambda row=row: row for row in WAVES]


@pytest.mark.parametrize(
    "index",
    [2, -1, np.int64(3), (2, slice(1, 4)), (..., slice(2, 5)), (slice(None), slice(2)), ([4, 0], slice(3)), (1, ..., slice(1, 3))],
)  # fmt: skip
def test_rows_on_disk_read_like_an_array(index):
    lazy, truth = Rows(READ, (7,), 0.5), WAVES * np.float32(0.5)
    assert lazy[index].dtype == np.float32
    np.testing.assert_array_equal(lazy[index], truth[index])
    np.testing.assert_array_equal(np.asarray(lazy), truth)
    np.testing.assert_array_equal(list(lazy), truth)
    assert (lazy.shape, len(lazy)) == (truth.shape, 5)


@pytest.mark.parametrize("some", [slice(1, 4), np.array([4, 0, 4]), [3]])
def test_some_rows_are_an_array_only_when_they_are_few(monkeypatch, some):
    assert isinstance(rows(READ, (7,))[some], np.ndarray) and IN_MEMORY > WAVES.size * 4
    monkeypatch.setattr("genre_utils.cache.IN_MEMORY", 4 * 7 - 1)
    lazy = rows(READ, (7,))[some]
    assert isinstance(lazy, Rows)
    np.testing.assert_array_equal(np.asarray(lazy), WAVES[some])

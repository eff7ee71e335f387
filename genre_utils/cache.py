"""Arrays kept on disk, content-addressed and damage-proof."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genre_utils.errors import CacheError
from genre_utils.paths import cache_dir, write_whole


class Cache:
    """Arrays on disk (in ``data/cache``), each named by a hash of what it was made from and carrying its own checksum.

    An entry is a plain ``.npy`` file followed by the SHA-256 of its bytes (``numpy.load`` ignores the tail).
    Entries are written whole or not at all, so an interrupted or parallel run leaves no half entry.
    """

    def __init__(self, folder: str | Path | None = None):
        self.folder = Path(folder) if folder is not None else cache_dir()

    def path(self, kind: str, key: dict) -> Path:
        """Where the entry of this `key` (anything JSON can write) is kept."""
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / kind / name[:2] / f"{name}.npy"

    def get(self, kind: str, key: dict) -> np.ndarray | None:
        """The stored array; None if there is none, or (with a warning) if its checksum does not hold."""
        path = self.path(kind, key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble("read", error) from error
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            warnings.warn(f"the cache entry {path} is damaged; it is made again", stacklevel=2)
            return None
        return np.load(io.BytesIO(content[:-32]), allow_pickle=False)

    def put(self, kind: str, key: dict, array: np.ndarray) -> None:
        """Store `array` (no object arrays) under `key`; a CacheError if that cannot be done, and nothing stays behind."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        content = buffer.getvalue()
        try:
            write_whole(self.path(kind, key), content + hashlib.sha256(content).digest())
        except OSError as error:
            raise self._trouble("write", error) from error

    def get_or_make(self, kind: str, key: dict, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of `key`: from disk if it is there and whole, else made, stored and returned."""
        found = self.get(kind, key)
        if found is None:
            found = make()
            self.put(kind, key, found)
        return found

    def _trouble(self, verb: str, error: OSError) -> CacheError:
        return CacheError(
            f"cannot {verb} the cache folder {self.folder}: {error.strerror or error}. Free some space, make the "
            "folder writable, or choose another place with the environment variable GENRE_UTILS_HOME."
        )

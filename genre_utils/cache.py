"""Arrays kept on disk, content-addressed and damage-proof."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genre_utils.paths import disk_access, home, write_whole

#: Arrays of more bytes than this stay on disk: see :class:`Rows`.
IN_MEMORY = 2**27


class Cache:
    """Arrays on disk (in ``data/cache``), each named by a hash of what it was made from.

    An entry is a plain ``.npy`` file, written whole or not at all, and the SHA-256 of its bytes (which ``numpy.load``
    ignores).
    """

    def __init__(self, folder: str | Path | None = None):
        self.folder = Path(folder) if folder is not None else home() / "data" / "cache"

    def path(self, kind: str, key: dict) -> Path:
        """Where the entry of this `key` (anything JSON can write) is kept."""
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / kind / name[:2] / f"{name}.npy"

    def get(self, kind: str, key: dict) -> np.ndarray | None:
        """The stored array; None if there is none, or (with a warning) if its checksum does not hold."""
        path = self.path(kind, key)
        with disk_access(f"read the cache folder {self.folder}"):
            content = path.read_bytes() if path.exists() else None
        if content is None:
            return None
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            warnings.warn(f"the cache entry {path} is damaged; it is made again", stacklevel=2)
            return None
        return np.load(io.BytesIO(content[:-32]), allow_pickle=False)

    def put(self, kind: str, key: dict, array: np.ndarray) -> bool:
        """Store `array` (no object arrays) under `key`, or raise a CacheError and leave nothing behind.

        False, with one warning, if the folder may only be read: then nothing is kept.
        """
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        content = buffer.getvalue()
        with disk_access(f"write the cache folder {self.folder}"):
            try:
                write_whole(self.path(kind, key), content + hashlib.sha256(content).digest())
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                warnings.warn(f"{self.folder} may only be read: what is computed is not kept", stacklevel=2)
                return False
        return True


class Rows:
    """Equally shaped arrays, one a clip, as if they were one: each is read when it is asked for, and not kept.

    So a thousand clips need no more memory than a hundred. Indexed like an ndarray: a number gives one array; with a
    comma, ``rows[some, :100]``, what is cut out; some of the clips, alone, are Rows again unless they are few.

    Parameters
    ----------
    read : sequence of callables
        Each gives one array, or a memory map of it.
    shape : tuple of int
        Of one array, as it is seen from here.
    scale : float, optional
        Factor that turns what was stored into float32.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, read: Sequence[Callable[[], np.ndarray]], shape: tuple[int, ...], scale: float = 1.0):
        self._read, self._scale, self.shape = np.array(read, dtype=object), np.float32(scale), (len(read), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray | Rows:
        which, *cut = index if isinstance(index, tuple) else (index,)
        if which is Ellipsis:
            which, cut = slice(None), [..., *cut]
        read = self._read[which]
        if not isinstance(read, np.ndarray):
            return read().reshape(self.shape[1:])[tuple(cut)] * self._scale
        if cut:
            return np.stack([Rows([one], self.shape[1:], self._scale)[(0, *cut)] for one in read])
        return rows(read, self.shape[1:], self._scale)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:, ...].astype(dtype or self.dtype)


def rows(read: Sequence[Callable[[], np.ndarray]], shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray | Rows:
    """:class:`Rows`, or one float32 array of the same shape in memory where that is small."""
    lazy = Rows(read, shape, scale)
    few = np.prod(lazy.shape, dtype=float) * lazy.dtype.itemsize <= IN_MEMORY
    return np.asarray(lazy) if few else lazy

"""Shared code of the replication book: music genres on GTZAN, from a CNN to fine-tuned wav2vec 2.0."""

import os
import tempfile

__version__ = "0.1.0"

if not os.access(os.path.expanduser("~"), os.W_OK):  # numba, matplotlib and the Hub keep their caches there, or fail
    _mine = os.getuid() if hasattr(os, "getuid") else 0
    _caches = os.path.join(os.environ.get("GENRE_UTILS_HOME") or tempfile.gettempdir(), f"genre_utils-caches-{_mine}")
    try:
        os.makedirs(_caches, mode=0o700, exist_ok=True)
        _safe = os.stat(_caches).st_uid == _mine  # in somebody else's, numba would run what lies there
    except OSError:
        _safe = False
    if not _safe:
        _caches = tempfile.mkdtemp(prefix="genre_utils-caches-")
    for _name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "HF_HOME"):
        os.environ.setdefault(_name, os.path.join(_caches, _name.lower()))

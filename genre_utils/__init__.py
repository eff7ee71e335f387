"""Shared code of the replication book: music genres on GTZAN, from a CNN to fine-tuned wav2vec 2.0."""

import os
import tempfile

__version__ = "0.1.0"

if not os.access(os.path.expanduser("~"), os.W_OK):  # numba, matplotlib and the Hub keep their caches there, or fail
    _caches = os.path.join(os.environ.get("GENRE_UTILS_HOME") or tempfile.gettempdir(), "genre_utils-caches")
    for _name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "HF_HOME"):
        os.environ.setdefault(_name, os.path.join(_caches, _name.lower()))

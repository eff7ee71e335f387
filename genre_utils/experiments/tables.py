"""Features of all of GTZAN that others computed: the table of statistics that circulates with it, and archives beside it."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from genre_utils.corpora import Clip, Corpus, gtzan_faults
from genre_utils.errors import CorpusError
from genre_utils.features import FEATURE_NAMES
from genre_utils.records import CHOI
from genre_utils.splits import gtzan_ids

#: Where the feature table is looked for.
TABLE_VARIABLE = "GTZAN_FEATURES_CSV"
TAG_SCORES = "MusiCNN's tags"
CONTAMINATED = "features that had seen the exam"
#: Contestant -> file, and the arrays of it that are laid side by side, beside ``ids``.
ARCHIVES = {
    CHOI: ("gtzan_choi_features.npz", ["features"]),
    TAG_SCORES: ("gtzan_musicnn_taggrams.npz", ["mean", "std"]),
    CONTAMINATED: ("gtzan_contaminated_embeddings.npz", ["features"]),
}


def feature_table(path: Path | str | None = None) -> tuple[Corpus, np.ndarray]:
    """The 999 usable clips of GTZAN, without their audio, and their features (999, 57), from the table at `path`.

    By default that which ``GTZAN_FEATURES_CSV`` names; a CorpusError if there is none, or clips or columns are missing.
    """
    chosen = path or os.environ.get(TABLE_VARIABLE)
    if not chosen:
        raise CorpusError(
            f"no feature table is named: set {TABLE_VARIABLE} to features_30_sec.csv, which comes with GTZAN's copies"
        )
    path = Path(chosen).expanduser()
    try:
        table = pd.read_csv(path)
        table.index = table["filename"].str.rsplit(".", n=1).str[0]
        features = table.loc[list(gtzan_ids()), list(FEATURE_NAMES)].to_numpy(dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{path} is no table of GTZAN's 57 features ({type(error).__name__}: {error}): it needs the columns filename, "
            f"{FEATURE_NAMES[0]} ... {FEATURE_NAMES[-1]} and a row for each clip"
        ) from error
    if not np.isfinite(features).all():
        bad = gtzan_ids()[int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])]
        raise CorpusError(f"{path} has a feature that is no finite number, for {bad}: get the table again")
    faults = gtzan_faults()
    clips = tuple(Clip(i, path, i.split(".", 1)[0], faults.artists.get(i)) for i in gtzan_ids())
    return Corpus("gtzan (features)", path.parent, clips, 30.0, faults=faults.among(gtzan_ids())), features


def archived(name: str) -> np.ndarray:
    """Features of the 999 usable clips, (999, ...), float64; NaN where the archive has none. A CorpusError says what is missing."""
    file, parts = ARCHIVES[name]
    path = Path(os.environ.get(TABLE_VARIABLE, "")).expanduser().parent / file
    try:
        with np.load(path, allow_pickle=False) as stored:
            place = {str(clip): i for i, clip in enumerate(stored["ids"])}
            rows = np.concatenate([stored[part].astype(np.float64) for part in parts], axis=-1)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error) as error:
        raise CorpusError(f"{path} is needed, with the arrays ids and {', '.join(parts)} ({error})") from error
    nothing = np.full(rows.shape[1:], np.nan)
    return np.stack([rows[place[clip]] if clip in place else nothing for clip in gtzan_ids()])

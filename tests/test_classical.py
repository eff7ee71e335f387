"""Classical classifiers on the feature table: honest splits, exact bookkeeping, and the committed record."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from genre_utils import classical
from genre_utils.classical import BY_ARTIST, FIXED, RANDOM, Classical, feature_table, measure
from genre_utils.corpora import Clip, Corpus
from genre_utils.errors import CorpusError, RunError
from genre_utils.features import FEATURE_NAMES
from genre_utils.profiles import GENRES
from genre_utils.splits import Split, gtzan_ids

NEAREST = {"nearest": (KNeighborsClassifier(1), {})}


def write_table(path: Path, **columns) -> Path:
    rng = np.random.default_rng(0)
    ids = [*gtzan_ids(), "jazz.00054"]
    features = pd.DataFrame(rng.normal(size=(len(ids), 57)), columns=list(FEATURE_NAMES)).assign(**columns)
    features.insert(0, "filename", [f"{clip}.au" for clip in ids])
    features.to_csv(path, index=False)
    return path


def artists_world() -> tuple[Corpus, np.ndarray]:
    """Ten genres of five artists with four clips each; the features know the artist, and nothing else."""
    clips = tuple(
        Clip(f"{genre}.{4 * artist + k:05d}", Path("x"), genre, f"{genre} {artist}")
        for genre in GENRES for artist in range(5) for k in range(4)
    )  # fmt: skip
    rng = np.random.default_rng(0)
    voice = {name: rng.normal(size=8) for name in sorted({clip.artist for clip in clips})}
    features = np.array([voice[clip.artist] + 0.01 * rng.normal(size=8) for clip in clips])
    return Corpus("artists", Path("."), clips, 30.0), features


def test_a_classifier_that_knows_artists_shines_on_random_splits_alone():
    corpus, features = artists_world()
    found = measure(corpus, features, repeats=3, only=NEAREST, fixed={}, progress=False)
    assert found.accuracies(RANDOM, "nearest").min() > 0.9
    assert found.accuracies(BY_ARTIST, "nearest").max() < 0.4
    assert np.isfinite(found.marks(BY_ARTIST, "nearest")).all(), "folds test every clip once"
    interval = found.accuracy(BY_ARTIST, "nearest")
    assert interval.low < interval.value < interval.high and "artists" in interval.method
    assert "corrected t over 3" in found.accuracy(RANDOM, "nearest").method


def test_windows_of_one_clip_leak_until_clips_and_artists_are_kept_together(tiny_corpus):
    from dataclasses import replace

    found = classical.measure_windows(tiny_corpus, parts=2, repeats=2, progress=False)
    assert list(found.provenance) == [classical.RANDOM_WINDOWS, classical.WHOLE_CLIPS, BY_ARTIST]
    assert len(found.clips) == 2 * len(tiny_corpus) and found.clips[0].endswith("@0")
    for name in found.provenance:
        assert found.marks(name).shape == (2, len(found.clips)) and np.isfinite(found.marks(name)).all()
    assert found.accuracy(classical.RANDOM_WINDOWS).value >= found.accuracy(classical.WHOLE_CLIPS).value
    known = replace(tiny_corpus, clips=tuple(replace(c, id=f"{c.id}@{k}", recording=c.id) for c in tiny_corpus for k in (0, 1)))
    from genre_utils.splits import clip_of, grouped_folds

    for fold in grouped_folds(replace(known, clips=tuple(replace(c, artist=None) for c in known), faults={}), 5):
        assert not {clip_of(i) for i in fold.train} & {clip_of(i) for i in fold.test}


def test_validation_clips_are_neither_learnt_nor_tested_and_the_record_survives_the_disk(tmp_path):
    corpus, features = artists_world()
    ids = corpus.ids
    split = Split("by hand", ids[::4], ids[1::4], ids[2::4], "every fourth").check()
    made = measure(corpus, features, repeats=0, only=NEAREST, fixed={"hand": lambda: split}, progress=False)
    marks = made.marks("hand", "nearest")[0]
    assert np.flatnonzero(np.isfinite(marks)).tolist() == list(range(2, len(ids), 4))
    assert made.trials[0].n_train == len(split.train)
    assert made.accuracy("hand", "nearest").n == len(split.test)
    made.save(tmp_path)
    assert Classical.load(tmp_path) == made
    with pytest.raises(RunError, match="no SVM on hand; it has nearest on hand"):
        made.marks("hand")


def test_the_table_is_read_by_clip_and_damage_is_named(tmp_path, monkeypatch):
    corpus, features = feature_table(write_table(tmp_path / "good.csv"))
    assert corpus.ids == gtzan_ids() and features.shape == (999, 57)
    monkeypatch.delenv(classical.TABLE_VARIABLE, raising=False)
    with pytest.raises(CorpusError, match="set GTZAN_FEATURES_CSV"):
        feature_table()
    with pytest.raises(CorpusError, match="nothing.csv is no table"):
        feature_table(tmp_path / "nothing.csv")
    (tmp_path / "other.csv").write_text("filename,a\nblues.00000.wav,1\n")
    with pytest.raises(CorpusError, match="other.csv is no table of GTZAN's 57 features"):
        feature_table(tmp_path / "other.csv")
    with pytest.raises(CorpusError, match="no finite number, for blues.00000"):
        feature_table(write_table(tmp_path / "hole.csv", tempo=np.nan))


@pytest.mark.skipif(
    not os.environ.get(classical.TABLE_VARIABLE), reason="set GTZAN_FEATURES_CSV to GTZAN's features_30_sec.csv"
)
def test_the_committed_record_is_what_the_table_gives_on_the_studys_splits():
    svm = {"SVM": classical.classifiers()["SVM"]}
    again = measure(*feature_table(), repeats=0, only=svm, progress=False)
    recorded = Classical.load(Path(__file__).parents[1] / "book" / "results" / "classical")
    for name in FIXED:
        differ = (again.marks(name) != recorded.marks(name)) & np.isfinite(again.marks(name))
        assert differ.sum() <= 2, f"{name}: {differ.sum()} clips"  # a margin for other versions of the libraries

"""Splits: the study's own are reproduced, ours leak nothing, and leakage counts what it says."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre_utils import splits
from genre_utils.corpora import Clip, Corpus, Faults, gtzan_faults
from genre_utils.errors import CorpusError, ProfileError
from genre_utils.identity import identity
from genre_utils.profiles import GENRES, GTZAN_SPLITS, PROFILES, SPLITS
from genre_utils.splits import Split, artist_split, leakage


def paper_corpus(sizes=(5, 4, 3, 2, 2, 2, 1, 1), faults=None, genres=GENRES) -> Corpus:
    """A corpus on paper: artists of these sizes in each genre; no files."""
    clips = []
    for genre in genres:
        number = 0
        for artist, size in enumerate(sizes):
            for _ in range(size):
                name = f"{genre}.{number:05d}"
                clips.append(
                    Clip(name, Path(f"{name}.wav"), genre, f"{genre} artist {artist}", f"song {name}")
                )
                number += 1
    return Corpus("paper", Path("."), tuple(clips), 30.0, faults=faults or {}, genres=tuple(genres))


def test_the_studys_cnn_split_is_reproduced_from_its_recipe():
    split = splits.gtzan_split("cnn")
    assert split.counts == {"train": 699, "val": 150, "test": 150}
    # The lists published with the study, as a digest: order matters.
    digest = hashlib.sha256(json.dumps([split.train, split.val, split.test]).encode()).hexdigest()
    assert digest == json.loads(splits.package_data("splits.json").read_text())["cnn"]["sha256"]
    assert split.train[:3] == ("reggae.00065", "country.00048", "classical.00010")
    assert split.test[:3] == ("disco.00023", "pop.00000", "rock.00065")


def test_another_shuffle_is_not_taken_for_the_studys_split(monkeypatch):
    monkeypatch.setattr(
        splits, "gtzan_ids", lambda: tuple(f"{g}.{n:05d}" for g in GENRES for n in range(99, -1, -1))
    )
    with pytest.raises(CorpusError, match="requirements.lock"):
        splits.gtzan_split("cnn")


def test_the_wav2vec_split_shares_clips_with_the_cnns_as_reported():
    cnn, wav2vec = splits.gtzan_split("cnn"), splits.gtzan_split("wav2vec")
    assert wav2vec.counts == {"train": 798, "val": 97, "test": 100}
    shared = [len(set(wav2vec.test) & set(part)) for part in (cnn.train, cnn.val, cnn.test)]
    assert shared == [67, 14, 19]
    assert not {"jazz.00054", "pop.00094", "rock.00038", "rock.00064", "rock.00085"} & set(wav2vec.ids)


# n_test, replica, same song, same artist, artist known: figures counted independently for the study's files.
LEAKS = {
    ("cnn", "test"): (150, 10, 13, 120, 142),
    ("cnn", "val"): (150, 9, 14, 120, 133),
    ("wav2vec", "test"): (100, 7, 9, 78, 90),
    ("wav2vec", "val"): (97, 9, 17, 73, 88),
    ("filtered", "test"): (290, 0, 0, 0, 253),
    ("filtered", "val"): (197, 0, 0, 0, 181),
}


@pytest.mark.parametrize(("name", "part"), LEAKS)
def test_leakage_of_the_recorded_splits_is_as_reported(name, part):
    found = leakage(splits.gtzan_split(name), gtzan_faults(), part)
    assert tuple(found.values())[:5] == LEAKS[name, part]
    assert found["same_clip"] == 0


def test_leakage_counts_each_kind():
    split = Split("s", ("a.0", "a.1", "a.2"), (), ("b.0", "b.1", "b.2"), "by hand")
    faults = Faults(
        replicas=(("a.0", "b.0"),),
        same_recording=(("a.0", "b.0"), ("a.1", "b.1"), ("b.1", "b.2")),
        artists={"a.0": "X", "b.0": "X", "b.1": "Y", "a.2": "Z"},
    )
    assert leakage(split, faults) == {
        "clips": 3,
        "copy": 1,
        "same_song": 2,
        "same_artist": 1,
        "artist_known": 2,
        "same_clip": 0,
    }


def test_a_split_with_a_clip_on_two_sides_is_refused():
    with pytest.raises(CorpusError, match="more than once, 'b'"):
        Split("bad", ("a", "b"), ("b",), ("c",), "")
    with pytest.raises(CorpusError, match="empty part"):
        Split("bad", ("a",), (), (), "")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 6), min_size=6, max_size=12))
def test_the_artist_split_separates_artists_and_loses_no_clip(seed, sizes):
    corpus = paper_corpus(sizes, {"replicas": [("blues.00000", "jazz.00003")]}, GENRES[:6])
    split = artist_split(corpus, seed)
    assert sorted(split.ids) == sorted(corpus.ids)
    leaks = leakage(split, corpus)
    if "not separated" not in split.provenance:
        assert leaks["same_artist"] == 0
    assert leaks["copy"] == leaks["same_song"] == 0
    for genre in corpus.genres:
        for part in (split.train, split.val, split.test):
            assert any(clip.startswith(genre) for clip in part)


def test_the_artist_split_is_near_its_shares_and_follows_the_seed():
    corpus = paper_corpus((13, 9, 7, 6, 6, 5, 4, 4, 3, 3))
    first, again, other = artist_split(corpus, 0), artist_split(corpus, 0), artist_split(corpus, 1)
    assert first == again
    assert first.test != other.test
    for part, share in zip((first.train, first.val, first.test), splits.FRACTIONS, strict=True):
        for genre in GENRES:
            assert sum(clip.startswith(genre) for clip in part) == pytest.approx(60 * share, abs=4)


def test_a_genre_of_one_artist_is_shared_out_and_named():
    clips = paper_corpus((2,) * 5).clips
    clips = tuple(Clip(c.id, c.path, c.genre, "one" if c.genre == "blues" else c.artist) for c in clips)
    split = artist_split(Corpus("paper", Path("."), clips, 30.0))
    assert "not separated within blues" in split.provenance
    assert all(
        any(clip.startswith("blues") for clip in part) for part in (split.train, split.val, split.test)
    )


def test_the_random_split_is_stratified_and_leaks_artists():
    corpus = paper_corpus()
    split = splits.random_split(corpus, 3)
    assert split == splits.random_split(corpus, 3)
    assert {sum(clip.startswith(genre) for clip in split.test) for genre in GENRES} == {5}
    assert leakage(split, corpus)["same_artist"] > 25


def test_windows_drawn_at_random_put_the_same_clip_on_both_sides():
    corpus = paper_corpus()
    split = splits.window_split(corpus)
    found = leakage(split, corpus)
    assert len(split.ids) == 3 * len(corpus)
    assert found["same_clip"] > 0.7 * found["clips"]
    assert splits.clip_of("blues.00001@2") == "blues.00001"


def test_grouped_folds_test_every_clip_once_and_share_no_artist():
    corpus = paper_corpus()
    folds = splits.grouped_folds(corpus, 5, seed=1)
    assert sorted(clip for fold in folds for clip in fold.test) == sorted(corpus.ids)
    assert all(leakage(fold, corpus)["same_artist"] == 0 for fold in folds)


def test_impossible_requests_are_errors():
    corpus = paper_corpus()
    with pytest.raises(CorpusError, match="too few clips"):
        splits.random_split(paper_corpus((1,)), 0)
    with pytest.raises(CorpusError, match="lacks 739"):
        splits.make_split(corpus, PROFILES["gtzan"])


@pytest.mark.parametrize("name", SPLITS + GTZAN_SPLITS)
def test_every_split_that_a_run_may_choose_can_be_made(name):
    profile = identity("gtzan", split=name).profile
    clips = tuple(Clip(i, Path(i), i.split(".")[0]) for i in splits.gtzan_ids())
    assert splits.make_split(Corpus("gtzan", Path(), clips, 30.0), profile).name == name == profile.split


def test_a_recorded_split_of_some_genres_keeps_their_clips_and_parts():
    profile = identity("gtzan", split="cnn", genres="jazz,rock").profile
    clips = tuple(Clip(i, Path(i), i.split(".")[0]) for i in splits.gtzan_ids())
    whole = splits.gtzan_split("cnn")
    some = splits.make_split(Corpus("gtzan", Path(), clips, 30.0).of_genres(profile.genres), profile)
    for part in ("train", "val", "test"):
        assert getattr(some, part) == tuple(c for c in getattr(whole, part) if c.startswith(("jazz", "rock")))


def test_a_split_that_there_is_not_is_refused(tiny_corpus):
    with pytest.raises(ProfileError, match="choose artist, random, filtered, cnn, wav2vec"):
        splits.make_split(tiny_corpus, replace(PROFILES["gtzan"], split="window"))


def test_the_tiny_corpus_has_a_default_split(tiny_corpus):
    split = splits.make_split(tiny_corpus, PROFILES["mini"])
    assert sorted(split.ids) == sorted(tiny_corpus.ids)
    assert leakage(split, tiny_corpus)["copy"] == 0

"""How good the audit is: the halves of clips, counts that are pooled, and the record that comes with the book."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from genre_utils import audited
from genre_utils.audio import load_audio
from genre_utils.audited import HALVES, SYNTHETIC, Audited, Finding
from genre_utils.corpora import Clip, Corpus
from genre_utils.errors import RunError
from genre_utils.records import origin


@pytest.fixture
def long_clips(tmp_path):
    clips = []
    for number in range(3):
        path = tmp_path / "blues" / f"blues.{number:05d}.wav"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, np.linspace(0, (1 + number) / 4, 30_000), 1_000)
        clips.append(Clip(path.stem, path, "blues", "Ann"))
    return Corpus("long", tmp_path, tuple(clips), 30.0, 1_000, faults={"same_recording": [("blues.00000", "blues.00002")]})


def test_halves_share_no_sample_and_know_what_they_come_from(long_clips, tmp_path):
    cut = audited.halves(long_clips, tmp_path / "halves", 14.0)
    assert [clip.id for clip in cut] == [f"blues.{number:05d}" for number in range(6)]
    first, second = (load_audio(clip.path)[0] for clip in cut.clips[2:4])
    assert len(first) == len(second) == 14_000
    assert first.max() < second.min()
    assert cut.faults["same_recording"] == [
        ("blues.00000", "blues.00001", "blues.00004", "blues.00005"),
        ("blues.00002", "blues.00003"),
    ]
    with pytest.raises(RunError, match="do not fit"):
        audited.halves(long_clips, tmp_path / "more", 15.5)


def finding(**changes):
    about = {"corpus": SYNTHETIC, "seed": 2, "kind": "mislabelled", "names": False, "planted": 10, "reported": 8, "right": 8}
    return Finding(**(about | changes))


def test_the_table_adds_corpora_of_one_sort_and_keeps_names_apart():
    found = [finding(), finding(seed=3, reported=12, right=10), finding(names=True, reported=0, right=0)]
    table = Audited(**origin(), findings=found).table()
    row = table.loc[(SYNTHETIC, "mislabelled", "sound")]
    assert row[["planted", "reported", "right"]].tolist() == [20, 20, 18]
    assert row["precision"].startswith("0.90 [0.70, 0.97]")
    named = table.loc[(SYNTHETIC, "mislabelled", "sound and names")]
    assert named["precision"] == "–"
    assert named["recall"].startswith("0.00 [")


def test_findings_are_counted_against_what_was_planted(tiny_corpus):
    found = audited.findings(tiny_corpus, SYNTHETIC, 0, progress=False)
    copies = next(f for f in found if f.kind == "replicas")
    assert copies.planted == copies.reported == copies.right > 0
    assert {(f.kind, f.names) for f in found} >= {("mislabelled", False), ("mislabelled", True), ("unusable", False)}
    assert not any(f.names for f in found if f.kind in ("replicas", "unusable"))


def test_the_record_of_the_book_counts_unseen_corpora_and_real_halves():
    record = Audited.load(Path(__file__).parents[1] / "book" / "results" / "evidence")
    assert {f.seed for f in record.findings if f.corpus == SYNTHETIC} == set(audited.UNSEEN)
    table = record.table()
    assert table.loc[(HALVES, "same recording", "sound"), "planted"] >= 100
    assert (table["right"] <= table[["planted", "reported"]].min(axis=1)).all()


def test_a_missing_record_says_how_to_make_it(tmp_path):
    with pytest.raises(RunError, match="audit --record"):
        Audited.load(tmp_path)


@pytest.mark.skipif(not os.environ.get("GTZAN_MINI_DIR"), reason="set GTZAN_MINI_DIR to the 100 real clips")
def test_halves_of_real_clips_are_found_without_false_alarms(tmp_path):
    from genre_utils.corpora.gtzan import gtzan_mini

    corpus = gtzan_mini(progress=False)
    some = replace(corpus, clips=tuple(clip for clip in corpus if clip.genre == "hiphop"))
    found = audited.findings(audited.halves(some, tmp_path), HALVES, None, progress=False)
    kin = next(f for f in found if f.kind == "same recording" and not f.names)
    assert kin.planted == 10
    assert kin.right >= 4
    assert kin.reported <= kin.right + 2

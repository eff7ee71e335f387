"""Each experiment answers its question on a tiny world; and the records of the answers that come with the book."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from real_chapters import tiny_backbone
from sklearn.neighbors import KNeighborsClassifier
from tiny_wav2vec import TINY

from genre_utils.corpora import Clip, Corpus
from genre_utils.errors import CorpusError, RunError
from genre_utils.experiments import (
    classical,
    labels,
    material,
    pretraining_or_raw_audio,
    protocol,
    tables,
    transfer,
    windows,
)
from genre_utils.experiments.contest import (
    BY_ARTIST,
    FIXED,
    PLANNED,
    RANDOM,
    Contestant,
    LayerProbe,
    Network,
    contest,
)
from genre_utils.features import FEATURE_NAMES
from genre_utils.models.wav2vec import Backbone, load_backbone, random_backbone, small_config
from genre_utils.paths import package_data
from genre_utils.profiles import GENRES, PROFILES, Training
from genre_utils.protocol import CHOICES, CORRECTED, ORIGINAL
from genre_utils.publish.upkeep import QUESTIONS
from genre_utils.records import (
    CNN,
    FOUR,
    LOG_MEL,
    MUSICNN,
    PRE_TRAINED,
    SVM,
    CorpusInfo,
    Experiment,
    Trial,
)
from genre_utils.records import RANDOM as RANDOM_WEIGHTS
from genre_utils.splits import Split, clip_of, grouped_folds, gtzan_ids, gtzan_split

ROOT = Path(__file__).resolve().parents[1]
SHORT = Training(epochs=1, batch_size=8, learning_rate=1e-3, window_s=1.0)


def nearest(features) -> dict[str, Contestant]:
    return {"nearest": Contestant(features, KNeighborsClassifier(1), {"n_neighbors": [1]})}


# --- the record of an experiment --------------------------------------------------------------------------


def made(*trials: Trial, clips=("a", "b", "c", "d"), artists=("A", "A", "B", "B")) -> Experiment:
    return Experiment(
        question="toy",
        profile="mini",
        corpus=CorpusInfo(name="toy", fingerprint="", clips=len(clips)),
        provenance={"": "by hand"},
        clips=list(clips),
        artists=list(artists),
        created="2026-01-01T00:00:00+00:00",
        trials=list(trials),
    )


def test_an_experiment_keeps_marks_and_computes_every_figure_from_them(tmp_path):
    found = made(
        Trial(contestant="x", seed=0, marks="1110"),
        Trial(contestant="x", seed=1, marks="1100"),
        Trial(contestant="y", seed=0, marks="0110"),
        Trial(contestant="y", seed=1, marks="0000"),
    )
    assert found.contestants == ["x", "y"]
    assert np.array_equal(found.marks("x"), [[1, 1, 1, 0], [1, 1, 0, 0]])
    assert found.marks("x").mean(axis=1).tolist() == [0.75, 0.5]
    assert found.accuracy("x").value == 0.625 and "2 seeds and 2 artists" in found.accuracy("x").method
    assert found.accuracy("x", against="y").value == pytest.approx(0.375)
    path = found.save(tmp_path / "toy.json")
    assert Experiment.load(path) == found
    with pytest.raises(RunError, match="no 'z' .* it has x, y"):
        found.marks("z")
    assert not {"accuracy", "mean", "interval"} & set(json.loads(path.read_text()))


def test_each_design_has_its_interval():
    once = made(Trial(contestant="x", marks="1-0-"))
    assert once.accuracy("x").n == 2 and "Wilson" in once.accuracy("x").method
    parts = made(*(Trial(contestant="x", seed=s, labels=2, marks=m) for s, m in enumerate(("10--", "--11", "1-1-"))))
    assert "corrected t over 3" in parts.accuracy("x").method
    assert np.isnan(parts.marks("x")).sum() == 6


def test_of_several_sizes_the_most_labels_count_unless_another_is_named():
    sizes = [Trial(contestant="x", seed=s, labels=n, marks=m) for s in (0, 1) for n, m in ((10, "0000"), (40, "1111"))]
    found = made(*sizes)
    assert found.sizes == [10, 40]
    assert found.marks("x").shape == (2, 4)
    assert found.accuracy("x").value == 1
    assert found.accuracy("x", labels=10).value == 0
    assert found.accuracy("x", condition="").value == 1, "naming the only condition changes nothing"


def test_of_several_conditions_one_must_be_named():
    found = made(Trial(contestant="x", condition="here", marks="1111"), Trial(contestant="x", condition="there", marks="0000"))
    with pytest.raises(RunError, match=r"knows 'x' under \['here', 'there'\]: name one"):
        found.accuracy("x")
    assert found.accuracy("x", condition="there").value == 0


def test_draws_on_the_same_part_of_the_clips_have_the_interval_of_its_artists():
    found = made(*(Trial(contestant=name, condition="part", seed=s, marks=m) for name, rows in
                   (("x", ("110-", "111-")), ("y", ("010-",))) for s, m in enumerate(rows)))  # fmt: skip
    assert found.accuracy("x", condition="part").n == 3 and "2 seeds and 2 artists" in found.accuracy("x", condition="part").method
    lead = found.accuracy("x", against="y", condition="part")
    assert lead.value == pytest.approx(1 / 3) and "2 artists" in lead.method, "the draws that both took part in"
    assert found.has("y", "part") and not found.has("y", "whole")


def test_draws_are_paired_by_their_seed_even_if_one_was_broken_off():
    found = made(*(Trial(contestant=name, seed=s, marks=m) for name, seeds in (("x", (0, 1, 2)), ("y", (1, 2))) for s, m in
                   zip(seeds, ("0000", "1100", "1111")[-len(seeds):], strict=True)))  # fmt: skip
    assert found.accuracy("x", against="y").value == found.accuracy("y", against="x").value == 0


def test_balanced_accuracy_weighs_genres():
    clips = ("blues.00000", "blues.00001", "blues.00002", "rock.00000")
    found = made(*(Trial(contestant="x", condition="all", seed=s, marks=m) for s, m in enumerate(("1110", "110-"))), clips=clips)
    assert found.balanced_accuracy("x", "all") == pytest.approx((5 / 6 + 0) / 2)


def test_a_missing_or_damaged_record_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr("genre_utils.records.experiments.recorded_dir", lambda: tmp_path)
    with pytest.raises(RunError, match=r"no record .*labels.json: make it with: python -m genre_utils measure labels"):
        Experiment.recorded("labels")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "labels.json").write_text('{"question": "labels"')
    with pytest.raises(RunError, match=r"labels.json cannot be read.*measure labels"):
        Experiment.recorded("labels")


@pytest.mark.parametrize("question", [*QUESTIONS, "scaling"])
def test_the_book_has_a_record_on_every_question(question):
    found = Experiment.recorded(question)
    assert found.question == question
    for trial in found.trials:
        assert set(trial.marks) <= set("01-")
        assert len(trial.marks) == len(found.clips) == len(found.artists)


@pytest.mark.parametrize("question", ["labels", "transfer", "protocol"])
def test_the_records_of_the_book_are_about_the_backbone_that_it_ships(question):
    found = Experiment.recorded(question)
    assert found.backbones[PRE_TRAINED] == load_backbone("shipped").fingerprint
    for name in found.contestants:
        assert len({trial.seed for trial in found.trials if trial.contestant == name}) >= 5


def test_the_longest_of_the_compared_pre_trainings_is_the_backbone_that_ships():
    assert Experiment.recorded("scaling").backbones["10,000 steps"] == load_backbone("shipped").fingerprint


# --- on the backbone --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone():
    import torch
    from transformers import Wav2Vec2Model

    torch.manual_seed(1)
    return Backbone(Wav2Vec2Model(small_config(**TINY)), "tiny").eval()


@pytest.fixture
def tiny_world(tiny_corpus, monkeypatch):
    """The experiments on ten genres of four short clips: two to train on, one to validate, one to test."""
    small = {"clips_per_genre": 4, "clip_s": 4.0, "cnn": SHORT, "head_only": SHORT, "full": SHORT}
    monkeypatch.setitem(PROFILES, "mini", replace(PROFILES["mini"], **small))
    monkeypatch.setattr(transfer, "REAL_SOUND", replace(transfer.REAL_SOUND, **small))
    monkeypatch.setattr(transfer, "load_corpus", lambda profile, progress: tiny_corpus)
    ids = np.array(tiny_corpus.ids)
    place = np.array([int(clip[-5:]) for clip in ids])
    parts = {part: tuple(map(str, ids[np.isin(place, some)])) for part, some in
             (("train", (0, 1)), ("val", (2,)), ("test", (3,)))}  # fmt: skip
    split = SimpleNamespace(**parts, ids=parts["train"] + parts["val"] + parts["test"], provenance="by number")
    monkeypatch.setattr(material, "load_corpus", lambda profile: tiny_corpus)
    monkeypatch.setattr(material, "make_split", lambda corpus, profile: split)
    return parts


def test_labels_are_drawn_alike_for_every_contestant_and_scored_on_the_test_clips(tiny_world, backbone):
    found = labels.measure({"tiny": backbone}, seeds=2, progress=False)
    assert found.clips == list(tiny_world["test"])
    assert found.contestants == ["tiny", LOG_MEL, RANDOM_WEIGHTS]
    assert found.sizes == [10, len(tiny_world["train"])]
    assert found.marks("tiny", labels=10).shape == (2 * 4, len(found.clips)), "four of the fractions come to ten clips"
    # With all labels a seed has nothing to draw but random weights.
    assert np.array_equal(*found.marks("tiny"))
    assert not np.array_equal(*found.marks(RANDOM_WEIGHTS))
    assert found.backbones == {"tiny": backbone.fingerprint}


def test_every_protocol_runs_both_approaches_on_the_test_clips(tiny_world, backbone, monkeypatch):
    monkeypatch.setattr(protocol, "CHOICES", {"rate": CHOICES["rate"]})
    found = protocol.measure({"tiny": backbone}, seeds=1, progress=False)
    assert found.contestants == [
        f"{approach}: {name}" for name in (CORRECTED, "rate", ORIGINAL) for approach in ("head-only", "full")
    ]
    assert found.marks("full: original").shape == (1, len(tiny_world["test"]))


def test_the_record_on_the_protocol_knows_every_choice():
    found = Experiment.recorded("protocol")
    assert set(found.contestants) == {f"{a}: {name}" for a in ("head-only", "full") for name in (CORRECTED, *CHOICES, ORIGINAL)}
    assert set(found.settings) == set(CHOICES)


def test_transfer_tests_every_clip_once_a_draw(tiny_world, tiny_corpus, backbone):
    before = backbone.fingerprint
    found = transfer.measure({"tiny": backbone}, seeds=2, progress=False, folds=2)
    plain = ["tiny", RANDOM_WEIGHTS]
    assert found.contestants == [SVM, LOG_MEL, MUSICNN, *plain, CNN, *map(transfer.tuned, plain)]
    assert found.conditions == [FOUR, transfer.TEN] and found.clips == list(tiny_corpus.ids)
    of_four = np.isin([clip.split(".")[0] for clip in found.clips], transfer.COMPLETE)
    for name in found.contestants:
        assert np.array_equal(np.isfinite(found.marks(name, FOUR)), np.tile(of_four, (2, 1)))
        assert np.isfinite(found.marks(name, transfer.TEN)).all() and found.marks(name, transfer.TEN).shape[0] == 2
    assert found.accuracy(SVM, against=CNN, condition=FOUR).n == of_four.sum()
    assert found.settings[PLANNED] == len(found.trials) == 2 * 2 * len(found.contestants)
    assert "artist-grouped 2-fold" in found.provenance[transfer.TEN]
    assert backbone.fingerprint == before, "the pre-trained weights were trained in place"


def test_a_contest_goes_on_where_it_stopped(monkeypatch, genre_home):
    corpus, features = artists_world()
    asked = {"fixed": {}, "progress": False, "with_audio": False}
    first = contest("toy", corpus, nearest(features), draws=1, **asked)
    monkeypatch.setattr("genre_utils.experiments.contest._tuned", lambda *a: pytest.fail("a kept trial was made again"))
    assert contest("toy", corpus, nearest(features), draws=1, **asked).trials == first.trials
    none_left = contest("toy", corpus, nearest(features), draws=2, minutes=0, **asked)
    assert none_left.trials == first.trials and none_left.settings[PLANNED] == 2 * len(first.trials)
    with pytest.raises(pytest.fail.Exception, match="made again"):
        contest("toy", corpus, nearest(features + 1), draws=1, **asked)


def test_a_line_that_was_cut_short_is_no_trial(genre_home):
    corpus, features = artists_world()
    first = contest("toy", corpus, nearest(features), draws=1, fixed={}, progress=False, with_audio=False)
    kept = genre_home / "build" / "runs" / "experiments" / "toy.jsonl"
    kept.write_text(kept.read_text()[:-40])
    again = contest("toy", corpus, nearest(features), draws=1, fixed={}, progress=False, with_audio=False)
    assert [trial.marks for trial in again.trials] == [trial.marks for trial in first.trials]
    last = contest("toy", corpus, nearest(features), draws=1, minutes=0, fixed={}, progress=False, with_audio=False)
    assert last.trials == again.trials, "nothing is lost behind the broken line"


def test_a_network_learns_and_names_the_classes_it_was_shown(backbone):
    """Two genres by loudness; numbered as in a corpus of ten, of which it sees two."""
    rng = np.random.default_rng(0)
    loud = np.repeat([0.1, 1.0], 16)
    mel = (loud[:, None, None, None] * rng.random((32, 1, 16, 40))).astype(np.float32)
    y = np.where(loud > 0.5, 7, 2)
    network = Network(replace(SHORT, epochs=6, learning_rate=1e-2), window=20).fit(mel, y)
    assert set(network.predict(mel)) <= {2, 7} and (network.predict(mel) == y).mean() > 0.9
    heard = rng.normal(size=(8, 16_000)).astype(np.float32)
    for random in (False, True):
        guesses = Network(SHORT, 8_000, backbone, random, seed=1).fit(heard, y[12:20]).predict(heard)
        assert set(guesses) <= {2, 7}


def test_a_probe_reads_one_layer():
    x = np.zeros((20, 2, 3))
    x[10:, 1] = 1
    y = np.repeat([0, 1], 10)
    assert (LayerProbe(layer=1).fit(x, y).predict(x) == y).all() and not (LayerProbe(layer=0).fit(x, y).predict(x) == y).all()


def test_contestants_are_named_by_whoever_asks(tmp_path):
    tiny_backbone(tmp_path)
    found = material.contestants(["ours=shipped", f"tiny={tmp_path}"])
    assert list(found) == ["ours", "tiny"]
    assert found["ours"].fingerprint == load_backbone("shipped").fingerprint != found["tiny"].fingerprint


def test_genre_can_be_read_from_the_shipped_backbone_and_better_than_from_random_weights():
    """On two hundred clips of artists that neither the backbone nor the book's corpus has; folds by artist."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    from genre_utils.audio import load_audio
    from genre_utils.corpora.synthetic import synthetic_corpus
    from genre_utils.features import frozen_states
    from genre_utils.models.svm import linear_probe

    corpus = synthetic_corpus(20, 4.0, seed=5, progress=False)
    heard = np.stack([np.resize(load_audio(clip.path, rate_hz=16_000)[0], 64_000) for clip in corpus])
    y, artists = corpus.labels(corpus.ids), [clip.artist or clip.id for clip in corpus]
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)

    def score(backbone) -> float:
        states = frozen_states(backbone, heard, window_s=4.0, progress=False).swapaxes(0, 1)
        return np.mean([cross_val_score(linear_probe(), x, y, groups=artists, cv=folds).mean() for x in states])

    shipped, random = score(load_backbone("shipped")), score(random_backbone(0))
    assert shipped > 0.6
    assert shipped > random + 0.08


# --- classical classifiers --------------------------------------------------------------------------------


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
    found = contest("toy", corpus, nearest(features), draws=3, fixed={}, progress=False, with_audio=False)
    assert np.nanmean(found.marks("nearest", RANDOM), axis=1).min() > 0.9
    assert found.marks("nearest", BY_ARTIST).mean(axis=1).max() < 0.4
    assert np.isfinite(found.marks("nearest", BY_ARTIST)).all(), "folds test every clip once"
    interval = found.accuracy("nearest", condition=BY_ARTIST)
    assert interval.low < interval.value < interval.high and "artists" in interval.method
    assert "corrected t over 3" in found.accuracy("nearest", condition=RANDOM).method


def test_windows_of_one_clip_leak_until_clips_and_artists_are_kept_together(tiny_corpus):
    found = windows.measure(tiny_corpus, parts=2, seeds=2, progress=False, training=SHORT)
    assert found.question == "windows" and found.contestants == [SVM, CNN]
    assert list(found.provenance) == found.conditions == [windows.RANDOM_WINDOWS, windows.WHOLE_CLIPS, BY_ARTIST]
    assert len(found.clips) == 2 * len(tiny_corpus) and found.clips[0].endswith("@0")
    for name in found.provenance:
        for who in (SVM, CNN):
            assert found.marks(who, name).shape == (2, len(found.clips)) and np.isfinite(found.marks(who, name)).all()
    assert found.accuracy(SVM, condition=windows.RANDOM_WINDOWS).value >= found.accuracy(SVM, condition=windows.WHOLE_CLIPS).value
    known = replace(tiny_corpus, clips=tuple(replace(c, id=f"{c.id}@{k}", recording=c.id) for c in tiny_corpus for k in (0, 1)))
    for fold in grouped_folds(replace(known, clips=tuple(replace(c, artist=None) for c in known), faults={}), 5):
        assert not {clip_of(i) for i in fold.train} & {clip_of(i) for i in fold.test}


def test_validation_clips_are_neither_learnt_nor_tested_and_the_record_survives_the_disk(tmp_path):
    corpus, features = artists_world()
    ids = corpus.ids
    split = Split("by hand", ids[::4], ids[1::4], ids[2::4], "every fourth")
    found = contest("toy", corpus, nearest(features), draws=0, fixed={"hand": lambda: split}, progress=False, with_audio=False)
    marks = found.marks("nearest", "hand")[0]
    assert np.flatnonzero(np.isfinite(marks)).tolist() == list(range(2, len(ids), 4))
    assert found.trials[0].labels == len(split.train)
    assert found.accuracy("nearest", condition="hand").n == len(split.test)
    assert found.provenance == {"hand": "every fourth"}
    assert Experiment.load(found.save(tmp_path / "classical.json")) == found
    with pytest.raises(RunError, match=r"no 'SVM'.*it has nearest with .* under \['hand'\]"):
        found.marks("SVM", "hand")


def test_the_table_is_read_by_clip_and_damage_is_named(tmp_path, monkeypatch):
    corpus, features = tables.feature_table(write_table(tmp_path / "good.csv"))
    assert corpus.ids == gtzan_ids() and features.shape == (999, 57)
    monkeypatch.delenv(tables.TABLE_VARIABLE, raising=False)
    with pytest.raises(CorpusError, match="set GTZAN_FEATURES_CSV"):
        tables.feature_table()
    with pytest.raises(CorpusError, match="nothing.csv is no table"):
        tables.feature_table(tmp_path / "nothing.csv")
    (tmp_path / "other.csv").write_text("filename,a\nblues.00000.wav,1\n")
    with pytest.raises(CorpusError, match="other.csv is no table of GTZAN's 57 features"):
        tables.feature_table(tmp_path / "other.csv")
    with pytest.raises(CorpusError, match="no finite number, for blues.00000"):
        tables.feature_table(write_table(tmp_path / "hole.csv", tempo=np.nan))


@pytest.mark.skipif(
    not os.environ.get(tables.TABLE_VARIABLE), reason="set GTZAN_FEATURES_CSV to GTZAN's features_30_sec.csv"
)
def test_the_committed_record_is_what_the_table_gives_on_the_studys_splits():
    corpus, features = tables.feature_table()
    svm = {"SVM": Contestant(features, *classical.classifiers()["SVM"])}
    again = contest("toy", corpus, svm, draws=0, progress=False, with_audio=False)
    recorded = Experiment.recorded("classical")
    for name in FIXED:
        ours, theirs = again.marks("SVM", name), recorded.marks("SVM", name)
        differ = (ours != theirs) & np.isfinite(ours)
        assert differ.sum() <= 2, f"{name}: {differ.sum()} clips"  # a margin for other versions of the libraries


# --- features that others computed ------------------------------------------------------------------------


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A table of noise and, beside it, archives that know the genre (Choi's) or less (MusiCNN's), in another order."""
    rng, ids = np.random.default_rng(0), np.array(sorted([*gtzan_ids(), "jazz.00054"], reverse=True))
    monkeypatch.setenv(tables.TABLE_VARIABLE, str(write_table(tmp_path / "table.csv")))
    genre = np.array([GENRES.index(clip.split(".")[0]) for clip in ids])
    voice = np.eye(10)[genre]
    layers = voice[:, None, :4] * np.array([0, 0, 0, 0, 1])[:, None] + 0.1 * rng.normal(size=(1000, 5, 4))
    np.savez(tmp_path / "gtzan_choi_features.npz", ids=ids, features=layers)
    filtered = gtzan_split("filtered")
    some = np.isin(ids, [*filtered.train, *filtered.test])
    tags = np.pad(0.5 * voice + 0.3 * rng.random((1000, 10)), ((0, 0), (0, 40)))[some]
    np.savez(tmp_path / "gtzan_musicnn_taggrams.npz", ids=ids[some], mean=tags, std=tags)
    np.savez(tmp_path / "gtzan_contaminated_embeddings.npz", ids=ids, features=voice)
    return tmp_path


def test_features_of_others_are_read_by_clip_and_what_is_missing_is_named(archives):
    asked = pretraining_or_raw_audio
    assert tables.archived(tables.CONTAMINATED).argmax(axis=1).tolist() == [GENRES.index(c.split(".")[0]) for c in gtzan_ids()]
    tags = tables.archived(tables.TAG_SCORES)
    assert tags.shape == (999, 100) and np.isfinite(tags).all(axis=1).sum() == 732
    (archives / "gtzan_choi_features.npz").unlink()
    with pytest.raises(CorpusError, match=r"gtzan_choi_features.npz is needed, with the arrays ids and features"):
        tables.archived(asked.CHOI)


def test_contestants_on_features_of_others_share_the_splits(archives, monkeypatch):
    asked = pretraining_or_raw_audio
    monkeypatch.setattr(asked, "GRID", {"svc__C": [1.0]})
    monkeypatch.setattr(asked, "PENALTIES", {"logisticregression__C": [0.1]})
    monkeypatch.setattr(asked, "FIXED", {name: FIXED[name] for name in ("study: wav2vec", "fault-filtered")})
    found = asked.measure(seeds=0, progress=False)
    assert set(found.conditions) == {"study: wav2vec", "fault-filtered"}
    tested = [np.isfinite(found.marks(name, "fault-filtered")[0]) for name in found.contestants]
    assert all(np.array_equal(one, tested[0]) for one in tested) and tested[0].sum() == 290
    on = {name: found.accuracy(name, condition="fault-filtered").value for name in found.contestants}
    assert on[asked.STATISTICS] < 0.2 < on[asked.CHOI] and on[f"{asked.CHOI}, layer 1"] < 0.2 < on[f"{asked.CHOI}, layer 5"]
    assert on[tables.CONTAMINATED] > 0.9 and on[asked.READER] > 0.9
    with pytest.raises(RunError):
        found.marks(tables.TAG_SCORES, "study: wav2vec")


@pytest.mark.skipif(
    not (Path(os.environ.get(tables.TABLE_VARIABLE, "")).parent / "gtzan_musicnn_taggrams.npz").is_file(),
    reason="set GTZAN_FEATURES_CSV to GTZAN's features_30_sec.csv, with MusiCNN's published tags beside it",
)
def test_the_shipped_reader_of_tags_is_the_one_that_the_record_judges(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "workflow")
    import ship_reader

    asked, made = pretraining_or_raw_audio, ship_reader.made()
    shipped = json.loads(package_data("musicnn", "genres.json").read_text(encoding="utf-8"))
    assert made["learned from"] == shipped["learned from"] and list(made["genres"]) == shipped["genres"]
    for name in ("mean", "deviation", "weights", "bias", "level"):
        np.testing.assert_allclose(made[name], shipped[name], atol=1e-3)
    x = (tables.archived(tables.TAG_SCORES)[:, :50] - shipped["mean"]) / shipped["deviation"]
    guesses = (x @ np.transpose(shipped["weights"]) + shipped["bias"]).argmax(axis=1)
    y = np.array([GENRES.index(clip.split(".")[0]) for clip in gtzan_ids()])
    marks = Experiment.recorded("pretraining-or-raw-audio").marks(asked.READER, "fault-filtered")[0]
    tested = np.isfinite(marks)
    assert ((guesses == y)[tested] != (marks[tested] == 1)).sum() <= 1


# --- how long, and on what music? -------------------------------------------------------------------------


@pytest.fixture
def scaling(tiny_world, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "workflow"))
    import scaling

    monkeypatch.setattr(scaling, "REAL_SOUND", transfer.REAL_SOUND)
    monkeypatch.setattr(scaling, "FOLDS", 2)
    monkeypatch.setattr(scaling, "CLIP_S", 1)
    return scaling


def test_each_fold_is_probed_on_the_backbone_that_did_not_hear_its_artists(scaling, tiny_corpus, backbone):
    corpus = tiny_corpus.of_genres(transfer.COMPLETE)
    folds = grouped_folds(corpus, 2)
    others = [random_backbone(seed, like=backbone) for seed in (7, 8)]
    found = scaling.measure(corpus, {"same": [[backbone]] * 2, "by fold": [[one] for one in others]}, random_seeds=2)
    assert found.contestants == ["same", "by fold", RANDOM_WEIGHTS] and found.clips == list(corpus.ids)
    assert [(trial.contestant, trial.seed) for trial in found.trials] == [("same", 0), ("by fold", 0), (RANDOM_WEIGHTS, 0), (RANDOM_WEIGHTS, 1)]
    assert all(np.isfinite(found.marks(name)).all() for name in found.contestants), "each clip is tested once a draw"
    alone = scaling.measure(corpus, {"by fold": [[others[0]]] * 2}, random_seeds=1)
    tested = np.isin(corpus.ids, folds[0].test)
    np.testing.assert_array_equal(alone.marks("by fold")[0, tested], found.marks("by fold")[0, tested])


def test_a_pre_training_hears_no_artist_of_the_tested_clips(scaling, tiny_corpus):
    fold = grouped_folds(tiny_corpus, 2)[0]
    artists = {tiny_corpus[clip].artist for clip in fold.test}
    others = [clip for clip in tiny_corpus.ids if tiny_corpus[clip].artist not in artists]
    pieces = scaling.real_pieces(tiny_corpus, fold)
    assert pieces.dtype == np.int16 and 0 < len(pieces) <= 4 * len(others) and pieces.shape[1] == 16_000
    assert np.abs(pieces).max() > 1_000


def test_a_record_of_pre_trainings_grows_by_new_ones_and_refuses_other_answers(scaling, tiny_corpus, backbone):
    corpus = tiny_corpus.of_genres(transfer.COMPLETE)
    first, more = (scaling.measure(corpus, {name: [[backbone]] * 2}, random_seeds=1) for name in ("first", "more"))
    found = scaling.grown(first, more)
    assert [trial.contestant for trial in found.trials] == ["first", RANDOM_WEIGHTS, "more"] and set(found.backbones) == {"first", "more"}
    assert found.settings[PLANNED] == len(found.trials)
    assert scaling.grown(found, more).trials == found.trials
    other = more.trials[-1].model_copy(update={"marks": more.trials[-1].marks.translate(str.maketrans("01", "10"))})
    with pytest.raises(RunError, match="other answers of random weights"):
        scaling.grown(first, more.model_copy(update={"trials": [*more.trials[:-1], other]}))

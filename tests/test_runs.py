"""Run records survive the disk, refuse nonsense, and only compare what was scored on the same clips."""

import json
import time

import jsonschema
import numpy as np
import pytest
from fake_cards import IDS, PROFILE, SPLIT, FakeCorpus, make_card

from genre_utils import runs
from genre_utils.errors import RunError


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_UTILS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(runs, "recorded_dir", lambda profile: None)
    return tmp_path / "runs" / "mini"


def test_card_survives_the_disk(run_folder):
    card = make_card(settings={"C": np.float32(5), "path": run_folder}, history=[{"epoch": 1, "loss": np.nan}])
    path = card.save()
    assert path == run_folder / "cnn-seed0.json"
    assert runs.RunCard.load(path) == card
    assert [p.name for p in run_folder.iterdir()] == ["cnn-seed0.json"], "nothing half-written stays behind"
    assert card.history == [{"epoch": 1, "loss": None}], "JSON has no NaN"


def test_saved_card_obeys_the_published_schema(tmp_path):
    path = runs.write_record(tmp_path / "bundle.json", runs.Bundle(cards=[make_card(), make_card("full")]))
    content, schema = json.loads(path.read_text(encoding="utf-8")), runs.json_schema()
    jsonschema.validate(content, schema)
    assert runs.read_cards(path) == [make_card().model_copy(update={"created": c["created"]}) if not i else runs.RunCard(**c)
                                     for i, c in enumerate(content["cards"])]
    content["cards"][0]["predictions"][0].pop("genre")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


def test_metrics_follow_from_the_predictions():
    card = make_card()
    hits = sum(row.genre == row.predicted for row in card.predictions)
    assert card.interval().value == hits / 30
    assert card.interval().method == "Wilson 95 %"
    assert np.array_equal(card.probabilities.argmax(axis=1), card.predicted)
    assert [row.support for row in card.per_genre] == [3] * 10
    assert set(card.metrics) == {"accuracy", "macro_f1", "accuracy_by_artist"}
    assert "20 artists" in card.metrics["macro_f1"].method


def test_without_known_artists_there_is_no_clustered_interval():
    assert set(make_card(corpus=FakeCorpus(artists=False)).metrics) == {"accuracy", "macro_f1"}


def test_card_says_what_it_ran_on_and_not_on_whose_machine():
    card = make_card()
    assert card.versions["torch"]
    assert card.versions["python"].startswith("3.")
    assert set(card.hardware) == {"processor", "cores", "memory_gb", "gpu", "system"}
    assert card.hardware["cores"] >= 1


@pytest.mark.parametrize("bad", [np.ones((30, 10)), np.full((29, 10), 0.1), np.full((30, 10), np.nan)])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(RunError, match="summing to 1"):
        runs.RunCard.from_probabilities("cnn", PROFILE, FakeCorpus(), SPLIT, 0, IDS, bad)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "version None"),
        ('{"schema_version": 99}', "version 99"),
        ('{"schema_version": 1}', "not a run record"),
    ],
)
def test_damaged_record_is_named_with_a_remedy(tmp_path, text, says):
    path = tmp_path / "cnn-seed0.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=says) as error:
        runs.RunCard.load(path)
    assert "cnn-seed0.json" in str(error.value)
    assert "again" in str(error.value)


def test_missing_record_says_so(tmp_path):
    with pytest.raises(RunError, match="no run record"):
        runs.RunCard.load(tmp_path / "full-seed0.json")


def test_record_with_a_clip_twice_or_an_unknown_genre_is_refused(tmp_path):
    content = json.loads(make_card().save(tmp_path).read_text(encoding="utf-8"))
    for change in ({"clip": IDS[1]}, {"predicted": "polka"}, {"probabilities": [1.0]}):
        damaged = json.loads(json.dumps(content))
        damaged["predictions"][0] |= change
        path = tmp_path / "damaged-seed0.json"
        path.write_text(json.dumps(damaged), encoding="utf-8")
        with pytest.raises(RunError, match="not a run record"):
            runs.RunCard.load(path)


def test_unwritable_folder_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunError, match="GENRE_UTILS_RUNS"):
        make_card().save(blocked)


def test_cards_of_this_run_come_in_the_books_order(run_folder):
    for approach in ("full", "svm", "cnn"):
        make_card(approach).save()
    make_card("cnn", variant="clip split").save()
    cards = runs.load_cards(PROFILE)
    assert list(cards) == ["svm", "cnn", "full"]
    assert len(cards.all) == 4
    assert "this run" in cards.source
    assert cards.frame()["approach"].tolist() == ["svm", "cnn", "full"]
    assert "head-only" not in cards
    with pytest.raises(RunError, match="no record of 'head-only'"):
        cards["head-only"]


def test_recorded_cards_fill_in_and_say_so(run_folder, tmp_path, monkeypatch):
    recorded = tmp_path / "recorded" / "mini"
    monkeypatch.setattr(runs, "recorded_dir", lambda profile: recorded.parent)
    make_card("cnn", rate=0.1).save(recorded)
    make_card("full").save(recorded)
    fresh = make_card("cnn", rate=1.0)
    fresh.save()
    cards = runs.load_cards("mini", seed=0)
    assert cards["cnn"] == fresh, "what ran here wins"
    assert runs.TITLES["full"] + ": recorded earlier" in cards.source
    assert runs.TITLES["cnn"] + ": from this run" in cards.source


def test_a_run_is_compared_with_its_recorded_twin(run_folder, tmp_path, monkeypatch):
    recorded = tmp_path / "recorded" / "mini"
    monkeypatch.setattr(runs, "recorded_dir", lambda profile: recorded.parent)
    for card in (make_card("cnn", rate=0.0), make_card("full"), make_card("svm", ids=IDS[::-1])):
        card.save(recorded)
    assert runs.load_cards("mini", seed=0).against_recorded().empty, "nothing ran here"
    for card in (make_card("cnn", rate=1.0), make_card("svm"), make_card("head-only"), make_card("full", ids=IDS[:15])):
        card.save()
    table = runs.load_cards("mini", seed=0).against_recorded()
    assert list(table.index) == [runs.TITLES["svm"], runs.TITLES["cnn"]], "what has no twin, or one of other clips, is left out"
    cnn = table.loc[runs.TITLES["cnn"]]
    assert cnn["clips judged otherwise"] == "30 of 30"
    assert cnn["p"] < 1e-6
    assert cnn["this run"].startswith("100.0 %")
    assert cnn["recorded"].startswith("0.0 %")


def test_seed_with_most_approaches_is_the_default(run_folder):
    make_card("cnn", seed=0).save()
    for approach in ("cnn", "full"):
        make_card(approach, seed=7).save()
    assert {card.seed for card in runs.load_cards(PROFILE).values()} == {7}
    assert list(runs.load_cards(PROFILE, seed=0)) == ["cnn"]


def test_no_cards_is_an_error_with_a_command(run_folder):
    with pytest.raises(RunError, match="python -m genre_utils run"):
        runs.load_cards(PROFILE)


def test_predictions_are_aligned_by_clip_not_by_position():
    a, b = make_card("cnn", rate=1.0), make_card("full", ids=IDS[::-1], rate=1.0)
    both = runs.aligned({"cnn": a, "full": b})
    assert both.ids == IDS
    assert both.right["cnn"].all()
    assert both.right["full"].all()
    assert np.array_equal(both.probabilities["full"].argmax(axis=1), both.y)
    assert len(set(both.groups)) == 20, "artists travel with the predictions"
    assert runs.aligned({"cnn": make_card(corpus=FakeCorpus(artists=False))}).groups is None


def test_different_test_sets_are_never_compared():
    with pytest.raises(RunError, match="30 of toy and 20 of toy, 20 in common"):
        runs.aligned({"cnn": make_card("cnn"), "full": make_card("full", ids=IDS[:20])})


def test_stopwatch_sees_time_and_memory():
    watch = runs.Stopwatch(interval_s=0.01)
    with watch.stage("small"):
        time.sleep(0.05)
    with pytest.raises(KeyError), watch.stage("large"):
        block = np.ones(12_000_000)  # 96 MB
        time.sleep(0.05)
        del block
        raise KeyError
    small, large = watch.stages
    assert small.seconds >= 0.05
    assert large.peak_memory_mb > small.peak_memory_mb + 80
    cost = watch.cost(trainable=5, total=9)
    assert cost.seconds == pytest.approx(small.seconds + large.seconds)
    assert cost.peak_memory_mb == large.peak_memory_mb
    assert make_card(cost=cost).cost == cost

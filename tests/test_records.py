"""Records survive the disk, refuse nonsense, and keep no figure that follows from the rest."""

import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from fake_cards import IDS, FakeCorpus, gtzan_card, leave, make_card, record

from genre_utils import evaluation, records
from genre_utils.errors import RunError
from genre_utils.identity import identity
from genre_utils.profiles import GENRES
from genre_utils.records import (
    RECORD,
    Bundle,
    RunCard,
    own_cards,
    read_cards,
    recorded_cards,
)
from genre_utils.records.base import Record, plain

ROOT = Path(__file__).parents[1]
CONTRIBUTED = sorted((ROOT / "book" / "results" / "contributed").glob("*.json"))


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_UTILS_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_card_survives_the_disk(tmp_path):
    card = make_card(settings={"C": np.float32(5), "path": tmp_path}, history=[{"epoch": 1, "loss": np.nan}])
    path = card.save(tmp_path / "new" / "folder" / RECORD)
    assert path == tmp_path / "new" / "folder" / RECORD
    assert RunCard.load(path) == card
    assert [p.name for p in path.parent.iterdir()] == [RECORD], "nothing half-written stays behind"
    assert card.history == [{"epoch": 1, "loss": None}], "JSON has no NaN"


def test_a_record_keeps_no_figure_that_follows_from_its_predictions(tmp_path):
    content = json.loads(make_card().save(tmp_path / RECORD).read_text(encoding="utf-8"))
    assert content["schema_version"] == 2
    assert set(content) == set(RunCard.model_fields)
    assert not {"accuracy", "accuracy_by_artist", "macro_f1", "per_genre", "metrics"} & set(content)


def test_metrics_follow_from_the_predictions():
    card = make_card()
    hits = sum(row.genre == row.predicted for row in card.predictions)
    assert card.accuracy == evaluation.wilson(hits, 30)
    assert card.accuracy.method == "Wilson 95 %"
    assert np.array_equal(card.probabilities.argmax(axis=1), card.predicted)
    assert card.per_genre["support"].tolist() == [3] * 10
    assert card.macro_f1.value == pytest.approx(card.per_genre["f1"].mean())
    assert card.accuracy_by_artist.value == card.accuracy.value
    for interval in (card.macro_f1, card.accuracy_by_artist):
        assert "20 artists" in interval.method


def test_without_known_artists_no_interval_draws_artists():
    card = make_card(corpus=FakeCorpus(artists=False))
    assert card.artists is None
    for interval in (card.macro_f1, card.accuracy_by_artist):
        assert "over clips" in interval.method and "artists" not in interval.method


def test_a_clip_of_unknown_artist_is_an_artist_of_its_own():
    card = make_card()
    card.predictions[0].artist = None
    assert card.artists[0] == IDS[0]
    assert len(set(card.artists)) == 21


def test_card_says_what_it_ran_on_and_not_on_whose_machine():
    card = make_card()
    assert card.versions["torch"]
    assert card.versions["python"].startswith("3.")
    assert set(card.hardware) == {"processor", "cores", "memory_gb", "gpu", "system"}
    assert card.hardware["cores"] >= 1


@pytest.mark.parametrize("bad", [np.ones((30, 10)), np.full((29, 10), 0.1), np.full((30, 10), np.nan)])
def test_what_is_no_probability_is_refused(bad):
    from types import SimpleNamespace

    split = SimpleNamespace(name="artist", counts={}, provenance="a test", test=IDS)
    with pytest.raises(RunError, match="summing to 1"):
        RunCard.from_probabilities("cnn", identity(), FakeCorpus(), split, bad)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "version None"),
        ('{"schema_version": 99}', "version 99"),
        ('{"schema_version": 1}', "version 1, this is version 2"),
        ('{"schema_version": 2}', "is no RunCard"),
    ],
)
def test_damaged_record_is_named_with_a_remedy(tmp_path, text, says):
    path = tmp_path / RECORD
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=says) as error:
        RunCard.load(path)
    assert str(path) in str(error.value)
    assert "again" in str(error.value)


def test_missing_record_says_so(tmp_path):
    with pytest.raises(RunError, match="there is no record .*record.json: run its chapter again"):
        RunCard.load(tmp_path / RECORD)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"clip": IDS[1]}, "a clip is predicted twice"),
        ({"predicted": "polka"}, "does not fit the genres"),
        ({"genre": "polka"}, "does not fit the genres"),
        ({"probabilities": [1.0]}, "does not fit the genres"),
        ({"probabilities": [0.73] + 9 * [0.3]}, "do not add up to 1"),
        ({"probabilities": 9 * [0.03] + [0.73]}, "another genre leads"),
        ({"probability": 1.0}, "probability"),
    ],
)
def test_a_record_whose_predictions_contradict_themselves_is_refused(tmp_path, change, says):
    content = json.loads(make_card(rate=1.0).save(tmp_path / RECORD).read_text(encoding="utf-8"))
    content["predictions"][0] |= change
    (tmp_path / RECORD).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=f"is no RunCard.*{says}"):
        RunCard.load(tmp_path / RECORD)


def test_unwritable_folder_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunError, match="GENRE_UTILS_RUNS"):
        make_card().save(blocked / RECORD)


def test_a_write_that_fails_leaves_the_former_record_and_nothing_else(tmp_path, monkeypatch):
    path = make_card(rate=1.0).save(tmp_path / RECORD)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="No space left"):
        make_card(rate=0.0).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [RECORD]


def test_what_json_does_not_know_becomes_plain():
    made = plain({1: (np.int64(2), np.array([1.5, np.inf])), "path": Path("a"), "none": None})
    assert made == {"1": [2, [1.5, None]], "path": "a", "none": None}
    assert json.loads(json.dumps(made)) == made


# --- which run it is --------------------------------------------------------------------------------------


def test_a_run_leaves_its_record_in_a_folder_of_its_own(run_folder):
    made = [leave("full", seed=seed, protocol=protocol) for seed in (0, 1) for protocol in ("", "rate")]
    assert (run_folder / "mini+protocol-rate+seed-1" / "full" / RECORD).is_file()
    assert len(own_cards()) == 4
    assert all(card in own_cards() for card in made)


@pytest.mark.parametrize(
    "other", [{"split": "random"}, {"backbone": "lab/net"}, {"protocol": "rate"}, {"genres": "blues,rock"}, {"profile": "gtzan-mini"}]
)
def test_a_record_is_of_the_run_that_left_it_with_any_seed_and_of_no_other(other):
    card = make_card("full", seed=3)
    assert card.is_of(identity()) and card.is_of(identity(seed=3))
    assert not card.is_of(identity(**other))
    assert make_card("full", **other).is_of(identity(**other))
    assert not make_card("full", **other).is_of(identity())


@pytest.mark.parametrize("approach", ["svm", "cnn"])
def test_what_has_no_backbone_is_the_same_under_every_backbone_and_protocol(approach):
    card = make_card(approach, backbone="lab/net", protocol="original")
    assert card.backbone is None and card.protocol == "corrected"
    assert card.is_of(identity()) and card.is_of(identity(backbone="lab/other", protocol="rate"))
    assert not card.is_of(identity(split="random"))


def test_the_title_says_which_protocol_it_was():
    assert make_card("cnn").title == records.TITLES["cnn"]
    assert make_card("full", protocol="rate").title == f"our small {records.TITLES['full']} (protocol rate)"
    assert make_card("full", backbone="facebook/wav2vec2-base").title == records.TITLES["full"]


# --- several records --------------------------------------------------------------------------------------


def test_recorded_cards_know_the_folder_or_file_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setattr("genre_utils.records.runs.recorded_dir", lambda: tmp_path)
    record(tmp_path / "mini", make_card("cnn"), make_card("full"))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "labels.json").write_text("{}")
    (tmp_path / "schema.json").write_text("{}")
    Bundle(cards=[make_card("full", seed=5)]).save(tmp_path / "contributed" / "mine.json")
    found = recorded_cards()
    assert {place: [card.approach for card in cards] for place, cards in found.items()} == {
        "book/results/mini": ["cnn", "full"],
        "book/results/contributed/mine.json": ["full"],
    }


def test_without_a_book_there_are_no_recorded_cards(monkeypatch):
    monkeypatch.setattr("genre_utils.records.runs.recorded_dir", lambda: None)
    assert recorded_cards() == {}


def test_the_recorded_runs_of_the_book_are_what_their_names_say():
    found = recorded_cards()["book/results/mini"]
    assert {(card.approach, card.seed) for card in found} == {(a, s) for a in records.TITLES for s in range(5)}
    for card in found:
        assert RunCard.load(ROOT / "book" / "results" / "mini" / f"{card.approach}-seed{card.seed}.json") == card
        assert card.is_of(identity())


# --- contributions ----------------------------------------------------------------------------------------


def test_a_bundle_obeys_the_published_schema(tmp_path):
    cards = [make_card(), make_card("full")]
    path = Bundle(cards=cards).save(tmp_path / "bundle.json")
    content, schema = json.loads(path.read_text(encoding="utf-8")), Bundle.model_json_schema()
    jsonschema.validate(content, schema)
    assert read_cards(path) == cards
    content["cards"][0]["predictions"][0].pop("genre")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


def test_a_single_record_can_be_read_like_a_bundle(tmp_path):
    card = make_card()
    assert read_cards(card.save(tmp_path / RECORD)) == [card]


def test_the_schema_for_contributions_is_the_current_one():
    stored = json.loads((ROOT / "book" / "results" / "schema.json").read_text(encoding="utf-8"))
    assert stored == Bundle.model_json_schema(), "write it again: python -m genre_utils export --schema book/results/schema.json"


@pytest.mark.parametrize("path", CONTRIBUTED or [None], ids=lambda path: path.name if path else "none yet")
def test_contributed_runs_obey_the_schema_and_their_own_predictions(path, tmp_path):
    if path is None:  # nothing was contributed yet: the check itself is tested on a bundle made here
        path = Bundle(cards=[gtzan_card(wrong=10)]).save(tmp_path / "run.json")
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), Bundle.model_json_schema())
    assert read_cards(path)


def _another_label(card: dict) -> None:
    row = card["predictions"][20]
    row["genre"] = "jazz" if row["clip"].startswith("blues") else "blues"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda card: card.update(accuracy=0.99), "is no RunCard: accuracy"),
        (lambda card: card.update(metrics={"accuracy": {"value": 0.99}}), "is no RunCard: metrics"),
        (lambda card: card["predictions"][0].update(predicted=GENRES[0]), "another genre leads than blues"),
        (lambda card: card["predictions"].pop(), "not the test clips of the split 'wav2vec'"),
        (_another_label, "labelled otherwise than GTZAN labels it"),
    ],
)
def test_a_doctored_run_is_refused(spoil, message, tmp_path):
    path = Bundle(cards=[gtzan_card(wrong=10)]).save(tmp_path / "run.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    spoil(content["cards"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=message):
        read_cards(path)


def test_a_doctored_run_is_not_even_exported(tmp_path):
    card = gtzan_card()
    card.predictions.pop()
    with pytest.raises(RunError, match="not the test clips"):
        Bundle(cards=[card]).save(tmp_path / "run.json")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_run_is_refused_by_name(tmp_path):
    (tmp_path / "x.json").write_text('{"cards": []}')
    with pytest.raises(RunError, match=r"x.json is a record of version None.*export the run again"):
        read_cards(tmp_path / "x.json")
    (tmp_path / "z.json").write_text("no JSON")
    with pytest.raises(RunError, match=r"z.json cannot be read.*export the run again"):
        read_cards(tmp_path / "z.json")
    with pytest.raises(RunError, match=r"no record .*y.json: export the run again"):
        read_cards(tmp_path / "y.json")


def test_every_record_says_of_its_making_the_same_things():
    assert {"schema_version", "versions", "hardware", "git_commit", "uncommitted", "created"} == set(Record.model_fields)
    assert issubclass(RunCard, Record) and issubclass(records.Experiment, Record)

"""Only what was scored on the same clips is compared, and every card stands where it belongs."""

import shlex

import numpy as np
import pytest
from fake_cards import IDS, FakeCorpus, gtzan_card, leave, make_card, record

from genre_utils import evaluation
from genre_utils.comparison import (
    Comparison,
    aligned,
    command,
    comparisons,
    of_run,
    recorded_comparisons,
)
from genre_utils.errors import RunError
from genre_utils.identity import identity
from genre_utils.provenance import Cost, Stage
from genre_utils.records import RECORD, TITLES, Bundle


@pytest.fixture(autouse=True)
def recorded(tmp_path, monkeypatch):
    """An empty folder of runs, and an empty ``book/results``."""
    monkeypatch.setenv("GENRE_UTILS_RUNS", str(tmp_path / "runs"))
    book = tmp_path / "book" / "results"
    book.mkdir(parents=True)
    monkeypatch.setattr("genre_utils.records.runs.recorded_dir", lambda: book)
    return book


def cards_of(found: Comparison) -> dict[str, list[int]]:
    """The seeds of each approach."""
    return {approach: [card.seed for card in cards] for approach, cards in found.runs.items()}


# --- predictions ------------------------------------------------------------------------------------------


def test_predictions_are_aligned_by_clip_not_by_position():
    a, b = make_card("cnn", rate=1.0), make_card("full", ids=IDS[::-1], rate=1.0)
    both = aligned({"cnn": a, "full": b})
    assert both.ids == IDS
    assert both.right["cnn"].all()
    assert both.right["full"].all()
    assert np.array_equal(both.probabilities["full"].argmax(axis=1), both.y)
    assert len(set(both.artists)) == 20, "artists travel with the predictions"
    assert aligned({"cnn": make_card(corpus=FakeCorpus(artists=False))}).artists is None


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"ids": IDS[:20]}, "30 of toy and 20 of toy, 20 in common"),
        ({"corpus": FakeCorpus(name="gtzan")}, "30 of toy and 30 of gtzan, 30 in common"),
    ],
)
def test_different_test_sets_are_never_compared(other, says):
    with pytest.raises(RunError, match=f"cnn and full were not scored on the same test clips.*{says}"):
        aligned({"cnn": make_card("cnn"), "full": make_card("full", **other)})


def test_fine_tuning_is_charged_for_the_head_that_it_starts_from_and_for_no_other():
    def seconds(head_start):
        stages = {name: Cost(stages=[Stage(name="fit", seconds=took, peak_memory_mb=1)]) for name, took in (("head-only", 100), ("full", 150))}
        cards = [make_card("head-only", cost=stages["head-only"]), make_card("full", cost=stages["full"], settings={"head start": head_start})]
        return comparisons(cards)[0].seconds("full")

    assert (seconds("trained"), seconds("cold")) == (250, 150)


def test_a_damaged_record_of_another_run_is_in_nobodys_way():
    leave("cnn", seed=3)
    leave("cnn", profile="gtzan-mini")
    (identity("gtzan-mini").folder("cnn") / RECORD).write_text("{}")
    assert cards_of(of_run(identity())) == {"cnn": [3]}
    with pytest.raises(RunError, match="gtzan-mini"):
        of_run(identity("gtzan-mini"))


def test_a_clip_with_two_labels_is_not_the_same_clip():
    card = make_card("full", rate=1.0)
    card.predictions[0].genre = "rock"
    with pytest.raises(RunError, match="not scored on the same"):
        aligned({"cnn": make_card("cnn"), "full": card})


def test_nothing_cannot_be_compared():
    with pytest.raises(RunError, match="nothing to compare: run chapters 2, 4 and 5"):
        aligned({})


# --- groups -----------------------------------------------------------------------------------------------


def test_approaches_come_in_the_books_order_and_cards_by_seed():
    (found,) = comparisons([make_card("full", seed=1), make_card("cnn"), make_card("full"), make_card("svm"), *map(make_card, ("head-only", "musicnn"))])
    assert cards_of(found) == {"svm": [0], "cnn": [0], "musicnn": [0], "head-only": [0], "full": [0, 1]}
    assert list(found.runs) == list(TITLES)
    assert found.seeds == [0, 1] and found.n == 30 and found.corpus == "toy"
    assert {approach: card.seed for approach, card in found.of_seed(1).items()} == {"full": 1}


def test_cards_of_different_splits_or_backbones_never_stand_together():
    cards = [
        gtzan_card("cnn"),
        gtzan_card("full", backbone="lab/base", fingerprint="a"),
        gtzan_card("full", backbone="lab/small", fingerprint="b"),
        make_card("cnn"),
        make_card("cnn", split="random"),
        make_card("cnn", ids=IDS[:15]),
    ]
    found = comparisons(cards)
    assert sorted(one.split for one in found) == ["artist", "artist", "random", "wav2vec, lab/base", "wav2vec, lab/small"]
    assert all(set(one.runs) == {"cnn", "full"} for one in found if "wav2vec" in one.split)
    assert sorted(one.n for one in found) == [15, 30, 30, 100, 100]


def test_what_has_no_backbone_stands_beside_every_backbone():
    baselines = [make_card("svm"), make_card("cnn"), make_card("cnn", seed=1)]
    (alone,) = comparisons(baselines)
    assert cards_of(alone) == {"svm": [0], "cnn": [0, 1]}
    networks = [make_card("full", backbone=f"lab/{name}", fingerprint=name) for name in "abc"]
    found = comparisons([*networks, *baselines])
    assert [cards_of(one) for one in found] == 3 * [{"svm": [0], "cnn": [0, 1], "full": [0]}]
    assert [one.split for one in found] == [f"artist, lab/{name}" for name in "abc"]


def test_a_protocol_of_the_studys_own_is_not_taken_for_the_books():
    found = comparisons([make_card("full"), make_card("full", protocol="original"), make_card("head-only", protocol="original")])
    assert [cards_of(one) for one in found] == [{"head-only": [0], "full": [0]}, {"full": [0]}]
    assert [one.split for one in found] == ["artist, shipped, protocol original", "artist, shipped"]


def test_only_all_of_gtzan_is_held_against_the_study():
    assert comparisons([gtzan_card()])[0].complete
    assert not comparisons([make_card()])[0].complete


def test_seeds_are_paired_and_counted():
    cards = [make_card(a, seed=s, rate=r) for a, r in (("full", 0.95), ("head-only", 0.4)) for s in range(3)]
    (found,) = comparisons([*cards, make_card("full", seed=9)])
    assert found.seeds == [0, 1, 2, 9]
    gap = found.lead("full", "head-only")
    hits = {a: np.mean([c.predicted == c.y for c in cards if c.approach == a]) for a in ("full", "head-only")}
    assert gap.value == pytest.approx(hits["full"] - hits["head-only"]) and "3 seeds" in gap.method
    assert found.accuracy("head-only").value == pytest.approx(hits["head-only"])
    assert "3 seeds" in found.accuracy("head-only").method


def test_one_seed_has_the_interval_of_its_artists():
    (found,) = comparisons([make_card("full", rate=1.0), make_card("cnn", rate=0.5)])
    assert found.accuracy("cnn") == found.runs["cnn"][0].accuracy_by_artist
    assert "20 artists" in found.lead("full", "cnn").method
    assert found.has("full", "cnn") and not found.has("full", "svm")


def test_seeds_in_common_are_what_makes_two_approaches_comparable():
    (found,) = comparisons([make_card("full", seed=1), make_card("cnn", seed=2)])
    assert found.has("full") and not found.has("full", "cnn")


def test_f1_of_a_genre_is_that_of_its_counts():
    (found,) = comparisons([make_card("full", rate=0.6)])
    card = found.runs["full"][0]
    expected = card.per_genre.set_index("genre")["f1"]
    for genre in ("blues", "rock"):
        assert found.f1("full", genre).value == pytest.approx(expected[genre])
    assert found.macro_f1("full").value == pytest.approx(expected.mean())


# --- what comes with the book -----------------------------------------------------------------------------


def test_contributed_records_of_one_run_in_two_files_both_survive(recorded):
    """They once shared a key, and the file read last replaced the other."""
    record(recorded / "gtzan", gtzan_card("full", wrong=10))
    for name, wrong in (("ann", 20), ("bob", 30)):
        Bundle(cards=[gtzan_card("full", wrong=wrong)]).save(recorded / "contributed" / f"{name}.json")
    found = {one.files(["full"]): one.accuracy("full").value for one in recorded_comparisons()}
    assert found == {
        "book/results/gtzan/full-seed0.json": 0.9,
        "book/results/contributed/ann.json": 0.8,
        "book/results/contributed/bob.json": 0.7,
    }


def test_records_are_named_by_approach_with_the_first_seed_of_each(recorded):
    record(recorded / "mini", make_card("cnn", seed=2), make_card("cnn", seed=1), make_card("full", seed=2))
    (found,) = recorded_comparisons()
    assert found.files(("full", "cnn")) == "book/results/mini/full-seed2.json, book/results/mini/cnn-seed1.json"
    for place in found.files(("full", "cnn")).split(", "):
        assert (recorded.parents[1] / place).is_file()


# --- the cards of a run -----------------------------------------------------------------------------------


def test_recorded_cards_fill_in_and_the_sentence_says_so(recorded):
    record(recorded / "mini", make_card("cnn", rate=0.1), make_card("full"), make_card("full", seed=1))
    fresh = leave("cnn", rate=1.0)
    found = of_run(identity())
    assert found.runs["cnn"] == [fresh], "what ran here wins"
    assert cards_of(found) == {"cnn": [0], "full": [0, 1]}
    day, full = fresh.created[:10], make_card("full").title
    assert found.source(0) == f"{TITLES['cnn']}: from this run ({day}); {full}: recorded earlier, with the book ({day})"
    assert found.source(1) == f"{full}: recorded earlier, with the book ({day})"
    assert found.source(7) == ""


def test_all_seeds_of_a_run_are_there_and_no_other_run(recorded):
    for seed in (0, 1, 4):
        leave("head-only", seed)
    leave("head-only", 2, protocol="rate")
    leave("head-only", 3, split="random")
    leave("full", 0, backbone="lab/net", fingerprint="c" * 64)
    assert cards_of(of_run(identity())) == {"head-only": [0, 1, 4]}
    assert cards_of(of_run(identity(protocol="rate"))) == {"head-only": [2]}
    assert cards_of(of_run(identity(split="random"))) == {"head-only": [3]}
    assert cards_of(of_run(identity(seed=1, backbone="lab/net"))) == {"full": [0]}


def test_what_needs_no_backbone_stands_beside_a_backbone_of_ones_own(recorded):
    record(recorded / "mini", *(make_card(approach) for approach in TITLES))
    leave("full", backbone="lab/net", protocol="rate", fingerprint="c" * 64)
    found = of_run(identity(backbone="lab/net", protocol="rate"))
    assert cards_of(found) == {"svm": [0], "cnn": [0], "musicnn": [0], "full": [0]}
    assert found.runs["full"][0].backbone["name"] == "lab/net"
    assert f"{TITLES['full']} (protocol rate): from this run" in found.source(0)


def test_two_networks_under_one_name_are_refused(recorded):
    """A branch of the Hub moves on, a shipped backbone is trained again: same name, other weights."""
    leave("head-only", fingerprint="a" * 64)
    assert cards_of(of_run(identity())) == {"head-only": [0]}
    leave("full", fingerprint="b" * 64)
    with pytest.raises(RunError, match="cannot be compared with each other.*weights of their backbone") as error:
        of_run(identity())
    assert command(identity()) in str(error.value)


def test_a_recorded_card_of_another_network_is_refused_too(recorded):
    record(recorded / "mini", make_card("full", fingerprint="a" * 64))
    leave("head-only", fingerprint="b" * 64)
    with pytest.raises(RunError, match="head-only: 30 clips.*full: 30 clips"):
        of_run(identity())


def test_no_cards_is_an_error_with_a_command():
    with pytest.raises(RunError, match="python -m genre_utils run --profile mini --chapters 2,4,5"):
        of_run(identity())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"profile": "gtzan", "seed": 3, "split": "cnn"},
        {"protocol": "rate,batch", "genres": "blues,rock"},
        {"backbone": "lab/net@0123abc"},
        {"backbone": "a folder"},
    ],
)
def test_the_command_that_an_error_names_makes_the_run(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    run = identity(**options)
    python, dash, package, verb, *words = shlex.split(command(run))
    assert (python, dash, package, verb, words[-2:]) == ("python", "-m", "genre_utils", "run", ["--chapters", "2,4,5"])
    named = dict(zip(words[:-2:2], words[1:-2:2], strict=True))
    assert identity(**{name.removeprefix("--"): value for name, value in named.items()}) == run


def test_a_run_is_compared_with_its_recorded_twin(recorded):
    record(recorded / "mini", make_card("cnn", rate=0.0), make_card("full", ids=IDS[:15]), make_card("svm", ids=IDS[::-1], rate=1.0))
    for approach, more in (("cnn", {"rate": 1.0}), ("svm", {"rate": 1.0}), ("head-only", {}), ("full", {})):
        leave(approach, **more)
    leave("cnn", 1, rate=1.0)
    leave("full", protocol="rate")
    ours = of_run(identity())
    table = ours.against_recorded(0)
    assert list(table.index) == [TITLES["svm"], TITLES["cnn"]], "what has no twin, or one of other clips, is left out"
    cnn = table.loc[TITLES["cnn"]]
    assert cnn["clips judged otherwise"] == "30 of 30"
    assert cnn["p"] < 1e-6
    assert cnn["this run"].startswith("100.0 %")
    assert cnn["recorded"].startswith("0.0 %")
    assert table.loc[TITLES["svm"], "clips judged otherwise"] == "0 of 30" and table.loc[TITLES["svm"], "p"] == 1
    assert ours.against_recorded(1).empty
    assert TITLES["full"] + " (protocol rate)" not in of_run(identity(protocol="rate")).against_recorded(0).index


def test_what_nobody_ran_here_has_no_twin(recorded):
    record(recorded / "mini", make_card("cnn"), make_card("full"))
    assert of_run(identity()).against_recorded(0).empty


def test_equal_predictions_of_two_seeds_add_no_luck():
    cards = [make_card("full", hits=np.arange(30) < 20, seed=seed) for seed in range(3)]
    (found,) = comparisons(cards)
    one = evaluation.bootstrap(np.stack([card.y == card.predicted for card in cards]), groups=cards[0].artists)
    assert found.accuracy("full") == one

"""The ledger: verdicts follow from records, and nothing is judged that was not run."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from fake_cards import FakeCorpus, make_card

from genre_utils import ledger, replication, runs
from genre_utils.errors import RunError
from genre_utils.profiles import GENRES

ROOT = Path(__file__).parents[1]
CONTRIBUTED = sorted((ROOT / "book" / "results" / "contributed").glob("*.json"))


@pytest.fixture(scope="module")
def table():
    """Of the records that come with the book."""
    return ledger.ledger()


def gtzan_card(approach="full", seed=0, wrong=0, **more) -> runs.RunCard:
    """A run on the study's wav2vec test clips with the first `wrong` of them wrong."""
    corpus = FakeCorpus()
    corpus.name = "gtzan"
    ids = replication.predictions("full")[0]
    y = corpus.labels(ids)
    p = np.where(np.arange(len(ids)) < wrong, (y + 1) % 10, y)
    split = type("S", (), {"name": "wav2vec", "counts": {"train": 798, "val": 97, "test": 100}, "provenance": "a test"})
    from fake_cards import PROFILE

    return runs.RunCard.from_probabilities(approach, PROFILE, corpus, split, seed, ids, np.eye(10)[p], **more)


def rows(table, claim, about=None):
    found = table[table["claim"].str.contains(claim, regex=False)]
    return found if about is None else found[found["about"] == about]


def test_every_claim_of_the_study_has_a_row_and_a_known_verdict(table):
    assert set(table["verdict"]) <= set(ledger.VERDICTS)
    for claim in ("accuracy", "macro F1", "disco", "rock", "hiphop", "metal", "classical", "jazz", "spectrograms",
                  "ambiguous genres", "quick compromise", "reach their limits"):  # fmt: skip
        assert len(rows(table, claim)), claim
    assert not table.isna().any().any()
    assert len(rows(table, "accuracy")) == 3 == len(rows(table, "macro F1"))


def test_the_study_is_judged_on_what_it_stored():
    table = ledger.ledger([])
    own = rows(table, "Full fine-tuning beats head-only", ledger.OWN_DATA).iloc[0]
    assert own["verdict"] == ledger.HOLDS and own["ours"] == "+12.0 points [+4.0, +20.0]"
    both = rows(table, "clearly beats", ledger.OWN_DATA).iloc[0]
    assert both["verdict"] == ledger.IN_PART and "full over CNN" in both["why"]
    assert rows(table, "ambiguous", ledger.OWN_DATA).iloc[0]["verdict"] == ledger.NOT_SUPPORTED
    assert ledger.unclear_genres() == ["disco", "rock"]


def test_what_takes_all_of_gtzan_waits_for_a_run_and_then_fills_itself():
    waiting = rows(ledger.ledger([]), "fine-tuned: accuracy")
    assert waiting["verdict"].tolist() == [ledger.NOT_RUN]
    for wrong, verdict in ((13, ledger.HOLDS), (25, ledger.IN_PART), (60, ledger.NOT_SUPPORTED)):
        found = rows(ledger.ledger(ledger.benches([gtzan_card(wrong=wrong)])), "fine-tuned: accuracy")
        assert found["verdict"].tolist() == [verdict], wrong
        assert "gtzan, split wav2vec" in found["evidence"].iloc[0]


def test_figures_of_another_corpus_are_not_held_against_those_of_gtzan():
    table = ledger.ledger(ledger.benches([make_card("full", rate=1.0), make_card("head-only", rate=0.3)]))
    assert rows(table, "fine-tuned: accuracy")["verdict"].tolist() == [ledger.NOT_RUN]
    lead = rows(table, "Full fine-tuning beats head-only", "toy").iloc[0]
    assert lead["verdict"] == ledger.HOLDS and "30 test clips, 1 seed" in lead["evidence"]
    back = ledger.ledger(ledger.benches([make_card("full", rate=0.1), make_card("head-only", rate=1.0)]))
    lead = rows(back, "Full fine-tuning beats head-only", "toy").iloc[0]
    assert lead["verdict"] == ledger.NOT_SUPPORTED and "the reverse" in lead["why"]


def test_seeds_are_paired_and_counted():
    cards = [make_card(a, seed=s, rate=r) for a, r in (("full", 0.95), ("head-only", 0.4)) for s in range(3)]
    (bench,) = ledger.benches([*cards, make_card("full", seed=9)])
    assert bench.seeds == [0, 1, 2, 9]
    gap = bench.lead("full", "head-only")
    hits = {a: np.mean([c.predicted == c.y for c in cards if c.approach == a]) for a in ("full", "head-only")}
    assert gap.value == pytest.approx(hits["full"] - hits["head-only"]) and "3 seeds" in gap.method


def test_cards_of_different_splits_or_backbones_never_share_a_bench():
    cards = [
        gtzan_card("cnn"),
        gtzan_card("full", backbone={"name": "base", "fingerprint": "a"}),
        gtzan_card("full", backbone={"name": "small", "fingerprint": "b"}),
        make_card("cnn"),
    ]
    found = ledger.benches(cards)
    assert sorted(bench.split for bench in found) == ["artist", "wav2vec, base", "wav2vec, small"]
    assert all(set(bench.runs) == {"cnn", "full"} for bench in found if "wav2vec" in bench.split)


def test_a_protocol_of_the_studys_own_is_not_taken_for_the_books():
    assert ledger.benches([make_card("full", variant="protocol original")]) == []


def test_the_page_is_that_of_the_records(table):
    from genre_utils.publish.results import between_marks, linked

    text = (ROOT / "book" / "ledger.md").read_text(encoding="utf-8")
    assert between_marks(text) == ledger.page(table, linked), (
        "run: python -m genre_utils ledger --write book/ledger.md"
    )


def test_the_overview_has_one_row_a_claim_and_hides_no_verdict(table):
    wide = ledger.overview(table)
    assert len(wide) == table["claim"].nunique()
    for row in table.itertuples():
        if row.verdict != ledger.NOT_RUN:
            assert row.verdict in wide.loc[row.claim, row.about]


# --- contributions ---------------------------------------------------------------------------------------


def test_the_schema_for_contributions_is_the_current_one():
    stored = json.loads((ROOT / "book" / "results" / "schema.json").read_text(encoding="utf-8"))
    assert stored == runs.json_schema(), "write it again: python -m genre_utils export --schema book/results/schema.json"


@pytest.mark.parametrize("path", CONTRIBUTED or [None], ids=lambda path: path.name if path else "none yet")
def test_contributed_runs_obey_the_schema_and_their_own_predictions(path, tmp_path):
    if path is None:  # nothing was contributed yet: the check itself is tested on a bundle made here
        path = runs.write_record(tmp_path / "run.json", runs.Bundle(cards=[gtzan_card(wrong=10)]))
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), runs.json_schema())
    assert runs.read_cards(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda card: card["metrics"]["accuracy"].update(value=0.99), "accuracy is 0.9900, its predictions give 0.9000"),
        (lambda card: card["metrics"]["macro_f1"].update(value=0.99), "macro F1 does not follow"),
        (lambda card: card["predictions"][0].update(predicted=GENRES[0]), "highest probability"),
        (lambda card: card["predictions"].pop(), "accuracy is|not the test clips"),
        (lambda card: card["predictions"][20].update(genre=card["predictions"][20]["predicted"] and "blues"
                                                     if not card["predictions"][20]["clip"].startswith("blues") else "jazz"),
         "accuracy is|labelled otherwise"),
    ],
)  # fmt: skip
def test_a_doctored_run_is_refused(spoil, message, tmp_path):
    path = runs.write_record(tmp_path / "run.json", runs.Bundle(cards=[gtzan_card(wrong=10)]))
    content = json.loads(path.read_text(encoding="utf-8"))
    spoil(content["cards"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=message):
        runs.read_cards(path)


def test_a_file_that_is_no_run_is_refused_by_name(tmp_path):
    (tmp_path / "x.json").write_text('{"cards": []}')
    with pytest.raises(RunError, match=r"x.json cannot be read.*export the run again"):
        runs.read_cards(tmp_path / "x.json")
    with pytest.raises(RunError, match=r"no file .*y.json"):
        runs.read_cards(tmp_path / "y.json")

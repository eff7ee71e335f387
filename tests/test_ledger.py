"""The ledger: verdicts follow from records, and nothing is judged that was not run."""

from pathlib import Path

import pytest
from fake_cards import gtzan_card, make_card

from genre_utils.comparison import comparisons
from genre_utils.study import ledger
from genre_utils.study.claims import (
    DOES_NOT,
    HOLDS,
    ILLUSTRATES,
    IN_PART,
    NOT_COMPARABLE,
    NOT_RUN,
    NOT_SUPPORTED,
    VERDICTS,
    unclear_genres,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def table():
    """Of the records that come with the book."""
    return ledger.ledger()


def rows(table, claim, about=None):
    found = table[table["claim"].str.contains(claim, regex=False)]
    return found if about is None else found[found["about"] == about]


def test_every_claim_of_the_study_has_a_row_and_a_known_verdict(table):
    assert set(table["verdict"]) <= set(VERDICTS)
    for claim in ("accuracy", "macro F1", "disco", "rock", "hiphop", "metal", "classical", "jazz", "spectrograms",
                  "ambiguous genres", "quick compromise", "reach their limits"):  # fmt: skip
        assert len(rows(table, claim)), claim
    assert not table.isna().any().any()
    assert rows(table, "accuracy")["claim"].nunique() == 3 == rows(table, "macro F1")["claim"].nunique()


def test_the_study_is_judged_on_what_it_stored():
    table = ledger.ledger([])
    own = rows(table, "Full fine-tuning beats head-only", ledger.OWN_DATA).iloc[0]
    assert own["verdict"] == HOLDS and own["ours"] == "+12.0 points [+4.0, +20.0]"
    both = rows(table, "clearly beats", ledger.OWN_DATA).iloc[0]
    assert both["verdict"] == NOT_COMPARABLE and "other clips" in both["why"]
    assert rows(table, "ambiguous", ledger.OWN_DATA).iloc[0]["verdict"] == NOT_SUPPORTED
    assert unclear_genres() == ["disco", "rock"]


def test_what_takes_all_of_gtzan_waits_for_a_run_and_then_fills_itself():
    waiting = rows(ledger.ledger([]), "fine-tuned: accuracy")
    assert waiting["verdict"].tolist() == [NOT_COMPARABLE, NOT_RUN], "four genres by sound are no replication"
    for wrong, verdict in ((13, HOLDS), (25, IN_PART), (60, NOT_SUPPORTED)):
        found = rows(ledger.ledger(comparisons([gtzan_card(wrong=wrong)])), "fine-tuned: accuracy")
        assert found["verdict"].tolist() == [NOT_COMPARABLE, verdict], wrong
        assert "gtzan, split wav2vec" in found["evidence"].iloc[1]


def test_figures_of_another_corpus_are_not_held_against_those_of_gtzan():
    table = ledger.ledger(comparisons([make_card("full", rate=1.0), make_card("head-only", rate=0.3)]))
    assert rows(table, "fine-tuned: accuracy")["verdict"].tolist() == [NOT_COMPARABLE, NOT_RUN]
    lead = rows(table, "Full fine-tuning beats head-only", "toy").iloc[0]
    assert lead["verdict"] == ILLUSTRATES and "30 test clips, 1 seed" in lead["evidence"]
    back = ledger.ledger(comparisons([make_card("full", rate=0.1), make_card("head-only", rate=1.0)]))
    lead = rows(back, "Full fine-tuning beats head-only", "toy").iloc[0]
    assert lead["verdict"] == DOES_NOT and "the reverse" in lead["why"]


def test_a_row_counts_the_seeds_of_what_it_compares():
    cards = [make_card("full"), make_card("head-only"), *(make_card("svm", seed) for seed in range(5))]
    lead = rows(ledger.ledger(comparisons(cards)), "Full fine-tuning beats head-only", "toy").iloc[0]
    assert lead["evidence"].endswith(", 1 seed")


def test_claims_hear_what_was_measured_on_real_sound(table):
    heard = table[table["record"].str.endswith("transfer.json")]
    assert heard["claim"].nunique() >= 6 and (heard["about"] == ledger.RUN_HERE).all()
    assert heard["evidence"].str.contains("four genres, by sound").all()
    leads = heard[heard["verdict"] != NOT_COMPARABLE]
    assert len(leads) == 3 and leads["why"].str.endswith("with the book's small backbone").all()


def test_the_page_is_that_of_the_records(table):
    from genre_utils.publish.results import between_marks, ledger_markdown, linked

    text = (ROOT / "book" / "ledger.md").read_text(encoding="utf-8")
    assert between_marks(text) == ledger_markdown(table, linked), (
        "run: python -m genre_utils ledger --write book/ledger.md"
    )


def test_the_overview_has_one_row_a_judged_claim_and_hides_no_verdict(table):
    wide, judged = ledger.overview(table), table[table["verdict"] != NOT_RUN]
    assert list(wide.index) == list(judged["claim"].unique())
    for row in judged.itertuples():
        assert row.verdict in wide.loc[row.claim, row.about]
    assert f"{table.loc[table['verdict'] == NOT_RUN, 'claim'].nunique()} of {table['claim'].nunique()} claims wait" in ledger.summary(table)


def test_a_claim_is_judged_by_the_weightiest_evidence_that_says_anything(table):
    told = {claim: ledger.verdict(some) for claim, some in table.groupby("claim")}
    (beats,) = (sentence for claim, sentence in told.items() if "clearly beats" in claim)
    assert beats.startswith("**Not supported**, by GTZAN: all clips, heard by a spectrogram network")
    assert "the reverse" in beats and "But synthetic" in beats, "different clips are no evidence, composed music comes last"
    assert told["Full fine-tuning beats head-only"].startswith("**Holds**, by GTZAN: the study's own data")
    assert told["wav2vec 2.0, fine-tuned: accuracy"] == "**Nobody has tested it again.**"
    (limits,) = (some for claim, some in table.groupby("claim") if "reach their limits" in claim)
    measured = limits[limits["about"] == ledger.RUN_HERE].iloc[0]
    assert measured["verdict"] == NOT_SUPPORTED and "corrected for two tests" in measured["why"]

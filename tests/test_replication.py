"""The study's figures follow from the files it stored, to the fourth decimal."""

import numpy as np
import pytest
from fake_cards import make_card
from sklearn.metrics import classification_report

from genre_utils import evaluation, replication, runs
from genre_utils.errors import RunError
from genre_utils.profiles import GENRES


@pytest.mark.parametrize("approach", replication.WITH_PREDICTIONS)
def test_stored_predictions_reproduce_the_printed_report(approach):
    record = replication.reported(approach)
    _, y, p = replication.predictions(approach)
    report = classification_report(y, p, target_names=GENRES, output_dict=True, zero_division=0)
    assert report["accuracy"] == record["accuracy"]
    for name, key in (("precision", "macro_precision"), ("recall", "macro_recall"), ("f1-score", "macro_f1")):
        assert round(report["macro avg"][name], 4) == record[key]
    assert round(report["weighted avg"]["f1-score"], 4) == record["weighted_f1"]
    for genre, printed in record["per_class"].items():
        ours = {"precision": report[genre]["precision"], "recall": report[genre]["recall"], "f1": report[genre]["f1-score"]}
        assert {k: round(v, 4) for k, v in ours.items()} == {k: printed[k] for k in ours}
        assert report[genre]["support"] == printed["support"]


@pytest.mark.parametrize("approach", replication.WITH_PREDICTIONS)
def test_stored_confusion_matrix_is_that_of_the_predictions(approach):
    _, y, p = replication.predictions(approach)
    stored = np.array(replication.reported(approach)["confusion_matrix_rows_true"])
    assert np.array_equal(evaluation.confusion(y, p), stored)
    table = replication.per_genre(approach)
    f1 = evaluation.f1_of_confusion(stored)
    assert np.allclose(table["f1"], f1)
    assert round(float(table["f1"].mean()), 4) == replication.reported(approach)["macro_f1"]


def test_cnn_totals_reproduce_its_printed_report():
    record = replication.reported("cnn")
    table = replication.per_genre("cnn").set_index("genre")
    for genre, printed in record["per_class_reported_2d"].items():
        for key in ("precision", "recall", "f1"):
            assert table.loc[genre, key] == pytest.approx(printed[key], abs=0.00501), (genre, key)
    assert round(table["f1"].mean(), 4) == record["macro_f1"]
    totals = record["per_class_derived"].values()
    assert sum(t["true_positives"] for t in totals) == record["correct"] == 110
    assert sum(t["predicted_as"] for t in totals) == record["n_test"] == 150


def test_head_against_full_is_16_to_4_with_p_0118():
    test = replication.paired_test()
    assert (test["b"], test["c"]) == (16, 4)
    assert round(test["p"], 4) == 0.0118
    stored = replication.study()["comparisons"]["paired_same_100_files"]
    assert (stored["full_right_head_wrong"], stored["full_wrong_head_right"]) == (16, 4)


@pytest.mark.parametrize("approach", ["cnn", "head-only", "full"])
def test_intervals_of_the_study_are_recomputed_not_copied(approach):
    score = replication.accuracy(approach)
    assert [round(score.low, 4), round(score.high, 4)] == replication.reported(approach)["accuracy_wilson95"]


def test_reported_table_says_that_the_test_sets_differ():
    table = replication.reported_table().set_index("approach")
    assert table["n"].to_dict() == {"cnn": 150, "head-only": 100, "full": 100}
    assert table.loc["cnn", "test set"] != table.loc["full", "test set"]
    assert (table["low"] < table["accuracy"]).all()


def test_the_data_name_their_source():
    source = replication.study()["source"]
    assert source["repo"] == "NADJIBATA/audio-genre-classification-gtzan-wav2vec"
    assert all(len(commit) == 40 for commit in source["commits"].values())


def test_what_the_study_did_not_store_is_not_invented():
    with pytest.raises(RunError, match="only its totals"):
        replication.predictions("cnn")
    with pytest.raises(RunError, match="no 'svm'"):
        replication.reported("svm")


def test_comparison_names_both_corpora():
    cards = {"cnn": make_card("cnn"), "svm": make_card("svm")}
    table = replication.comparison_with(cards).set_index("approach")
    assert list(table.columns) == ["study (GTZAN)", "study n", "ours (toy)", "ours n"]
    assert table.loc[runs.TITLES["svm"], "study (GTZAN)"] == "–"
    assert table.loc[runs.TITLES["full"], "ours (toy)"] == "–"
    assert table.loc[runs.TITLES["cnn"], "study (GTZAN)"] == "73.3 % [65.7, 79.8]"
    assert table.loc[runs.TITLES["cnn"], "ours (toy)"] == str(cards["cnn"].interval())


def test_only_the_paired_and_the_widest_reported_difference_exclude_zero():
    """As the study's own tests say: McNemar p = .012, Fisher p = .011 and .88."""
    assert replication.reported_difference("full", "head-only").low > 0
    assert replication.reported_difference("full", "cnn").low > 0
    head = replication.reported_difference("head-only", "cnn")
    assert head.low < 0 < head.high

"""The study's figures follow from the files it stored, to the fourth decimal."""

import numpy as np
import pytest
from sklearn.metrics import classification_report

from genre_utils import evaluation
from genre_utils.errors import RunError
from genre_utils.profiles import GENRES
from genre_utils.records import CorpusInfo, Experiment, Trial
from genre_utils.study import reported


@pytest.mark.parametrize("approach", reported.WITH_PREDICTIONS)
def test_stored_predictions_reproduce_the_printed_report(approach):
    record = reported.reported(approach)
    _, y, p = reported.predictions(approach)
    report = classification_report(y, p, target_names=GENRES, output_dict=True, zero_division=0)
    assert report["accuracy"] == record["accuracy"]
    for name, key in (("precision", "macro_precision"), ("recall", "macro_recall"), ("f1-score", "macro_f1")):
        assert round(report["macro avg"][name], 4) == record[key]
    assert round(report["weighted avg"]["f1-score"], 4) == record["weighted_f1"]
    for genre, printed in record["per_class"].items():
        ours = {"precision": report[genre]["precision"], "recall": report[genre]["recall"], "f1": report[genre]["f1-score"]}
        assert {k: round(v, 4) for k, v in ours.items()} == {k: printed[k] for k in ours}
        assert report[genre]["support"] == printed["support"]


@pytest.mark.parametrize("approach", reported.WITH_PREDICTIONS)
def test_stored_confusion_matrix_is_that_of_the_predictions(approach):
    _, y, p = reported.predictions(approach)
    stored = np.array(reported.reported(approach)["confusion_matrix_rows_true"])
    assert np.array_equal(evaluation.confusion(y, p), stored)
    table = reported.per_genre(approach)
    f1 = evaluation.f1_of_confusion(stored)
    assert np.allclose(table["f1"], f1)
    assert round(float(table["f1"].mean()), 4) == reported.reported(approach)["macro_f1"]


def test_cnn_totals_reproduce_its_printed_report():
    record = reported.reported("cnn")
    table = reported.per_genre("cnn").set_index("genre")
    for genre, printed in record["per_class_reported_2d"].items():
        for key in ("precision", "recall", "f1"):
            assert table.loc[genre, key] == pytest.approx(printed[key], abs=0.00501), (genre, key)
    assert round(table["f1"].mean(), 4) == record["macro_f1"]
    totals = record["per_class_derived"].values()
    assert sum(t["true_positives"] for t in totals) == record["correct"] == 110
    assert sum(t["predicted_as"] for t in totals) == record["n_test"] == 150


def test_head_against_full_is_16_to_4_with_p_0118():
    test = reported.paired_test()
    assert (test["b"], test["c"]) == (16, 4)
    assert round(test["p"], 4) == 0.0118
    stored = reported.study()["comparisons"]["paired_same_100_files"]
    assert (stored["full_right_head_wrong"], stored["full_wrong_head_right"]) == (16, 4)


@pytest.mark.parametrize("approach", ["cnn", "head-only", "full"])
def test_intervals_of_the_study_are_recomputed_not_copied(approach):
    score = reported.accuracy(approach)
    assert [round(score.low, 4), round(score.high, 4)] == reported.reported(approach)["accuracy_wilson95"]


def test_the_data_name_their_source():
    source = reported.study()["source"]
    assert source["repo"] == "NADJIBATA/audio-genre-classification-gtzan-wav2vec"
    assert all(len(commit) == 40 for commit in source["commits"].values())


def test_what_the_study_did_not_store_is_not_invented():
    with pytest.raises(RunError, match="only its totals"):
        reported.predictions("cnn")
    with pytest.raises(RunError, match="no 'svm'"):
        reported.reported("svm")


def test_only_the_paired_and_the_widest_reported_difference_exclude_zero():
    """As the study's own tests say: McNemar p = .012, Fisher p = .011 and .88."""
    assert reported.reported_difference("full", "head-only").low > 0
    assert reported.reported_difference("full", "cnn").low > 0
    head = reported.reported_difference("head-only", "cnn")
    assert head.low < 0 < head.high


def classical(marks: dict[str, str]) -> Experiment:
    """What a classifier got right ("1") of the study's wav2vec test clips, in another order than the study's; one clip more."""
    ids = [*sorted(marks), "pop.99999"]
    return Experiment(
        question="classical",
        profile="gtzan",
        corpus=CorpusInfo(name="gtzan (features)", fingerprint="", clips=len(ids)),
        provenance={"study: wav2vec": "the study's"},
        clips=ids,
        artists=ids,
        created="2026-01-01T00:00:00+00:00",
        trials=[Trial(contestant="SVM", condition="study: wav2vec", marks="".join(marks.get(clip, "-") for clip in ids))],
    )


@pytest.mark.parametrize("approach", reported.WITH_PREDICTIONS)
def test_a_classifier_is_tested_against_the_study_clip_by_clip(approach):
    ids, y, p = reported.predictions(approach)
    theirs = dict(zip(ids, p == y, strict=True))
    same = reported.against_study(classical({clip: str(int(right)) for clip, right in theirs.items()})).loc[approach]
    assert (same["only_it"], same["only_study"], same["p"], same["p_holm"]) == (0, 0, 1, 1)
    wrong = [clip for clip, right in theirs.items() if not right]
    better = {clip: "1" if right or clip in wrong[:7] else "0" for clip, right in theirs.items()}
    better[next(clip for clip, right in theirs.items() if right)] = "0"
    test = reported.against_study(classical(better)).loc[approach]
    assert (test["only_it"], test["only_study"]) == (7, 1)
    assert test["p"] == pytest.approx(2 * 9 / 2**8) and test["p"] <= test["p_holm"] <= 2 * test["p"]


def test_the_recorded_classifier_can_be_held_against_the_study():
    record = Experiment.recorded("classical")
    score = record.accuracy("SVM", condition="study: wav2vec")
    for test in reported.against_study(record).itertuples():
        ahead = score.value * score.n - reported.reported(test.Index)["correct"]
        assert test.only_it - test.only_study == pytest.approx(ahead)


def test_what_others_report_lies_on_one_split():
    table = reported.literature()
    assert (table["source"].str.len() > 10).all() and {score.n for score in table["accuracy"]} == {290}
    assert [score.value for score in table["accuracy"]] == sorted(score.value for score in table["accuracy"])

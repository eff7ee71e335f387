"""Scores, intervals and tests: checked against scikit-learn, printed tables and hand counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from genre_utils import evaluation as ev

classes = st.integers(0, 9)
pairs = st.lists(st.tuples(classes, classes), min_size=1, max_size=60).map(lambda v: np.array(v).T)


@given(pairs)
def test_macro_f1_is_scikit_learns(pair):
    y, p = pair
    assert ev.macro_f1(y, p) == pytest.approx(f1_score(y, p, average="macro", zero_division=0))


@given(pairs)
def test_confusion_counts_every_clip_once(pair):
    y, p = pair
    matrix = ev.confusion(y, p)
    assert matrix.sum() == len(y)
    assert np.trace(matrix) / len(y) == pytest.approx((y == p).mean())
    assert np.array_equal(matrix.sum(axis=1), np.bincount(y, minlength=10))


def test_unequal_or_empty_lists_are_refused():
    for y, p in (([1, 2], [1]), ([], [])):
        with pytest.raises(ValueError, match="equally long"):
            ev.macro_f1(np.array(y), np.array(p))


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(110, 150, 0.6574, 0.7976), (75, 100, 0.6570, 0.8245), (87, 100, 0.7902, 0.9224), (0, 10, 0.0, 0.2775)],
)
def test_wilson_gives_the_intervals_published_for_the_study(correct, n, low, high):
    interval = ev.wilson(correct, n)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_and_stays_between_0_and_1(case):
    interval = ev.wilson(*case)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize("case", [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(case):
    with pytest.raises(ValueError, match="not a proportion"):
        ev.wilson(*case)


def test_interval_reads_as_per_cent():
    assert str(ev.wilson(75, 100)) == "75.0 % [65.7, 82.5]"


def test_bootstrap_agrees_with_wilson_on_accuracy():
    boot, exact = ev.bootstrap(np.arange(200) < 150), ev.wilson(150, 200)
    assert boot.value == 0.75
    assert abs(boot.low - exact.low) < 0.015
    assert abs(boot.high - exact.high) < 0.015


def test_bootstrap_is_repeatable():
    y, p = np.arange(60) % 10, np.arange(60) % 7
    assert ev.f1_bootstrap(y, p, n=200) == ev.f1_bootstrap(y, p, n=200)
    assert ev.f1_bootstrap(y, p[None], n=200) == ev.f1_bootstrap(y, p, n=200)
    several = ev.f1_bootstrap(y, np.stack([p, y]), n=200)
    assert several.value == pytest.approx((ev.macro_f1(y, p) + 1) / 2) and "2 seeds" in several.method
    assert several.low < ev.f1_bootstrap(y, y, n=200).low


def test_drawing_whole_artists_widens_the_interval():
    artist = np.repeat(np.arange(20), 10)
    hits = artist % 4 > 0  # every artist is either all right or all wrong
    by_clip, by_artist = ev.bootstrap(hits), ev.bootstrap(hits, groups=artist)
    assert by_artist.half_width > 2 * by_clip.half_width
    assert "20 artists" in by_artist.method


def test_artists_must_match_the_clips():
    with pytest.raises(ValueError, match="3 groups for 4 clips"):
        ev.bootstrap(np.ones(4), groups=["a", "b", "c"])


def test_difference_of_a_model_with_itself_is_exactly_zero():
    hits = np.arange(50) % 5 == np.arange(50) % 4
    assert ev.bootstrap(hits, hits).low == ev.bootstrap(hits, hits).high == 0


def test_difference_has_the_sign_of_the_better_first():
    gap = ev.bootstrap(np.ones(100, dtype=bool), np.arange(100) >= 40)
    assert gap.value == pytest.approx(0.4)
    assert 0 < gap.low < 0.4 < gap.high


def test_per_genre_table_matches_scikit_learn_and_holds_its_values():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10), 12)
    p = np.where(rng.random(120) < 0.7, y, rng.integers(0, 10, 120))
    table = ev.per_genre(y, p, n=300)
    assert np.allclose(table["f1"], f1_score(y, p, average=None))
    assert table["support"].tolist() == [12] * 10
    for name in ("precision", "recall", "f1"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
        assert (table[f"{name}_high"] - table[f"{name}_low"] > 0.05).all(), "12 clips cannot say more"


def test_genre_that_never_occurs_is_fully_uncertain():
    row = ev.per_genre(np.zeros(5, int), np.zeros(5, int), n=50).set_index("genre").loc["rock"]
    assert (row["support"], row["f1_low"], row["f1_high"]) == (0, 0.0, 1.0)


def test_mcnemar_of_16_against_4_is_the_studys_p():
    a = np.array([True] * 16 + [False] * 4 + [True] * 71 + [False] * 9)
    b = np.array([False] * 16 + [True] * 4 + [True] * 71 + [False] * 9)
    test = ev.mcnemar(a, b)
    assert (test["b"], test["c"]) == (16, 4)
    assert test["p"] == pytest.approx(0.0118, abs=5e-5)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_is_symmetric_and_a_probability(hits):
    a, b = np.array(hits).T
    forth, back = ev.mcnemar(a, b), ev.mcnemar(b, a)
    assert forth["p"] == back["p"]
    assert 0 < forth["p"] <= 1
    assert (forth["b"], forth["c"]) == (back["c"], back["b"])


def test_mcnemar_of_equal_models_is_one():
    hits = np.array([True, False, True])
    assert ev.mcnemar(hits, hits) == {"b": 0, "c": 0, "p": 1.0}


def test_every_pair_is_tested_once_and_adjusted():
    rng = np.random.default_rng(1)
    right = {name: rng.random(100) < rate for name, rate in zip("abcd", (0.9, 0.6, 0.6, 0.3), strict=True)}
    table = ev.pairwise_mcnemar(right)
    assert len(table) == 6
    assert (table["p_holm"] >= table["p"]).all()
    assert table["p_holm"].min() == pytest.approx(6 * table["p"].min()), "Holm: the smallest, times the number of tests"
    assert ev.pairwise_mcnemar({"a": right["a"]}).empty
    first = table.iloc[0]
    assert first["only_a"] == (right["a"] & ~right["b"]).sum()
    assert first["only_b"] == (right["b"] & ~right["a"]).sum()


def test_most_confident_errors_come_first_and_are_errors():
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    table = ev.most_confident_errors(list("abcd"), np.array([1, 1, 1, 1]), probs, ("no", "yes"), n=2)
    assert table["clip"].tolist() == ["d", "a"]
    assert table["predicted"].tolist() == ["no", "no"]
    assert table["confidence"].tolist() == [0.99, 0.9]


def test_repeating_a_split_cannot_shrink_the_interval_to_nothing():
    """However many overlapping splits are drawn, the clips stay the same ones."""
    rng = np.random.default_rng(0)
    few, many = (ev.over_splits(rng.normal(0.7, 0.04, n), 360, 150) for n in (20, 2000))
    assert few.low < few.value < few.high
    floor = 1.96 * 0.04 * np.sqrt(150 / 360)
    assert floor * 0.9 < many.half_width < few.half_width * 1.5
    assert many.half_width > 10 * 1.96 * 0.04 / np.sqrt(2000)


def test_one_split_has_no_spread():
    with pytest.raises(ValueError, match="at least two splits"):
        ev.over_splits([0.7], 360, 150)


def test_seeds_that_agree_give_the_interval_of_one_of_them():
    rng = np.random.default_rng(0)
    one, artists = rng.random(120) < 0.7, np.repeat(np.arange(40), 3)
    ours = ev.bootstrap(np.tile(one, (5, 1)), groups=artists)
    theirs = ev.bootstrap(one, groups=artists)
    assert ours.value == theirs.value and ours.n == 120
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)
    assert ours.method == "bootstrap over 5 seeds and 40 artists, 2000 draws"


def test_lucky_seeds_widen_the_interval_beyond_that_of_the_clips():
    rng = np.random.default_rng(0)
    rates = np.array([0.4, 0.5, 0.6, 0.7, 0.8])[:, None]
    varied = rng.random((5, 200)) < rates
    same = rng.random((5, 200)) < 0.6
    assert ev.bootstrap(varied).half_width > 2 * ev.bootstrap(same).half_width


def test_the_interval_over_seeds_and_clips_covers_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(1), 0
    for trial in range(200):  # a seed's skill and a clip's difficulty both vary
        skill, ease = rng.normal(0, 0.05, (20, 1)), rng.normal(0, 0.3, (1, 80))
        found = ev.bootstrap(0.6 + skill + ease, n=300, seed=trial)
        inside += found.low <= 0.6 <= found.high
    assert 0.88 <= inside / 200 <= 0.99


def test_differences_over_seeds_are_paired_and_exact_for_equals():
    hits = np.random.default_rng(0).random((3, 50)) < 0.5
    nothing = ev.bootstrap(hits, hits)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    better = ev.bootstrap(np.ones((3, 50)), hits)
    assert better.low > 0.2 and better.value == pytest.approx(1 - hits.mean())
    assert better.method.startswith("paired bootstrap over 3 seeds and clips")


@pytest.mark.parametrize(("hits", "other"), [(np.ones((2, 1, 9)), None), (np.ones(0), None), (np.ones((3, 9)), np.ones((3, 8)))])
def test_no_hits_or_unequal_shapes_are_refused(hits, other):
    with pytest.raises(ValueError, match="hits of some clips"):
        ev.bootstrap(hits, other)

"""The linear probe reads what is there, and only that."""

import numpy as np
import pytest

from genre_utils.evaluation import Interval, in_words
from genre_utils.models import svm
from genre_utils.models.svm import fit_probe, linear_probe


def _features(signal: float, n: int = 300, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, 12)) + signal * np.eye(12)[y], y


def test_probe_finds_linear_information():
    x, y = _features(3.0)
    fitted, score = fit_probe(x[:150], y[:150], x[150:220], y[150:220])
    assert score > 0.85
    assert fitted.score(x[220:], y[220:]) > 0.8


def test_probe_finds_nothing_in_noise():
    x, y = _features(0.0)
    fitted, _ = fit_probe(x[:150], y[:150], x[150:220], y[150:220])
    assert fitted.score(x[220:], y[220:]) < 0.55


def test_penalty_is_chosen_on_validation_clips(monkeypatch):
    x, y = _features(1.0)
    monkeypatch.setattr(svm, "STRENGTHS", (1e-6, 1e-2, 10.0))
    _, chosen = fit_probe(x[:40], y[:40], x[150:], y[150:])
    each = [linear_probe(c).fit(x[:40], y[:40]).score(x[150:], y[150:]) for c in (1e-6, 1e-2, 10.0)]
    assert chosen == pytest.approx(max(each))


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.01, 0.2, "better"), (-0.2, -0.01, "worse"), (-0.1, 0.1, "cannot tell")]
)
def test_a_difference_is_put_into_words_by_its_interval(low, high, word):
    sentence = in_words(Interval((low + high) / 2, low, high, 50), "A", "B")
    assert word in sentence and "50 clips" in sentence

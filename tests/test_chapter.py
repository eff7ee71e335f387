"""How every chapter begins."""

import matplotlib
import pytest

from genre_utils.chapter import begin, device_line
from genre_utils.errors import ProfileError
from genre_utils.identity import identity


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        yield


def test_a_chapter_begins_by_saying_what_it_runs(capsys):
    run = begin("mini", 3, split="random", backbone="", genres="")
    assert run == identity("mini", 3, split="random")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "profile mini, split random, backbone shipped, genres all ten, seed 3"
    assert said[1].startswith("The corpus: the synthetic corpus")
    assert said[2] == "Numbers below are about this synthetic corpus, unless they are marked as GTZAN's."


def test_a_chapter_names_the_options_that_it_knows_and_no_others(capsys):
    begin("gtzan", 0, split="cnn", genres="rock,blues")
    said = capsys.readouterr().out
    assert said.startswith("profile gtzan, split cnn, genres blues, rock, seed 0\n")
    assert "synthetic" not in said and "backbone" not in said


def test_a_wrong_parameter_stops_the_chapter():
    with pytest.raises(ProfileError, match="Did you mean 'gtzan-mini'"):
        begin("gtzan_mini", 0)
    with pytest.raises(ProfileError, match="Did you mean 'schedule'"):
        begin("mini", 0, protocol="shedule")


def test_the_device_line_names_device_and_versions():
    import torch

    assert f"torch {torch.__version__}" in device_line() and "Python 3." in device_line()

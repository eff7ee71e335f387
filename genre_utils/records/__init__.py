"""The records: what ran, what came out and what it cost. One JSON file each, written and read here alone.

A :class:`RunCard` keeps a run's prediction on every test clip; an :class:`Experiment` keeps, for each contestant and
draw, which clips came out right. Neither keeps a figure that follows from the rest: accuracies and intervals are
computed when they are read, by :mod:`genre_utils.evaluation`.
"""
# ruff: noqa: F401 (what other wings call)

from genre_utils.records.base import CorpusInfo, plain
from genre_utils.records.experiments import (
    CHOI,
    CNN,
    FOUR,
    LOG_MEL,
    MUSICNN,
    PRE_TRAINED,
    RANDOM,
    STATISTICS,
    SVM,
    TUNED,
    Experiment,
    Trial,
)
from genre_utils.records.runs import RECORD, TITLES, Bundle, RunCard, own_cards, read_cards, recorded_cards

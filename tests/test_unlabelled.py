"""Music without labels: rendered as the corpus is, and none of it from a profile's corpus."""

import sys
from pathlib import Path

import numpy as np
import pytest

from genre_utils.profiles import PROFILES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
from pretrain import FIRST_SEED, render_unlabelled

pytest.importorskip("tinysoundfont", reason="rendering needs tinysoundfont")


def test_the_test_clips_can_not_be_rendered_as_training_music():
    assert all(profile.corpus_seed < FIRST_SEED for profile in PROFILES.values())


def test_every_usable_clip_is_there_once_and_the_same_again(genre_home):
    waves = render_unlabelled(11, 0.5, progress=False)
    assert waves.dtype == np.int16 and waves.shape == (19, 8_000)  # two clips a genre, one of them truncated
    assert len({row.tobytes() for row in waves if row.any()}) >= 17  # one clip is planted as a copy of another
    assert np.array_equal(waves, render_unlabelled(11, 0.5, progress=False))

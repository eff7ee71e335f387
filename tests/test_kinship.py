"""Second excerpts of one recording: what they share, and what tells them from copies and from other pieces."""

import numpy as np
import pytest

from genre_utils.corpora.kinship import KINDRED, SECOND_TAKE, Kin, cosines, find_kin, periodicities, repeats

FRAME_S = 0.025
FRAMES = 400  # ten seconds


def drums(tempo_bpm: float, start_s: float = 0.0, pattern=(1, 0.6, 0.5, 0.7)) -> np.ndarray:
    """A mel-spectrogram (128, T) whose lower and upper half rise in turn on the eighths of `pattern`."""
    mel = np.zeros((128, FRAMES))
    for eighth in range(2_000):
        frame = round((eighth * 30 / tempo_bpm - start_s) / FRAME_S)
        if 0 <= frame < FRAMES:
            mel[64 * (eighth % 2) :][:64, frame] += pattern[eighth % len(pattern)]
    return mel + 0.05 * np.random.default_rng(round(tempo_bpm + start_s)).random(mel.shape)


def test_periodicities_ignore_where_a_clip_begins_and_hear_the_tempo():
    rows = periodicities(np.stack([drums(120), drums(120, start_s=3.3), drums(123), drums(90)]), FRAME_S)
    alike = cosines(rows)
    assert alike[0, 1] > 0.8
    assert alike[0, 2] < 0.4
    assert alike[0, 3] < 0.4


def test_periods_of_short_clips_are_shares_of_their_length():
    mel = np.stack([drums(120)[:, :80], drums(120, start_s=3.3)[:, :80]])  # two seconds
    assert cosines(periodicities(mel, FRAME_S))[0, 1] > 0.6


def test_a_loop_repeats_itself_and_noise_does_not():
    rng = np.random.default_rng(0)
    loop = np.tile(rng.standard_normal((31, FRAMES // 4)), 4)
    noise = rng.standard_normal((31, FRAMES))
    own = repeats(np.stack([loop, noise]).astype(np.float32), FRAME_S, 0.3)
    assert own[0] > 0.8
    assert own[1] < 0.1


def test_the_score_needs_every_part_and_refuses_a_second_take():
    assert Kin("a", "b", 0.9, 0.9, 0.9, 0.9, 1.4).score == pytest.approx(0.9**4)
    assert Kin("a", "b", -0.9, 0.9, -0.9, 0.9, 1.4).score == 0
    assert Kin("a", "b", 0.9, 0.9, 0.9, 0.9, SECOND_TAKE).score == 0


@pytest.fixture
def four():
    """Clips a and b alike in everything; c of another tempo; d of another key."""
    rng = np.random.default_rng(1)
    periods, level, change, sound = (rng.standard_normal(k) for k in (60, 75, 75, 40))
    periods = np.stack([periods, periods, rng.standard_normal(60), periods])
    key = np.stack([level, level, level, np.roll(level, 5)])
    motion = np.stack([change, change, change, np.roll(change, 5)]) + rng.standard_normal((4, 75)) * 0.01
    return {
        "periods": periods,
        "semitones": np.stack([key, motion], axis=1),
        "sounds": np.stack([sound] * 4),
        "match": np.full((4, 4), 0.3),
        "own": np.full(4, 0.3),
    }


def test_pairs_alike_in_everything_are_found_unless_they_are_copies(four):
    found = find_kin(list("abcd"), **four, copies=set())
    assert [(kin.first, kin.second) for kin in found] == [("a", "b")]
    assert found[0].score > KINDRED
    assert find_kin(list("abcd"), **four, copies={frozenset("ab")}) == []


def test_clips_that_fit_each_other_far_better_than_themselves_are_left_out(four):
    assert find_kin(list("abcd"), **(four | {"own": np.full(4, 0.29 / SECOND_TAKE)}), copies=set()) == []

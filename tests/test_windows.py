"""Excerpts of clips: inside the clip, repeatable, and put together again clip by clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genre_utils.errors import GenreError
from genre_utils.models.cnn import GenreCNN
from genre_utils.windows import WindowSet, mean_over_windows, predict_clips, window_starts


@given(length=st.integers(1, 3000), window=st.integers(1, 3000))
def test_windows_lie_inside_the_clip_and_cover_it(length, window):
    starts = window_starts(length, window)
    width = min(window, length)
    assert starts[0] == 0 and starts[-1] == length - width
    assert (np.diff(starts) <= width).all() and (np.diff(starts) > 0).all()


def test_a_random_crop_depends_on_seed_epoch_and_clip_alone():
    inputs = np.arange(4000, dtype=np.float32).reshape(4, 1000)
    windows = WindowSet(inputs, np.arange(4), 50, train=True)
    first = [int(windows[i]["input_values"][0]) for i in range(4)]
    assert [int(windows[i]["input_values"][0]) for i in range(4)] == first
    assert [int(windows[i]["input_values"][0]) // 1000 for i in range(4)] == [0, 1, 2, 3]
    windows.epoch = 1
    assert [int(windows[i]["input_values"][0]) for i in range(4)] != first


def test_evaluation_windows_are_counted_clip_by_clip():
    windows = WindowSet(np.zeros((3, 100)), [0, 1, 2], 40)
    assert len(windows) == 9
    assert windows.clip_index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [int(windows[i]["labels"]) for i in range(9)] == windows.clip_index.tolist()


def test_unequal_clips_and_labels_are_refused():
    with pytest.raises(GenreError, match="3 clips and 2 labels"):
        WindowSet(np.zeros((3, 10)), [0, 1])


def test_the_score_of_a_clip_is_the_mean_of_its_windows():
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    assert np.allclose(mean_over_windows(probs, np.array([1, 1, 0])), [[0.2, 0.8], [0.75, 0.25]])


def test_clip_probabilities_are_the_mean_over_their_windows():
    images = np.random.default_rng(0).random((5, 1, 32, 40)).astype(np.float32)
    model = GenreCNN(3).eval()
    clips = predict_clips(model, images, 16, precision="fp32", batch_size=3)
    assert clips.shape == (5, 3)
    with torch.no_grad():
        windows = [model(torch.from_numpy(images[2:3, ..., s : s + 16]))["logits"].softmax(-1)[0].numpy() for s in (0, 12, 24)]
    np.testing.assert_allclose(clips[2], np.mean(windows, axis=0), atol=1e-6)

"""The study's choices: each changes one thing, and what is run under them says so."""

from dataclasses import asdict

import numpy as np
import pytest

from genre_utils.errors import ProfileError
from genre_utils.profiles import PROFILES
from genre_utils.protocol import CHOICES, CORRECTED, ORIGINAL, STUDY, with_protocol


def changes(protocol: str) -> set[str]:
    """Fields in which the profile differs from the book's own."""
    before, after = (asdict(profile) for profile in (PROFILES["mini"], with_protocol(PROFILES["mini"], protocol)))
    flat = {
        f"{key}.{inner}" if isinstance(value, dict) else key
        for key, value in after.items()
        for inner in (value if isinstance(value, dict) else [None])
        if (value != before[key] if inner is None else value[inner] != before[key][inner])
    }
    return flat - {"protocol"}


def test_each_choice_changes_what_it_names_and_nothing_else():
    assert changes("rate") == {"resampled"}
    assert changes("head") == {"head"}
    assert changes("cold-head") == {"warm_head"}
    assert changes("thawed") == {"frozen"}
    assert changes("batch") == {"full.batch_size", "head_only.batch_size"}
    assert changes("epochs") == {f"{part}.{key}" for part in ("full", "head_only") for key in ("epochs", "patience")}
    keys = ("learning_rate", "warmup", "schedule")
    assert changes("schedule") == {f"{part}.{key}" for part in ("full", "head_only") for key in keys}
    assert changes(CORRECTED) == changes("") == set()


def test_original_is_all_of_the_studys_choices_at_once():
    assert set(STUDY) == set(CHOICES) - {"thawed"}
    assert changes(ORIGINAL) == set().union(*map(changes, STUDY)) == changes(",".join(STUDY))
    profile = with_protocol(PROFILES["gtzan"], ORIGINAL)
    assert (profile.full.learning_rate, profile.full.epochs, profile.full.batch_size) == (1e-5, 12, 4)
    assert (profile.head_only.learning_rate, profile.head_only.epochs) == (1e-3, 10)
    assert profile.frozen == "encoder" and not profile.resampled


def test_the_learning_rate_of_the_study_rises_and_stays():
    import torch
    from transformers import get_scheduler

    full = with_protocol(PROFILES["mini"], "schedule").full
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=full.learning_rate)
    rates = get_scheduler(full.schedule, optimiser, round(2400 * full.warmup), 2400)
    seen = []
    for _ in range(2400):
        optimiser.step()
        seen.append(rates.get_last_lr()[0])
        rates.step()
    assert seen[250] == pytest.approx(0.5e-5) and seen[500] == seen[-1] == pytest.approx(1e-5)


def test_unresampled_audio_is_the_clips_own_samples(tiny_corpus):
    from dataclasses import replace

    from genre_utils.audio import load_audio
    from genre_utils.features import waves

    profile = replace(PROFILES["mini"], clip_s=tiny_corpus.clip_s)
    ids = tiny_corpus.ids[:2]
    right, wrong = (waves(tiny_corpus, ids, with_protocol(profile, name), progress=False) for name in ("", "rate"))
    assert right.shape[1] == 16_000 * profile.clip_s and wrong.shape[1] == 22_050 * profile.clip_s
    assert np.allclose(wrong[0], load_audio(tiny_corpus[ids[0]].path)[0][: wrong.shape[1]], atol=1e-4)


def test_an_unknown_choice_is_refused_with_those_that_exist():
    with pytest.raises(ProfileError, match="'shedule'.*cold-head.*Did you mean 'schedule'"):
        with_protocol(PROFILES["mini"], "rate,shedule")


def test_choices_add_up_and_their_order_does_not_matter():
    profile = with_protocol(PROFILES["mini"], "batch, rate")
    assert profile.protocol == "rate,batch" and not profile.resampled and profile.full.batch_size == 4
    assert profile == with_protocol(PROFILES["mini"], "rate,batch")

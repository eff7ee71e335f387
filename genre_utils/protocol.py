"""How the study ran wav2vec 2.0, choice by choice, so that each can be turned on alone and its effect measured.

``run --protocol original`` runs chapters 4 and 5 as the study did; ``--protocol rate`` changes that one thing.
Source of every value: the study's repository (``genre_utils/data/study.json`` names the commits).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from genre_utils.errors import ProfileError
from genre_utils.profiles import Profile

CORRECTED, ORIGINAL = "corrected", "original"
#: Updates of the study's full fine-tuning: 798 clips in batches of 4, 12 epochs; and of its warm-up.
_UPDATES, _WARM_UP = 2400, 500


def _schedule(profile: Profile) -> Profile:
    full = replace(profile.full, learning_rate=1e-5, warmup=_WARM_UP / _UPDATES, schedule="constant_with_warmup")
    head = replace(profile.head_only, learning_rate=1e-3, warmup=_WARM_UP / 2000, schedule="constant_with_warmup")
    return replace(profile, full=full, head_only=head)


def _epochs(profile: Profile) -> Profile:
    full = replace(profile.full, epochs=12, patience=12)
    return replace(profile, full=full, head_only=replace(profile.head_only, epochs=10, patience=10))


def _batch(profile: Profile) -> Profile:
    full, head = replace(profile.full, batch_size=4), replace(profile.head_only, batch_size=4)
    return replace(profile, full=full, head_only=head)


#: Name of a choice -> what it means, and what it changes in a profile.
CHOICES: dict[str, tuple[str, Callable[[Profile], Profile]]] = {
    "rate": (
        "22,050 samples a second, told that they are 16,000",
        lambda profile: replace(profile, resampled=False),
    ),
    "head": (
        "the study's head (linear, mean over time, GELU, linear) on the last layer",
        lambda profile: replace(profile, head="study"),
    ),
    "cold-head": (
        "full fine-tuning starts with an untrained head",
        lambda profile: replace(profile, warm_head=False),
    ),
    "schedule": ("learning rates 1e-5 (full) and 1e-3 (head only), warmed up, then constant", _schedule),
    "epochs": ("12 epochs (full) and 10 (head only)", _epochs),
    "batch": ("batches of 4 clips", _batch),
    "thawed": (
        "not the study's: the convolutional encoder is trained too",
        lambda profile: replace(profile, frozen=None),
    ),
}
#: What the study did. Its encoder stayed frozen, as it does in this book; ``thawed`` shows what that is worth.
STUDY = ("rate", "head", "cold-head", "schedule", "epochs", "batch")


def with_protocol(profile: Profile, protocol: str) -> Profile:
    """`profile` with ``corrected`` (as it is), ``original`` (all of the study's choices) or some, "rate,batch".

    Raises
    ------
    ProfileError
        If a choice does not exist; the message lists those that do.
    """
    words = [word.strip() for word in protocol.split(",") if word.strip()]
    if words in ([], [CORRECTED]):
        return profile
    words = list(STUDY) if words == [ORIGINAL] else words
    for choice in words:
        if choice not in CHOICES:
            near = difflib.get_close_matches(choice, [CORRECTED, ORIGINAL, *CHOICES], n=1)
            raise ProfileError(
                f"unknown protocol {choice!r}: choose {CORRECTED}, {ORIGINAL}, or some of {', '.join(CHOICES)}, with "
                "commas between." + (f" Did you mean {near[0]!r}?" if near else "")
            )
    made = [choice for choice in CHOICES if choice in words]  # in one order, so that one protocol has one name
    for choice in made:
        profile = CHOICES[choice][1](profile)
    return replace(profile, protocol=ORIGINAL if tuple(made) == STUDY else ",".join(made))

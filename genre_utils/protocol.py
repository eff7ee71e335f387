"""How the study ran wav2vec 2.0, choice by choice, so that each can be turned on alone and its effect measured.

``run --protocol original`` runs chapters 4 and 5 as the study did; ``--protocol rate`` changes that one thing.
Source of every value: the study's repository (``genre_utils/data/study.json`` names the commits).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genre_utils.errors import ProfileError, did_you_mean
from genre_utils.profiles import Profile

CORRECTED, ORIGINAL = "corrected", "original"

#: Name of a choice -> what it means, and what it changes in a profile.
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "rate": ("22,050 samples a second go to a network that takes them for 16,000", {"resampled": False}),
    "head": ("the study's head (linear, mean over time, GELU, linear) on the last layer", {"head": "study"}),
    "cold-head": ("full fine-tuning starts with an untrained head", {"warm_head": False}),
    "schedule": (
        "learning rates 1e-5 (full) and 1e-3 (head only), warmed up, then constant",
        # 500 updates of warm-up, of 2400 (798 clips in batches of 4, 12 epochs) and of 2000.
        {
            "full": {"learning_rate": 1e-5, "warmup": 500 / 2400, "schedule": "constant_with_warmup"},
            "head_only": {"learning_rate": 1e-3, "warmup": 500 / 2000, "schedule": "constant_with_warmup"},
        },
    ),
    "epochs": (
        "12 epochs (full) and 10 (head only)",
        {"full": {"epochs": 12, "patience": 12}, "head_only": {"epochs": 10, "patience": 10}},
    ),
    "batch": ("batches of 4 clips", {"full": {"batch_size": 4}, "head_only": {"batch_size": 4}}),
    "thawed": ("not the study's: the convolutional encoder is trained too", {"frozen": None}),
}
#: What the study did. Its encoder stayed frozen, as it does in this book; ``thawed`` shows what that is worth.
STUDY = ("rate", "head", "cold-head", "schedule", "epochs", "batch")


def _changed(settings, changes: dict[str, Any]):
    """A dataclass with some fields changed; a dictionary changes fields of a field."""
    inner = {name: _changed(getattr(settings, name), new) for name, new in changes.items() if isinstance(new, dict)}
    return replace(settings, **(changes | inner))


def with_protocol(profile: Profile, protocol: str) -> Profile:
    """`profile` with ``corrected`` (as it is), ``original`` (all of the study's choices) or some, "rate,batch".

    A ProfileError if a choice does not exist; the message lists those that do.
    """
    words = [word.strip() for word in protocol.split(",") if word.strip()]
    if words in ([], [CORRECTED]):
        return profile
    words = list(STUDY) if words == [ORIGINAL] else words
    for choice in words:
        if choice not in CHOICES:
            raise ProfileError(
                f"unknown protocol {choice!r}: choose {CORRECTED}, {ORIGINAL}, or some of {', '.join(CHOICES)}, with "
                f"commas between.{did_you_mean(choice, [CORRECTED, ORIGINAL, *CHOICES])}"
            )
    made = [choice for choice in CHOICES if choice in words]  # in one order, so that one protocol has one name
    for choice in made:
        profile = _changed(profile, CHOICES[choice][1])
    return replace(profile, protocol=ORIGINAL if tuple(made) == STUDY else ",".join(made))

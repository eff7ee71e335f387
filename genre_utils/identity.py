"""What a run is: profile, split, backbone, protocol, genres and seed. All that a run leaves behind is named by them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from genre_utils.errors import GenreError, ProfileError, did_you_mean
from genre_utils.paths import runs_dir
from genre_utils.profiles import GENRES, GTZAN_SPLITS, PROFILES, SPLITS, Profile
from genre_utils.protocol import with_protocol

#: The approaches, and what beside profile and seed decides what each of them learns and is tested on.
CONCERNS = {
    "svm": ("split", "genres"),
    "cnn": ("split", "genres"),
    "musicnn": ("split", "genres"),
    "head-only": ("split", "backbone", "protocol", "genres"),
    "full": ("split", "backbone", "protocol", "genres"),
}
OPTIONS = CONCERNS["full"]


@dataclass(frozen=True)
class Identity:
    """One run: a profile with its options in it, and the seed of the training (the split keeps its own).

    Two runs with the same identity are the same run; all others never share a file.
    """

    profile: Profile
    seed: int

    @property
    def about(self) -> dict[str, str]:
        """What each part of the identity is, in words."""
        p = self.profile
        return {
            "profile": p.name,
            "split": p.split,
            "backbone": backbone_label(p.backbone, p.backbone_revision),
            "protocol": p.protocol,
            "genres": "all ten" if p.genres == GENRES else ", ".join(p.genres),
            "seed": str(self.seed),
        }

    def parameters(self, names=("profile", "seed", *OPTIONS)) -> dict:
        """What to write into the parameters cell of a chapter: "" stands for the profile's own."""

        def options(p: Profile) -> dict[str, str]:
            backbone = p.backbone + (f"@{p.backbone_revision}" if p.backbone_revision else "")
            return {"split": p.split, "backbone": backbone, "protocol": p.protocol, "genres": ",".join(p.genres)}

        own, chosen = options(PROFILES[self.profile.name]), options(self.profile)
        values = {"profile": self.profile.name, "seed": self.seed}
        values |= {name: "" if value == own[name] else value for name, value in chosen.items()}
        return {name: values[name] for name in names}

    def name(self, concerns=OPTIONS) -> str:
        """Name of a folder: the profile, and those of `concerns` and the seed that differ from the profile's own.

        >>> identity("mini", 1, split="random").name()
        'mini+split-random+seed-1'
        """
        about, own = self.about, Identity(PROFILES[self.profile.name], 0).about
        different = {part: about[part] for part in (*concerns, "seed") if about[part] != own[part]}
        return "+".join([self.profile.name, *(f"{part}-{_plain(value)}" for part, value in different.items())])

    def folder(self, approach: str) -> Path:
        """Where the models, checkpoints and record of one approach lie."""
        return runs_dir() / self.name(CONCERNS[approach]) / approach

    def other_seed(self, seed: int) -> Identity:
        return replace(self, seed=seed)

    def __str__(self) -> str:
        return ", ".join(f"{part} {value}" for part, value in self.about.items())


def _plain(text: str) -> str:
    """`text` for a file name, without "+"; no two Hub names become one ("--" occurs in none)."""
    return re.sub(r"[^\w.@-]+", "_", text.replace("/", "--"))


def identity(
    profile: str = "mini", seed: object = 0, *, split: str = "", backbone: str = "", protocol: str = "", genres: str = ""
) -> Identity:
    """The run that the parameters of a chapter or the options of a command describe; "" is the profile's own.

    Parameters
    ----------
    split : str
        One of :data:`~genre_utils.profiles.SPLITS` or, for all of GTZAN, :data:`~genre_utils.profiles.GTZAN_SPLITS`.
    backbone : str
        ``shipped``, a folder, a fairseq file, or a Hub name, ``owner/name`` or ``owner/name@revision``.
    protocol : str
        See :mod:`genre_utils.protocol`.
    genres : str
        Some of the ten, with commas between.

    Raises
    ------
    ProfileError
        If one of them does not exist; the message lists what does.
    """
    if profile not in PROFILES:
        hint = did_you_mean(profile, PROFILES)
        raise ProfileError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}.{hint}")
    chosen = PROFILES[profile]
    if backbone:
        path = Path(backbone).expanduser()
        there = backbone != "shipped" and path.exists()
        if not there and (backbone.startswith(("/", ".", "~")) or path.suffix == ".pt"):
            kinds = "a folder, a fairseq file, a Hub name, or 'shipped'"
            raise ProfileError(f"there is no backbone at {path}: give {kinds}")
        name, _, revision = (str(path.resolve()), "", "") if there else backbone.partition("@")
        chosen = replace(chosen, backbone=name, backbone_revision=revision or None)
    if split:
        known = SPLITS + GTZAN_SPLITS if chosen.corpus == "gtzan" else SPLITS
        if split not in known:
            only = f" ({', '.join(GTZAN_SPLITS)} are lists of all of GTZAN: profile gtzan)" if known == SPLITS else ""
            raise ProfileError(f"unknown split {split!r} for the profile {profile}: choose {', '.join(known)}{only}")
        chosen = replace(chosen, split=split)
    if genres:
        chosen = replace(chosen, genres=_some_genres(genres))
    return Identity(with_protocol(chosen, protocol), check_seed(seed))


def _some_genres(text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in GENRES:
            hint = did_you_mean(word, GENRES)
            raise ProfileError(f"unknown genre {word!r}: choose some of {', '.join(GENRES)}.{hint}")
    if len(set(words)) < 2:
        raise ProfileError(f"a classifier needs at least two genres, not {text!r}: for example genres=blues,jazz,rock")
    return tuple(genre for genre in GENRES if genre in words)


def check_seed(seed: object) -> int:
    """`seed` as an integer in [0, 2**32), or a :class:`ProfileError` that says so."""
    try:
        number = int(str(seed))
    except ValueError:
        raise ProfileError(f"seed must be a whole number, not {seed!r} (for example SEED=1)") from None
    if not 0 <= number < 2**32:
        raise ProfileError(f"seed must lie between 0 and {2**32 - 1}, not {number}")
    return number


def backbone_label(backbone: str, revision: str | None = None) -> str:
    """What names a backbone in records and folders: of a local one its name and a digest of it, never its path."""
    path = Path(backbone).expanduser()
    if backbone == "shipped" or not path.exists():
        return backbone + (f"@{revision}" if revision else "")
    inside = [path] if path.is_file() else sorted(path.iterdir())
    files = [file for file in inside if file == path or file.suffix in (".json", ".safetensors", ".bin")]
    about = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return f"{path.stem}-{_digest(about)[:8]}"


@lru_cache(maxsize=8)
def _digest(files: tuple) -> str:
    digest = hashlib.sha256()
    for file, *_ in files:
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def remember(run: Identity) -> None:
    """Let `run` be the last one: what ``predict`` and chapter 6 take unless told otherwise."""
    (runs_dir() / "last.json").write_text(json.dumps(run.parameters()) + "\n", encoding="utf-8")


def last_run() -> Identity:
    """The run that trained last, or the default one if there was none."""
    try:
        return identity(**json.loads((runs_dir() / "last.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, GenreError):
        return identity()

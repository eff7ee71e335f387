"""What the commands share: the options that say which run is meant, and where they print."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from genre_utils.identity import Identity, identity
from genre_utils.profiles import GTZAN_SPLITS, PROFILES, SPLITS

console = Console()
errors = Console(stderr=True)

ProfileOption = Annotated[str, typer.Option("--profile", help="One of: " + ", ".join(PROFILES) + ".")]
SeedOption = Annotated[str, typer.Option("--seed", help="Seed of the training (the split keeps its own).")]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        help=f"Instead of the profile's: {', '.join(SPLITS)}; of all of GTZAN also {', '.join(GTZAN_SPLITS)}.",
    ),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="Instead of the profile's: shipped, a folder, a fairseq .pt, or a Hub name (owner/name or owner/name@revision).",
    ),
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="How chapters 4 and 5 train: corrected (the book's way), original (the study's), or some of the study's "
        "choices alone, as in rate,batch.",
    ),
]
GenresOption = Annotated[str, typer.Option("--genres", help='Some of the ten, as in "blues,jazz,rock"; all if empty.')]


def chosen_run(profile: str, seed: str, split: str, backbone: str, protocol: str, genres: str, default: Identity | None = None):
    """The run that the options describe; `default` if none of them was given."""
    options = {"profile": profile, "seed": seed, "split": split, "backbone": backbone, "protocol": protocol, "genres": genres}
    given = {name: value for name, value in options.items() if value}
    return default if default and not given else identity(**given)

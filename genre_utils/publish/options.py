"""What the commands share: the options that say which run is meant, and where they print."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from genre_utils.profiles import GTZAN_SPLITS, PROFILES, SPLITS

console = Console()
errors = Console(stderr=True)


def say(text: object, **style) -> None:
    """Print `text` as it is, in long lines."""
    console.print(str(text), markup=False, highlight=False, soft_wrap=True, **style)


#: Option -> what ``--help`` says of it.
RUN = {
    "profile": "One of: " + ", ".join(PROFILES) + ".",
    "seed": "Seed of the training (the split keeps its own).",
    "split": f"Instead of the profile's: {', '.join(SPLITS)}; of all of GTZAN also {', '.join(GTZAN_SPLITS)}.",
    "backbone": "Instead of the profile's: shipped, a folder, a fairseq .pt, or a Hub name (owner/name or "
    "owner/name@revision).",
    "protocol": "How chapters 4 and 5 train: corrected (the book's way), original (the study's), or some of the "
    "study's choices alone, as in rate,batch.",
    "genres": 'Some of the ten, as in "blues,jazz,rock"; all if empty.',
}


def run_options(*names: str, **defaults: str) -> Callable[[Callable], Callable]:
    """Give a command the options `names`, all of them if none is named, in place of its first parameter: that gets
    those with a value as a dictionary, which is what :func:`genre_utils.identity.identity` takes."""
    options = []
    for name in names or RUN:
        annotation, default = Annotated[str, typer.Option(help=RUN[name])], defaults.get(name, "")
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))

    def decorated(command: Callable) -> Callable:
        @functools.wraps(command)
        def with_options(**values):
            run = {option.name: values.pop(option.name) for option in options}
            return command({name: value for name, value in run.items() if value}, **values)

        own = inspect.signature(command, eval_str=True)
        with_options.__signature__ = own.replace(parameters=[*options, *list(own.parameters.values())[1:]])
        return with_options

    return decorated

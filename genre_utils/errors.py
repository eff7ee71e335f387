"""Every error a reader may meet. Each message names what was wrong, where, and what to do about it."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The end of a message about a word that is none of the `known`: the nearest of them, if one is near."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class GenreError(Exception):
    """Base class: the command line prints the message and exits 2, without a traceback."""


class AudioError(GenreError):
    """A file that is not usable audio."""


class CorpusError(GenreError):
    """A corpus that is missing, incomplete or not what its checksums say."""


class CacheError(GenreError):
    """A cache folder that cannot be read or written."""


class CheckpointError(GenreError):
    """Weights that are missing, unsafe to load, or of another architecture."""


class ProfileError(GenreError):
    """A profile, seed or chapter that does not exist."""


class RunError(GenreError):
    """A run or its record that is missing or cannot be read."""


class WorkFailed(Exception):
    """The command was fine, the work was not: a chapter or a page failed. The command line exits 1."""

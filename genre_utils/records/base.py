"""How a record is written, read and checked, and what every record says of its making."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from pydantic_core import to_json
from typing_extensions import Self

from genre_utils.errors import RunError
from genre_utils.paths import disk_access, write_whole
from genre_utils.provenance import Strict

SCHEMA_VERSION = 2


class CorpusInfo(Strict):
    """A corpus: its name, the SHA-256 over its clips ("" where only features are known), and how many they are."""

    name: str
    fingerprint: str
    clips: int = Field(ge=0)


class Saved(Strict):
    """How a record is written and read."""

    schema_version: Literal[2] = SCHEMA_VERSION

    def save(self, path: Path | str) -> Path:
        """Write the record to `path`, whole or not at all."""
        path = Path(path)
        with disk_access(f"write the record {path}", RunError, "GENRE_UTILS_RUNS"):
            write_whole(path, _compact(self.model_dump(mode="json")).encode())
        return path

    @classmethod
    def load(cls, path: Path | str, remedy: str = "run its chapter again") -> Self:
        """Read a record; a RunError with the `remedy` if the file is missing, or is no such record of this version."""
        return cls.parsed(read_json(path, remedy), path, remedy)

    @classmethod
    def parsed(cls, content: Any, path: Path | str, remedy: str) -> Self:
        """The record in `content`, which was read from `path`."""
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise RunError(f"{path} is a record of version {version}, this is version {SCHEMA_VERSION}: {remedy}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            raise RunError(f"{path} is no {cls.__name__}: {where}: {first['msg']}: {remedy}") from error


class Record(Saved):
    """What every record says of its making."""

    versions: dict[str, str] = Field(default={})
    hardware: dict[str, Any] = Field(default={})
    git_commit: str | None = None
    #: Whether tracked files of the checkout differed from that commit; None: not known.
    uncommitted: bool | None = None
    created: str


def read_json(path: Path | str, remedy: str) -> Any:
    """What a record's file holds; a :class:`RunError` with the `remedy` if it is missing or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"there is no record {path}: {remedy}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"the record {path} cannot be read ({error}): {remedy}") from error


def plain(value: Any) -> Any:
    """`value` with NumPy scalars, arrays, tuples and paths as plain JSON types, and None for what is not finite."""

    def numpy(value: Any) -> Any:
        return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)

    return json.loads(to_json(value, inf_nan_mode="null", fallback=numpy))


def _compact(content: dict) -> str:
    """JSON with one line a prediction, trial or epoch: small, and readable in a diff."""
    line, parts = partial(json.dumps, ensure_ascii=False, allow_nan=False), []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = "[\n" + ",\n".join(f"  {line(row)}" for row in value) + "\n]"
        else:
            value = line(value)
        parts.append(f"{line(key)}: {value}")
    return "{\n" + ",\n".join(parts) + "\n}\n"

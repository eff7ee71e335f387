"""How a record is written, read and checked, and what every record says of its making."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from genre_utils.errors import RunError

SCHEMA_VERSION = 2


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CorpusInfo(Strict):
    """A corpus: its name, the SHA-256 over its clips ("" where only features are known), and how many they are."""

    name: str
    fingerprint: str
    clips: int = Field(ge=0)


class Record(Strict):
    """What every record says of its making, and how it is written and read."""

    schema_version: Literal[2] = SCHEMA_VERSION
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    git_commit: str | None = None
    #: Whether tracked files of the checkout differed from that commit; None: not known.
    uncommitted: bool | None = None
    created: str

    def save(self, path: Path | str) -> Path:
        """Write the record to `path`, whole or not at all."""
        path = Path(path)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(_compact(self.model_dump(mode="json")), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise RunError(
                f"cannot write the record {path}: {error.strerror or error}. "
                "Free some space, or choose another folder with the environment variable GENRE_UTILS_RUNS."
            ) from error
        return path

    @classmethod
    def load(cls, path: Path | str, remedy: str = "run its chapter again") -> Self:
        """Read a record.

        Raises
        ------
        RunError
            If the file is missing, is no JSON, or is no such record of this version; the message names the file and
            the `remedy`.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"there is no record {path}: {remedy}") from None
        except (OSError, ValueError) as error:
            raise RunError(f"the record {path} cannot be read ({error}): {remedy}") from error
        return cls.parsed(content, path, remedy)

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


def plain(value: Any) -> Any:
    """`value` with NumPy scalars, arrays, tuples and paths as plain JSON types."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None  # JSON has no NaN
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _compact(content: dict) -> str:
    """JSON with one line a prediction, trial or epoch: small, and readable in a diff."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(f"  {line(row)}" for row in value)
            parts.append(f"{line(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{line(key)}: {line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"

"""One table of many run records: what the matrix ends with.

    python workflow/collect.py build/matrix/random-seed0/mini/cnn-seed0.json ... --out build/matrix/mini.csv
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from genre_utils.errors import RunError
from genre_utils.records import TITLES, RunCard


def matrix_frame(paths: Iterable[Path]) -> pd.DataFrame:
    """One row a run record: approach, split, seed, backbone, corpus and scores.

    A RunError if there is no file, if one is no run record, or if two are of the same run.
    """
    found: dict[tuple, tuple[Path, RunCard]] = {}
    for path in paths:
        card = RunCard.load(path)
        named = [(card.backbone or {}).get(what, "") for what in ("name", "fingerprint")]
        place = list(TITLES).index(card.approach)
        run = (card.split.name, *named, place, card.protocol, tuple(card.genres), card.seed, card.corpus.fingerprint)
        if run in found:
            raise RunError(f"{found[run][0]} and {path} are of the same run: one of them is in the wrong place")
        found[run] = path, card
    if not found:
        raise RunError("there is no run record to collect")
    rows = []
    for run, (_, card) in sorted(found.items()):
        score = card.accuracy
        scores = (score.value, score.low, score.high, card.macro_f1.value, score.n)
        rows.append((card.approach, card.title, card.split.name, card.seed, run[1], card.corpus.name, *scores))
    about = ["approach", "title", "split", "seed", "backbone", "corpus"]
    return pd.DataFrame(rows, columns=[*about, "accuracy", "low", "high", "macro_f1", "n"])


def collect(
    records: Annotated[list[Path], typer.Argument(help="Run records (JSON files of any profile, split and seed).")],
    out: Annotated[Path, typer.Option(help="Where the table goes.")],
) -> None:
    """One table of many run records."""
    table = matrix_frame(records)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    print(f"{len(table)} runs: {out}")


if __name__ == "__main__":
    typer.run(collect)

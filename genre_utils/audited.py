"""How good is the audit? Its findings on corpora that its thresholds have not met, and on real clips cut in two.

The record keeps counts; chapter 1 draws precision and recall from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from genre_utils import runs
from genre_utils.corpora import Clip, Corpus
from genre_utils.corpora.audit import audit, score
from genre_utils.errors import RunError
from genre_utils.evaluation import wilson
from genre_utils.paths import recorded_dir

SCHEMA_VERSION = 1
#: Synthetic corpora that no threshold was chosen on; chosen on seeds 0, 1 and 21 to 23.
UNSEEN = (2, 3, 4, 5)
HALF_S = 14.0
SYNTHETIC, HALVES = "synthetic, other artists", "real clips, cut in two"


class Finding(BaseModel):
    """What the audit of one corpus found of one kind, and what was there."""

    model_config = ConfigDict(extra="forbid")

    corpus: str
    seed: int | None
    kind: str
    #: Whether the artists' names were used.
    names: bool
    planted: int
    reported: int
    right: int


class Audited(BaseModel):
    """The record of the experiment."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    versions: dict[str, str]
    hardware: dict[str, Any]
    git_commit: str | None
    created: str
    findings: list[Finding]

    def table(self) -> pd.DataFrame:
        """Corpora of one sort together: planted, reported, right, and precision and recall with Wilson's intervals."""
        rows = {}
        for finding in self.findings:
            key = (finding.corpus, finding.kind, "sound and names" if finding.names else "sound")
            before = rows.setdefault(key, [0, 0, 0])
            rows[key] = [a + b for a, b in zip(before, (finding.planted, finding.reported, finding.right), strict=True)]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["planted", "reported", "right"])
        table.index = pd.MultiIndex.from_tuples(table.index, names=["corpus", "fault", "by"])
        for name, base in (("precision", "reported"), ("recall", "planted")):
            table[name] = [
                f"{(share := wilson(right, n)).value:.2f} [{share.low:.2f}, {share.high:.2f}]" if n else "–"
                for right, n in zip(table["right"], table[base], strict=True)
            ]
        return table

    def save(self, folder: Path) -> Path:
        """Write ``<folder>/audit.json``, whole or not at all."""
        return runs.write_record(folder / "audit.json", self)

    @classmethod
    def load(cls, folder: Path | None = None) -> Audited:
        """The record that comes with the book, or the one in `folder`.

        Raises
        ------
        RunError
            If it is missing or damaged.
        """
        folder = folder or recorded_dir("evidence") or Path("book/results/evidence")
        return runs.read_record(cls, folder / "audit.json", "make it with: python -m genre_utils audit --record")


def halves(corpus: Corpus, folder: Path, half_s: float = HALF_S) -> Corpus:
    """Each clip's first and last `half_s` seconds as two clips: second excerpts whose truth is known.

    Excerpts of what is documented as one recording are one group with all their halves.

    Raises
    ------
    RunError
        If the halves would overlap.
    """
    import soundfile as sf

    from genre_utils.audio import load_audio

    if 2 * half_s > corpus.clip_s:
        raise RunError(f"two excerpts of {half_s:g} s do not fit into clips of {corpus.clip_s:g} s without a common part")
    song = {clip: group[0] for group in corpus.faults.get("same_recording", ()) for clip in group}
    clips, groups = [], {}
    for number, clip in enumerate(corpus):
        wave, rate_hz = load_audio(clip.path)
        samples = round(half_s * rate_hz)
        for k, part in enumerate((wave[:samples], wave[-samples:])):
            path = folder / clip.genre / f"{clip.genre}.{2 * number + k:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, part, rate_hz)
            clips.append(Clip(path.stem, path, clip.genre, clip.artist, clip.recording))
            groups.setdefault(song.get(clip.id, clip.id), []).append(path.stem)
    faults = {"same_recording": [tuple(group) for group in groups.values()]}
    return Corpus(f"{corpus.name}, halves", folder, tuple(clips), half_s, corpus.rate_hz, {}, faults, corpus.genres)


def findings(corpus: Corpus, sort: str, seed: int | None, *, progress: bool = True) -> list[Finding]:
    """The audit of `corpus` against its known faults, by sound alone and with the artists' names.

    Kinds of fault of which `corpus` has none known are left out.
    """
    report = audit(corpus, progress=progress)
    return [
        Finding(corpus=sort, seed=seed, kind=str(kind), names=names, **row[["planted", "reported", "right"]].astype(int))
        for names, table in (
            (False, score(report, corpus.faults)),
            (True, score(report.with_artists(corpus), corpus.faults)),
        )
        for kind, row in table.iterrows()
        if row["planted"] and (not names or kind in ("same recording", "mislabelled"))
    ]


def measure(profile, seeds: Sequence[int] = UNSEEN, real: Corpus | None = None, *, progress: bool = True) -> Audited:
    """Audit one synthetic corpus of `profile`'s size a seed, and the halves of the clips of `real`."""
    from tempfile import TemporaryDirectory

    from genre_utils.corpora import load_corpus

    found = []
    for seed in seeds:
        corpus = load_corpus(replace(profile, corpus_seed=seed), progress=progress)
        found += findings(corpus, SYNTHETIC, seed, progress=progress)
    if real is not None:
        with TemporaryDirectory() as folder:
            found += findings(halves(real, Path(folder)), HALVES, None, progress=progress)
    return Audited(**runs.origin(), findings=found)

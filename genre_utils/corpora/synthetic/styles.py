"""The written-down musical rules of the synthetic corpus: ten genres as tables a musician can read, ``data/styles.json``.

A drum pattern has one character for each sixteenth of a bar (sixteen, or in three-four twelve): ``X`` accent, ``x`` hit, ``o``
ghost note. Harmony has one chord a bar, repeated; a chord is ``semitones above the tonic : quality``. Chords and scales are
semitones. Programs are General MIDI numbers, counted from 0.
The rules condense what any primer on these styles says; none is copied from a recording.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from genre_utils.paths import package_data

TABLES = package_data("styles.json")
#: General-MIDI numbers of the drums.
KIT = {"kick": 36, "snare": 38, "stick": 37, "clap": 39, "hat": 42, "open hat": 46, "ride": 51, "crash": 49, "brush": 40,
       "low tom": 45, "tambourine": 54, "shaker": 70, "bongo": 60}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """The rules of one genre: alternatives, of which an artist settles on some, and ranges (lowest, highest).

    Names are those of the tables above and of the patterns in :mod:`genre_utils.corpora.synthetic.composer`.
    `tempo_bpm` counts quarter notes a minute; `swing` is the share of a beat that its first eighth takes (0.5 is
    straight, 0.67 a triplet shuffle); `lead_density` the share of the melody's possible onsets that sound; `drive` the
    saturation of the mix, `brightness_hz` the corner of its low-pass filter, `reverb` the share of reverberated sound;
    `dynamics` the spread of the loudness within a piece, as a share of full velocity; `neighbours` it borrows from.
    """

    tempo_bpm: tuple[float, float]
    drums: tuple[str, ...]
    kit: tuple[int, ...]
    bass: tuple[str, ...]
    bass_program: tuple[int, ...]
    comping: tuple[str, ...]
    comp_program: tuple[int, ...]
    harmony: tuple[str, ...]
    scale: tuple[str, ...]
    lead_style: tuple[str, ...]
    lead_program: tuple[int, ...]
    lead_density: tuple[float, float]
    neighbours: tuple[str, ...]
    pad_program: tuple[int, ...] = ()
    metre: tuple[int, ...] = (4,)
    swing: tuple[float, float] = (0.5, 0.52)
    drive: tuple[float, float] = (0.0, 0.2)
    brightness_hz: tuple[float, float] = (6_000, 10_500)
    reverb: tuple[float, float] = (0.05, 0.2)
    dynamics: float = 0.12


def _read(table: dict) -> dict:
    """Lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}


_tables = json.loads(TABLES.read_text(encoding="utf-8"))
DRUMS = {name: {KIT[drum]: steps for drum, steps in pattern.items()} for name, pattern in _tables["drums"].items()}
QUALITIES, HARMONY, SCALES = (_read(_tables[name]) for name in ("chords", "harmony", "scales"))
STYLES = {genre: Style(**_read(rules)) for genre, rules in _tables["styles"].items()}

#: What a piece may borrow from a neighbouring genre, each independently.
BORROWABLE = ("tempo_bpm", "drums", "bass", "comping", "harmony", "lead", "production")

"""Compose short pieces from the rules in :mod:`genre_utils.corpora.synthetic.styles`.

An :class:`Artist` settles once on some of a genre's alternatives (and on what it borrows from neighbouring
genres); :func:`compose` then writes one piece of that artist as a list of :class:`Note`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from genre_utils.corpora.synthetic.styles import BORROWABLE, DRUMS, HARMONY, KIT, QUALITIES, SCALES, STYLES

DRUM_CHANNEL, BASS, COMP, LEAD, PAD = 9, 0, 1, 2, 3


class Note(NamedTuple):
    """One note: channel, MIDI pitch, start and length in seconds, velocity in (0, 1]."""

    channel: int
    pitch: int
    start_s: float
    length_s: float
    velocity: float


class Piece(NamedTuple):
    """Notes, the program of every channel, and the drum kit."""

    notes: tuple[Note, ...]
    programs: dict[int, int]
    kit: int


@dataclass(frozen=True)
class Artist:
    """A fictional artist: fixed choices of style and sound, from which single pieces stray a little."""

    name: str
    choices: dict
    production: dict


_FIRST = ("Velvet", "Copper", "Midnight", "Paper", "Amber", "Silver", "Hollow", "Golden", "Northern", "Crimson",
          "Electric", "Dusty", "Quiet", "Broken", "Marble", "Neon", "Salt", "Winter", "Cedar", "Iron")
_SECOND = ("Lanterns", "Harbour", "Foxes", "Parade", "Orchard", "Static", "Rivers", "Quartet", "Engine", "Saints",
           "Meridian", "Sparrows", "Thunder", "Atlas", "Mirrors", "Union", "Hounds", "Company", "Tides", "Circuit")
TITLES = ("Before the Rain", "Slow Train", "Nine Doors", "Glass Hill", "Borrowed Light", "The Long Way", "Ashes",
          "Second Street", "Blue Hour", "Weathervane", "Small Hours", "Runaway", "Old Machines", "Sundown", "Echo",
          "Paper Moon Road", "Kerosene", "Fault Line", "Open Water", "Last Call", "Seven Bridges", "Undertow")


def make_artist(genre: str, rng: np.random.Generator, *, borrow: float) -> Artist:
    """An artist of `genre` who takes each borrowable trait from a neighbouring genre with chance `borrow`."""
    own = STYLES[genre]
    borrowed = [trait for trait in BORROWABLE if rng.random() < borrow]
    source = {trait: STYLES[str(rng.choice(own.neighbours))] for trait in borrowed}

    def style(trait: str):
        return source.get(trait, own)

    def some(options: tuple, count: int = 2) -> list:
        picked = rng.choice(len(options), size=min(count, len(options)), replace=False)
        return [options[i] for i in sorted(picked)]

    low, high = style("tempo_bpm").tempo_bpm
    middle = rng.uniform(low, high)
    sound = style("production")
    choices = {
        "tempo_bpm": (max(low, middle * 0.9), min(high, middle * 1.1)),
        "metre": own.metre,
        "swing": rng.uniform(*style("drums").swing),
        "drums": some(style("drums").drums, 3),
        "kit": int(rng.choice(style("drums").kit)),
        "bass": some(style("bass").bass),
        "bass_program": int(rng.choice(style("bass").bass_program)),
        "comping": some(style("comping").comping),
        "comp_program": some(style("comping").comp_program, 3),
        "harmony": some(style("harmony").harmony),
        "scale": str(rng.choice(style("harmony").scale)),
        "lead_style": some(style("lead").lead_style),
        "lead_program": some(style("lead").lead_program, 3),
        "lead_density": rng.uniform(*style("lead").lead_density),
        "pad_program": int(rng.choice(own.pad_program)) if own.pad_program and rng.random() < 0.6 else None,
        "dynamics": own.dynamics,
        "keys": some(tuple(range(-5, 7)), 4),
        "balance": {channel: rng.uniform(0.75, 1.1) for channel in (BASS, COMP, LEAD, PAD, DRUM_CHANNEL)},
        "looseness_s": rng.uniform(0.003, 0.014),
    }
    production = {
        "drive": rng.uniform(*sound.drive),
        "brightness_hz": rng.uniform(*sound.brightness_hz),
        "reverb": rng.uniform(*sound.reverb),
        "tilt_db": rng.normal(0, 1.0),
        "noise_db": rng.uniform(-76, -56),
        "low_cut_hz": rng.uniform(25, 60),
        "crackle": rng.random() < {"blues": 0.2, "jazz": 0.15, "classical": 0.05, "country": 0.1}.get(genre, 0.02),
        "hum": rng.random() < 0.04,
    }
    name = f"The {rng.choice(_FIRST)} {rng.choice(_SECOND)}"
    return Artist(name, choices, production)


@dataclass
class _Score:
    """What the players share: the grid in time, the chords, the random generator, and the notes so far."""

    rng: np.random.Generator
    beat_s: float
    beats: int
    swing: float
    tonic: int
    chords: list[tuple[int, tuple[int, ...]]]
    looseness_s: float
    dynamics: float
    balance: dict[int, float]
    notes: list[Note] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return 4 * self.beats

    def time(self, bar: int, step: float) -> float:
        """Start of sixteenth `step` of `bar` in seconds; swing delays the second eighth of a beat."""
        beat, within = divmod(step / 4, 1.0)
        warped = within / 0.5 * self.swing if within <= 0.5 else self.swing + (within - 0.5) / 0.5 * (1 - self.swing)
        return (bar * self.beats + beat + warped) * self.beat_s

    def add(self, channel: int, pitch: int, bar: int, step: float, steps: float, velocity: float) -> None:
        start = self.time(bar, step) + self.rng.normal(0, self.looseness_s)
        loud = velocity * self.balance[channel] * (1 + self.rng.normal(0, self.dynamics))
        length = max(0.03, steps * self.beat_s / 4)
        pitch = int(min(max(pitch, 21), 108))
        self.notes.append(Note(channel, pitch, max(0.0, start), length, float(np.clip(loud, 0.05, 1.0))))

    def chord(self, bar: int) -> tuple[int, tuple[int, ...]]:
        root, quality = self.chords[bar % len(self.chords)]
        return self.tonic + root, quality


_VELOCITY = {"X": 0.92, "x": 0.68, "o": 0.38}


def _drums(score: _Score, bars: int, pattern: str) -> None:
    for bar in range(bars):
        fill = bar % 4 == 3 and score.rng.random() < 0.5
        for drum, row in DRUMS[pattern].items():
            for step, mark in enumerate(row[: score.steps]):
                if mark != "." and (drum == KIT["kick"] or not fill or step < score.steps - 4):
                    score.add(DRUM_CHANNEL, drum, bar, step, 1, _VELOCITY[mark])
        if fill and pattern != "none":
            for step in range(score.steps - 4, score.steps):
                score.add(DRUM_CHANNEL, int(score.rng.choice((38, 45, 48, 50))), bar, step, 1, 0.7)


#: Bass patterns: (step, length in sixteenths, interval above the root, velocity).
_BASS = {
    "none": [], "walking": [],  # walks from chord to chord, see _bass
    "pedal": [(0, 15, 0, 0.75)],
    "root-fifth": [(0, 7, 0, 0.85), (8, 7, 7, 0.8)],
    "root-8": [(s, 1.8, 0, 0.85) for s in range(0, 16, 2)],
    "root-16": [(s, 0.9, 0, 0.85) for s in range(16)],
    "octaves": [(s, 1.6, 12 * (s // 2 % 2), 0.85) for s in range(0, 16, 2)],
    "shuffle-walk": [(0, 2, 0, 0.9), (2, 1, 0, 0.7), (4, 2, 4, 0.85), (6, 1, 4, 0.7),
                     (8, 2, 7, 0.9), (10, 1, 7, 0.7), (12, 2, 9, 0.85), (14, 1, 10, 0.75)],
    "syncopated": [(0, 3, 0, 0.9), (3, 2, 0, 0.7), (6, 2, 7, 0.8), (10, 2, 12, 0.75), (12, 2, 10, 0.7)],
    "sparse-sub": [(0, 6, 0, 1.0), (7, 2, 0, 0.8), (10, 5, 3, 0.9)],
    "dub": [(4, 3, 0, 0.95), (7, 2, 0, 0.8), (10, 2, 7, 0.9), (12, 3, 3, 0.85)],
}


def _bass(score: _Score, bars: int, pattern: str, program: int) -> None:
    octave = 36 if program not in (42, 0) else 40
    for bar in range(bars):
        root, quality = score.chord(bar)
        base = octave + (root - octave) % 12
        if pattern == "walking":
            target = octave + (score.chord(bar + 1)[0] - octave) % 12
            line = [base, base + quality[1], base + quality[2], target + int(score.rng.choice((-1, 1)))]
            for beat in range(score.beats):
                score.add(BASS, line[beat % 4], bar, 4 * beat, 3.6, 0.85)
        for step, length, interval, velocity in _BASS[pattern]:
            if step < score.steps and score.rng.random() > 0.04:
                score.add(BASS, base + interval, bar, step, length, velocity)


#: Comping rhythms: (step, length in sixteenths, velocity); every chord note sounds at once.
_COMP = {
    "none": [],
    "pad": [(0, 15.5, 0.5)],
    "stabs": [(0, 1.5, 0.75), (6, 1.5, 0.7), (11, 1.5, 0.65)],
    "charleston": [(0, 3, 0.65), (6, 2, 0.6)],
    "offbeat": [(s, 1.2, 0.7) for s in (2, 6, 10, 14)],
    "skank": [(s, 1.0, 0.85) for s in (2, 6, 10, 14)],
    "bubble": [(s, 0.9, 0.6 if s % 4 else 0.45) for s in (2, 3, 6, 7, 10, 11, 14, 15)],
    "strum": [(0, 3, 0.75), (4, 1.5, 0.6), (6, 2, 0.65), (10, 2, 0.65), (12, 2, 0.7), (14, 1.5, 0.6)],
    "boom-chick": [(4, 2, 0.75), (12, 2, 0.75)],
    "shuffle-boogie": [(s, 1.8 if s % 4 == 0 else 1.0, 0.75 if s % 4 == 0 else 0.6) for s in range(0, 16, 2)],
    "funk-16": [(0, 0.8, 0.8), (3, 0.7, 0.6), (4, 0.7, 0.7), (6, 0.8, 0.75), (7, 0.6, 0.5), (10, 0.8, 0.75),
                (11, 0.6, 0.5), (14, 0.8, 0.75), (15, 0.6, 0.5)],
    "palm-mute": [(s, 0.8, 0.8) for s in range(0, 12, 2)] + [(12, 3.5, 0.95)],
    "gallop-chords": [(s + o, 0.7, v) for s in (0, 4, 8, 12) for o, v in ((0, 0.9), (2, 0.75), (3, 0.75))],
    "power-8": [(s, 1.7, 0.85) for s in range(0, 16, 2)],
    "loop-stab": [(0, 5, 0.7), (10, 4, 0.6)],
}
#: Broken chords: order of the chord's notes on successive steps of the given length.
_BROKEN = {"alberti": ((0, 2, 1, 2), 2), "arpeggio": ((0, 1, 2, 3, 2, 1), 2), "banjo-roll": ((0, 2, 3, 1, 2, 3), 1)}


def _comp(score: _Score, bars: int, pattern: str) -> None:
    for bar in range(bars):
        root, quality = score.chord(bar)
        base = 52 + (root - 52) % 12
        if pattern in ("palm-mute", "gallop-chords", "power-8"):
            base, quality = 40 + (root - 40) % 12, (0, 7, 12)
        if pattern in _BROKEN:
            order, every = _BROKEN[pattern]
            ladder = [base + q for q in quality] + [base + 12]
            for i, step in enumerate(range(0, score.steps, every)):
                score.add(COMP, ladder[order[i % len(order)] % len(ladder)], bar, step, every * 1.2, 0.62)
            continue
        for step, length, velocity in _COMP[pattern]:
            if step >= score.steps:
                continue
            if pattern == "shuffle-boogie":  # fifth and sixth in turn over the root: the boogie figure
                quality = (0, 9) if step % 8 in (4, 6) else (0, 7)
            for i, interval in enumerate(quality):
                drag = 0.06 * i if pattern in ("strum", "boom-chick") else 0.0
                score.add(COMP, base + interval, bar, step + drag, length, velocity)


#: Melody: grid in sixteenths, longest note in grid units, register, leap in scale degrees, repeats of the motif.
_LEAD = {
    "call-response": (2, 4, 67, 2, 0.3), "bends": (2, 6, 69, 2, 0.4), "runs": (1, 4, 72, 1, 0.2),
    "cantabile": (4, 4, 70, 2, 0.3), "twang": (2, 3, 66, 2, 0.5), "hook": (2, 3, 70, 2, 0.75),
    "riff": (2, 2, 57, 2, 0.85), "rap": (1, 2, 57, 0, 0.2), "bop": (2, 3, 69, 2, 0.1),
    "shred": (1, 2, 74, 1, 0.3), "scream": (4, 4, 62, 1, 0.4),
}


def _motif(score: _Score, style: str, density: float) -> list[tuple[int, int, float]]:
    """One bar of melody as (step, change of scale degree, length in steps)."""
    grid, longest, _, leap, _ = _LEAD[style]
    rng, motif = score.rng, []
    for step in range(0, score.steps, grid):
        if rng.random() < density * (1.25 if step % 4 == 0 else 0.9):
            move = int(rng.integers(-leap, leap + 1)) if leap else int(rng.random() < 0.15)
            motif.append((step, move, grid * float(rng.integers(1, longest + 1)) * 0.9))
    return motif


def _lead(score: _Score, bars: int, style: str, density: float, scale: tuple[int, ...]) -> None:
    _, _, register, _, repeats = _LEAD[style]
    rng, degree, motif = score.rng, 0, _motif(score, style, density)
    for bar in range(bars):
        if style == "call-response" and bar % 2 == 1 and rng.random() < 0.6:
            continue
        if rng.random() > repeats:
            motif = _motif(score, style, density)
        for position, (step, move, length) in enumerate(motif):
            degree = int(np.clip(degree + move, -4, 8))
            if style == "rap":
                degree = int(rng.integers(-1, 2))
            octave, index = divmod(degree, len(scale))
            pitch = register + (score.tonic - register) % 12 - 6 + scale[index] + 12 * octave
            until = motif[position + 1][0] if position + 1 < len(motif) else score.steps
            score.add(LEAD, pitch, bar, step, min(length, until - step), 0.85)
            if style == "bends" and rng.random() < 0.35:  # a grace note a tone below stands for the bend
                score.add(LEAD, pitch - 2, bar, max(0.0, step - 0.5), 0.5, 0.6)


def compose(artist: Artist, rng: np.random.Generator, length_s: float) -> Piece:
    """A piece of `artist`, at least `length_s` seconds long."""
    c = artist.choices
    tempo = rng.uniform(*sorted(c["tempo_bpm"]))
    beats = int(rng.choice(c["metre"]))
    tokens = [token.split(":") for token in HARMONY[str(rng.choice(c["harmony"]))].split()]
    chords = [(int(root), QUALITIES[quality]) for root, quality in tokens]
    turn = int(rng.integers(len(chords)))  # GTZAN's excerpts start anywhere in a piece
    score = _Score(
        rng=rng, beat_s=60 / tempo, beats=beats, tonic=60 + int(rng.choice(c["keys"])),
        chords=chords[turn:] + chords[:turn],
        **{name: c[name] for name in ("swing", "looseness_s", "dynamics", "balance")},
    )  # fmt: skip
    bars = int(np.ceil(length_s / (beats * score.beat_s))) + 1
    drums, bass, comping = (str(rng.choice(c[part])) for part in ("drums", "bass", "comping"))
    lead_style = str(rng.choice(c["lead_style"]))
    comp_program, lead_program = int(rng.choice(c["comp_program"])), int(rng.choice(c["lead_program"]))
    _drums(score, bars, drums)
    _bass(score, bars, bass, c["bass_program"])
    _comp(score, bars, comping)
    if rng.random() < 0.92:  # now and then an excerpt without its soloist or singer
        _lead(score, bars, lead_style, c["lead_density"], SCALES[c["scale"]])
    programs = {BASS: c["bass_program"], COMP: comp_program, LEAD: lead_program}
    if c["pad_program"] is not None:
        programs[PAD] = c["pad_program"]
        for bar in range(bars):
            root, quality = score.chord(bar)
            for interval in quality:
                score.add(PAD, 60 + (root - 60) % 12 + interval, bar, 0, score.steps - 0.5, 0.4)
    return Piece(tuple(sorted(score.notes, key=lambda n: n.start_s)), programs, c["kit"])

"""The written-down musical rules of the synthetic corpus: ten genres as tables a musician can read.

A drum pattern has one character for each sixteenth of a bar: ``X`` accent, ``x`` hit, ``o`` ghost note.
A chord is ``semitones above the tonic : quality``. Programs are General MIDI numbers, counted from 0.
The rules condense what any primer on these styles says; none is copied from a recording.
"""

from __future__ import annotations

from dataclasses import dataclass

KICK, SNARE, STICK, CLAP, HAT, OPEN_HAT, RIDE, CRASH, BRUSH = 36, 38, 37, 39, 42, 46, 51, 49, 40
TOM_LOW, TAMBOURINE, SHAKER, BONGO = 45, 54, 70, 60

#: Drum patterns: General-MIDI drum -> sixteen (or, in three-four, twelve) steps.
DRUMS: dict[str, dict[int, str]] = {
    "none": {},
    "shuffle": {KICK: "X.......X.x.....", SNARE: "....X.......X..o", RIDE: "X..xX..xX..xX..x"},
    "slow-blues": {KICK: "X.....x.X.......", SNARE: "....X.......X...", HAT: "X.xxX.xxX.xxX.xx"},
    "train": {KICK: "X...X...X...X...", SNARE: "o.oXo.oXo.oXo.oX", HAT: "..x...x...x...x."},
    "two-step": {KICK: "X.......X.......", STICK: "....X.......X...", HAT: "x.x.x.x.x.x.x.x."},
    "four-floor": {KICK: "X...X...X...X...", SNARE: "....X.......X...", OPEN_HAT: "..X...X...X...X.",
                   HAT: "x.x.x.x.x.x.x.x."},
    "four-floor-clap": {KICK: "X...X...X...X...", CLAP: "....X.......X...", HAT: "xxXxxxXxxxXxxxXx",
                        TAMBOURINE: "..x...x...x...x."},
    "boom-bap": {KICK: "X..x....x.X.....", SNARE: "....X.......X..o", HAT: "x.x.x.x.x.x.x.xx"},
    "trap": {KICK: "X.....x...X.....", CLAP: "........X.......", HAT: "x.xxx.x.xxxxx.x."},
    "breaks": {KICK: "X.x.......x..x..", SNARE: "....X..o.o..X..o", HAT: "x.x.x.x.x.x.x.x."},
    "swing-ride": {RIDE: "X...X..xX...X..x", HAT: "....x.......x...", KICK: "o...o...o...o...", SNARE: ".......o......o."},
    "brushes": {BRUSH: "o.o.X.o.o.o.X.o.", RIDE: "x...x..xx...x..x", KICK: "o.......o......."},
    "bossa": {KICK: "X..xX..xX..xX..x", STICK: "X..x..x...x..x..", HAT: "xxxxxxxxxxxxxxxx"},
    "double-kick": {KICK: "XxxxXxxxXxxxXxxx", SNARE: "....X.......X...", CRASH: "X...............", RIDE: "x.x.x.x.x.x.x.x."},
    "gallop": {KICK: "X.xxX.xxX.xxX.xx", SNARE: "....X.......X...", OPEN_HAT: "X...X...X...X..."},
    "thrash": {KICK: "X.x.X.x.X.x.X.x.", SNARE: "..X...X...X...X.", OPEN_HAT: "X...X...X...X..."},
    "pop": {KICK: "X.....x.X.......", SNARE: "....X.......X...", HAT: "x.x.x.x.x.x.x.x."},
    "pop-dance": {KICK: "X...X...X...X...", CLAP: "....X.......X...", HAT: "..x...x...x...x.", SHAKER: "xxxxxxxxxxxxxxxx"},
    "ballad": {KICK: "X.......x.......", STICK: "....X.......X...", HAT: "x...x...x...x..."},
    "one-drop": {KICK: "........X.......", STICK: "........X.......", HAT: "x.x.x.x.x.x.x.xx"},
    "steppers": {KICK: "X...X...X...X...", STICK: "........X.....o.", HAT: "..x...x...x..xx."},
    "rockers": {KICK: "X.......X...x...", SNARE: "........X.......", HAT: "x.x.x.x.x.x.x.x.", BONGO: "...x..x....x..x."},
    "rock": {KICK: "X.......X.x.....", SNARE: "....X.......X...", HAT: "X.x.X.x.X.x.X.x."},
    "rock-open": {KICK: "X.x.....X.x...x.", SNARE: "....X.......X...", OPEN_HAT: "X...X...X...X..."},
    "half-time": {KICK: "X.....x.......x.", SNARE: "........X.......", RIDE: "X...X...X...X..."},
    "timpani": {TOM_LOW: "X..............."},
}

#: Chord qualities in semitones.
QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7), "min": (0, 3, 7), "7": (0, 4, 7, 10), "9": (0, 4, 10, 14), "maj7": (0, 4, 7, 11),
    "6": (0, 4, 7, 9), "m7": (0, 3, 7, 10), "m9": (0, 3, 10, 14), "m7b5": (0, 3, 6, 10), "5": (0, 7, 12),
    "sus": (0, 5, 7),
}

#: Harmony: one chord a bar, repeated.
HARMONY: dict[str, str] = {
    "blues-12": "0:7 0:7 0:7 0:7 5:7 5:7 0:7 0:7 7:7 5:7 0:7 7:7",
    "blues-quick": "0:7 5:7 0:7 0:7 5:7 5:7 0:7 0:7 7:9 5:9 0:7 7:7",
    "blues-minor": "0:m7 0:m7 5:m7 0:m7 8:7 7:7 0:m7 7:7", "vamp-7": "0:7 0:7 5:7 0:7",
    "cadence": "0:maj 5:maj 7:7 0:maj 9:min 2:min 7:7 0:maj",
    "circle": "0:min 5:min 10:maj 3:maj 8:maj 2:m7b5 7:7 0:min",
    "pachelbel": "0:maj 7:maj 9:min 4:min 5:maj 0:maj 5:maj 7:maj",
    "country": "0:maj 0:maj 5:maj 0:maj 0:maj 7:maj 0:maj 0:maj",
    "country-2": "0:maj 5:maj 0:maj 7:7 0:maj 5:maj 7:7 0:maj", "disco-minor": "0:m7 5:m7 10:7 3:maj7",
    "disco-major": "0:maj7 9:m7 2:m7 7:7", "loop-2": "0:m9 8:maj7", "loop-1": "0:m7 0:m7 0:m7 3:maj",
    "two-five": "2:m7 7:7 0:maj7 0:6 2:m7 7:7 4:m7 9:7", "rhythm": "0:6 9:7 2:m7 7:7 4:m7 9:7 2:m7 7:7",
    "modal": "0:m7 0:m7 0:m7 0:m7 1:m7 1:m7 0:m7 0:m7", "metal-minor": "0:5 0:5 8:5 10:5",
    "phrygian": "0:5 1:5 0:5 3:5 0:5 1:5 10:5 8:5", "chromatic": "0:5 3:5 5:5 6:5",
    "axis": "0:maj 7:maj 9:min 5:maj", "axis-minor": "9:min 5:maj 0:maj 7:maj",
    "fifties": "0:maj 9:min 5:maj 7:maj", "reggae-two": "0:min 5:min 0:min 7:min",
    "reggae-major": "0:maj 2:min 0:maj 5:maj", "mixolydian": "0:maj 10:maj 5:maj 0:maj", "power": "0:5 0:5 5:5 7:5",
    "minor-rock": "0:min 10:maj 8:maj 10:maj",
}

#: Scales for the melody, in semitones above the tonic.
SCALES: dict[str, tuple[int, ...]] = {
    "blues": (0, 3, 5, 6, 7, 10), "major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10),
    "pentatonic": (0, 2, 4, 7, 9), "minor-pentatonic": (0, 3, 5, 7, 10), "dorian": (0, 2, 3, 5, 7, 9, 10),
    "bebop": (0, 2, 4, 5, 7, 9, 10, 11), "phrygian": (0, 1, 3, 5, 7, 8, 10),
}


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


STYLES: dict[str, Style] = {
    "blues": Style(
        tempo_bpm=(66, 126), swing=(0.6, 0.67), drums=("shuffle", "shuffle", "slow-blues"), kit=(0, 8),
        bass=("shuffle-walk", "root-fifth", "walking"), bass_program=(32, 33),
        comping=("shuffle-boogie", "shuffle-boogie", "stabs"), comp_program=(27, 0, 27),
        harmony=("blues-12", "blues-quick", "vamp-7", "blues-minor"), scale=("blues", "minor-pentatonic"),
        lead_style=("call-response", "bends"), lead_program=(22, 29, 22), lead_density=(0.3, 0.5),
        drive=(0.05, 0.35), brightness_hz=(3_000, 6_000), neighbours=("rock", "jazz", "country"),
    ),
    "classical": Style(
        tempo_bpm=(56, 140), metre=(4, 3), drums=("none", "none", "timpani"), kit=(48,),
        bass=("pedal", "none", "root-fifth"), bass_program=(43, 42, 0),
        comping=("alberti", "pad", "arpeggio"), comp_program=(0, 48, 6, 24, 46, 45),
        harmony=("cadence", "circle", "pachelbel"), scale=("major", "minor"),
        lead_style=("runs", "cantabile"), lead_program=(40, 0, 73, 68, 71, 42, 6, 60), lead_density=(0.4, 0.8),
        pad_program=(48, 49), drive=(0.0, 0.03), brightness_hz=(5_000, 10_000), reverb=(0.2, 0.45), dynamics=0.3,
        neighbours=("jazz", "pop"),
    ),
    "country": Style(
        tempo_bpm=(82, 148), swing=(0.5, 0.56), metre=(4, 4, 4, 3),
        drums=("train", "train", "two-step", "none"), kit=(0, 40),
        bass=("root-fifth", "root-fifth", "walking"), bass_program=(32, 33),
        comping=("boom-chick", "banjo-roll", "banjo-roll"), comp_program=(105, 25, 105),
        harmony=("country", "country-2", "fifties"), scale=("pentatonic", "major"),
        lead_style=("twang", "cantabile", "runs"), lead_program=(110, 110, 25), lead_density=(0.3, 0.55),
        drive=(0.0, 0.15), brightness_hz=(7_500, 10_500), neighbours=("rock", "blues", "pop"),
    ),
    "disco": Style(
        tempo_bpm=(106, 130), drums=("four-floor", "four-floor", "four-floor-clap"), kit=(0, 16, 8),
        bass=("octaves", "octaves", "syncopated"), bass_program=(33, 36),
        comping=("funk-16", "stabs", "offbeat"), comp_program=(28, 27, 7),
        harmony=("disco-minor", "disco-major", "axis-minor", "loop-2"), scale=("dorian", "pentatonic", "minor-pentatonic"),
        lead_style=("hook", "cantabile", "riff"), lead_program=(48, 61, 50, 53), lead_density=(0.25, 0.5),
        pad_program=(48, 50), drive=(0.05, 0.25), brightness_hz=(6_000, 10_500),
        neighbours=("pop", "hiphop", "rock", "reggae"),
    ),
    "hiphop": Style(
        tempo_bpm=(78, 108), swing=(0.5, 0.6), drums=("boom-bap", "trap", "breaks"), kit=(25, 25, 24),
        bass=("sparse-sub", "syncopated"), bass_program=(38, 39, 33, 32),
        comping=("loop-stab", "pad", "none"), comp_program=(4, 48, 11),
        harmony=("loop-2", "loop-1", "modal"), scale=("minor-pentatonic", "dorian"),
        lead_style=("rap", "rap", "riff"), lead_program=(85, 54, 53, 80), lead_density=(0.55, 0.85),
        drive=(0.15, 0.45), brightness_hz=(4_000, 9_500), reverb=(0.0, 0.1), neighbours=("reggae", "disco", "pop"),
    ),
    "jazz": Style(
        tempo_bpm=(92, 208), swing=(0.6, 0.68), metre=(4, 4, 4, 3),
        drums=("swing-ride", "brushes", "bossa", "none"), kit=(32, 40, 0),
        bass=("walking", "walking", "syncopated"), bass_program=(32,),
        comping=("charleston", "stabs", "pad"), comp_program=(0, 26, 0),
        harmony=("two-five", "rhythm", "modal", "blues-quick"), scale=("bebop", "dorian", "blues"),
        lead_style=("bop", "cantabile"), lead_program=(66, 65, 56, 59), lead_density=(0.45, 0.8),
        drive=(0.0, 0.1), brightness_hz=(4_000, 9_000), reverb=(0.1, 0.3), dynamics=0.2,
        neighbours=("blues", "classical", "hiphop"),
    ),
    "metal": Style(
        tempo_bpm=(112, 192), drums=("double-kick", "gallop", "thrash", "half-time"), kit=(16, 0, 8),
        bass=("root-8", "root-16"), bass_program=(34, 33),
        comping=("palm-mute", "gallop-chords", "power-8"), comp_program=(30, 30, 29),
        harmony=("metal-minor", "phrygian", "chromatic"), scale=("phrygian", "minor"),
        lead_style=("shred", "riff", "scream"), lead_program=(30, 29, 81, 84), lead_density=(0.3, 0.8),
        drive=(0.4, 0.9), brightness_hz=(6_000, 10_500), reverb=(0.02, 0.12), dynamics=0.05,
        neighbours=("rock", "rock", "hiphop"),
    ),
    "pop": Style(
        tempo_bpm=(84, 132), drums=("pop", "pop-dance", "ballad"), kit=(24, 24, 16),
        bass=("root-8", "syncopated", "pedal"), bass_program=(38, 39, 35),
        comping=("pad", "arpeggio", "strum", "stabs"), comp_program=(0, 4, 90),
        harmony=("axis", "axis-minor", "fifties"), scale=("major", "pentatonic"),
        lead_style=("hook", "cantabile"), lead_program=(52, 54, 80, 81), lead_density=(0.35, 0.6),
        pad_program=(89, 50, 51, 48), drive=(0.1, 0.3), brightness_hz=(7_500, 10_800), reverb=(0.1, 0.25),
        neighbours=("disco", "rock", "country", "hiphop"),
    ),
    "reggae": Style(
        tempo_bpm=(62, 98), swing=(0.5, 0.6), drums=("one-drop", "one-drop", "rockers", "steppers"), kit=(0, 8),
        bass=("dub", "syncopated"), bass_program=(33, 35, 32, 38),
        comping=("skank", "skank", "bubble"), comp_program=(16, 28, 17),
        harmony=("reggae-two", "reggae-major", "loop-1", "fifties"), scale=("minor-pentatonic", "dorian", "major"),
        lead_style=("cantabile", "hook", "call-response"), lead_program=(57, 61, 53), lead_density=(0.15, 0.3),
        pad_program=(16, 17), drive=(0.05, 0.2), brightness_hz=(4_000, 9_000), reverb=(0.1, 0.35),
        neighbours=("hiphop", "pop", "disco"),
    ),
    "rock": Style(
        tempo_bpm=(94, 156), swing=(0.5, 0.54), drums=("rock", "rock", "rock-open"), kit=(16, 8),
        bass=("root-8", "root-fifth", "syncopated"), bass_program=(34, 33),
        comping=("power-8", "power-8", "strum"), comp_program=(29, 29, 27),
        harmony=("power", "mixolydian", "minor-rock", "axis"), scale=("minor-pentatonic", "major", "blues"),
        lead_style=("riff", "bends", "hook"), lead_program=(29, 29, 27), lead_density=(0.25, 0.55),
        drive=(0.15, 0.5), brightness_hz=(5_500, 10_000), reverb=(0.04, 0.18),
        neighbours=("metal", "blues", "country", "pop"),
    ),
}

#: What a piece may borrow from a neighbouring genre, each independently.
BORROWABLE = ("tempo_bpm", "drums", "bass", "comping", "harmony", "lead", "production")

"""Play a composed piece with a General-MIDI SoundFont, and record it as an old record or a radio would sound."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from genre_utils.corpora.synthetic import composer
from genre_utils.errors import CorpusError

RATE_HZ = 22_050


def _soundfont() -> Path:
    spec = find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise CorpusError("the SoundFont TimGM6mb.sf2 is missing: reinstall it with `pip install pretty_midi`")
    return path


def render(piece: composer.Piece, start_s: float, length_s: float) -> np.ndarray:
    """Play `piece` from `start_s` on: mono float32, shape (n,), at 22,050 Hz."""
    try:
        import tinysoundfont
    except ImportError as error:
        raise CorpusError("rendering needs tinysoundfont: `pip install --no-deps tinysoundfont`") from error
    synth = tinysoundfont.Synth(samplerate=RATE_HZ, gain=-6.0)
    font = synth.sfload(str(_soundfont()))
    for channel, program in piece.programs.items():
        synth.program_select(channel, font, 0, program)
    synth.program_select(composer.DRUM_CHANNEL, font, 128, piece.kit, True)

    stop_s = start_s + length_s
    events = []
    for note in piece.notes:
        end_s = note.start_s + note.length_s
        if note.start_s < stop_s and end_s > start_s:
            events.append((max(note.start_s, start_s), 1, note))
            events.append((min(end_s, stop_s), 0, note))
    events.sort(key=lambda event: (event[0], event[1], event[2].channel, event[2].pitch))

    total = round(length_s * RATE_HZ)
    wave, done = np.zeros((total, 2), dtype=np.float32), 0
    for time_s, on, note in [*events, (stop_s, -1, None)]:
        until = min(total, round((time_s - start_s) * RATE_HZ))
        if until > done:
            block = np.frombuffer(bytes(synth.generate(until - done)), dtype=np.float32)
            wave[done:until] = block.reshape(-1, 2)
            done = until
        if on == 1:
            synth.noteon(note.channel, note.pitch, max(1, round(127 * note.velocity)))
        elif on == 0:
            synth.noteoff(note.channel, note.pitch)
    return wave.mean(axis=1)


def _filter(wave: np.ndarray, order: int, corner_hz: float | tuple[float, float], kind: str) -> np.ndarray:
    return sosfilt(butter(order, corner_hz, kind, fs=RATE_HZ, output="sos"), wave)


def produce(wave: np.ndarray, sound: dict, rng: np.random.Generator) -> np.ndarray:
    """Mix and record: reverb, saturation, tilt, band limits, hiss, hum, crackle; peak below full scale.

    `sound` holds the artist's production; every recording strays from it a little, as real ones do.
    """
    n = len(wave)
    wave = wave / (np.sqrt(np.mean(wave**2)) + 1e-9) * 0.1
    tail = np.arange(int(rng.uniform(0.3, 1.4) * RATE_HZ)) / RATE_HZ
    room = rng.standard_normal(len(tail)) * np.exp(-tail * 6.9 / tail[-1])
    wet = fftconvolve(wave, room / np.linalg.norm(room))[:n]
    share = float(np.clip(sound["reverb"] * rng.uniform(0.6, 1.5), 0, 0.6))
    wave = (1 - share) * wave + share * wet

    gain = 1 + 9 * float(np.clip(sound["drive"] * rng.uniform(0.7, 1.3), 0, 1))
    wave = np.tanh(wave * gain * 2) / (gain * 2) if sound["drive"] > 0.04 else wave
    low = _filter(wave, 1, 900, "low")
    tilt = 10 ** ((sound["tilt_db"] + rng.normal(0, 0.8)) / 20)
    wave = low + tilt * (wave - low)
    top = float(np.clip(sound["brightness_hz"] * rng.uniform(0.88, 1.08), 2_500, 10_900))
    wave = _filter(wave, 4, top, "low")
    wave = _filter(wave, 2, sound["low_cut_hz"], "high")

    wave = wave / (np.sqrt(np.mean(wave**2)) + 1e-9) * 0.1
    wave = wave + rng.standard_normal(n) * 0.1 * 10 ** ((sound["noise_db"] + rng.normal(0, 3)) / 20)
    if sound["hum"]:
        wave = wave + 0.002 * np.sin(2 * np.pi * 50 * np.arange(n) / RATE_HZ)
    if sound["crackle"]:
        clicks = (rng.random(n) < 12 / RATE_HZ) * rng.normal(0, 0.12, n)
        wave = wave + _filter(clicks, 1, (600, 5_000), "band")
    wave = wave * 10 ** (rng.uniform(-5, 5) / 20)
    peak = np.abs(wave).max()
    return (wave / max(1.0, peak / 0.97)).astype(np.float32)

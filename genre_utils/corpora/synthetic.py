"""The embedded corpus: GTZAN's layout, composed and rendered on this machine, with planted faults.

Ten genres follow the written-down rules of :mod:`genre_utils.corpora.styles`; fictional artists have a style
and a sound of their own; recordings are degraded as GTZAN's were. Replicas, second excerpts of one recording,
wrong labels and unusable files are planted with their truth table, so that the audit can be checked.
The notes are played by the SoundFont that ``pretty_midi`` carries (TimGM6mb by Tim Brechbill, GPL-2; it is
used where it is installed, not copied into the book).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile as sf
from joblib import Parallel, delayed
from scipy.signal import butter, fftconvolve, sosfilt
from tqdm.auto import tqdm

from genre_utils import paths
from genre_utils.corpora import Clip, Corpus, composer, styles
from genre_utils.errors import CorpusError
from genre_utils.profiles import GENRES

RATE_HZ = 22_050
#: Chance that an artist takes a trait from a neighbouring genre: what makes the corpus hard.
BORROW = 0.02
#: Planted faults as shares of the clips; GTZAN's own are 5 % exact replicas and 2 % further excerpts.
REPLICAS, SAME_RECORDING, MISLABELLED = 0.03, 0.02, 0.02


@dataclass(frozen=True)
class Plan:
    """How one clip comes about: everything that its bytes depend on."""

    id: str
    genre: str  # the folder, that is: the label
    artist: composer.Artist
    recording: str
    seed: tuple[int, ...]
    offset_s: float = 0.0
    copy: str = "none"  # "none", "exact", or "re-recorded": the same excerpt through another chain
    damage: str = "none"  # "none", "truncated" or "silent"


def _artist_sizes(n: int) -> list[int]:
    """Clips per artist: uneven, as in GTZAN (Bob Marley sings 35 of its 100 reggae clips)."""
    shares = 1 / (np.arange(26) + 3.0)  # the largest has about an eighth of the clips
    sizes = np.floor(shares / shares.sum() * n).astype(int)
    sizes[: n - sizes.sum()] += 1
    return [int(size) for size in sizes if size]


def plan_corpus(clips_per_genre: int, clip_s: float, seed: int) -> tuple[list[Plan], dict]:
    """The plan of every clip and the truth table of the planted faults."""
    plans: list[Plan] = []
    for g, genre in enumerate(GENRES):
        number = 0
        for a, size in enumerate(_artist_sizes(clips_per_genre)):
            artist = composer.make_artist(genre, np.random.default_rng([seed, g, a]), borrow=BORROW)
            artist = replace(artist, name=f"{artist.name} ({genre} {a + 1})")
            for _ in range(size):
                key = (seed, g, a, number)
                recording = f"{artist.name}: {composer.title(np.random.default_rng(key))}"
                plans.append(Plan(f"{genre}.{number:05d}", genre, artist, recording, key))
                number += 1
    return _plant_faults(plans, clip_s, np.random.default_rng([seed, 77]))


def _plant_faults(plans: list[Plan], clip_s: float, rng: np.random.Generator) -> tuple[list[Plan], dict]:
    by_id = {plan.id: plan for plan in plans}
    total = len(plans)
    count = {kind: max(1, round(share * total)) for kind, share in
             {"replicas": REPLICAS, "same": SAME_RECORDING, "mislabelled": MISLABELLED}.items()}
    free = [str(clip_id) for clip_id in rng.permutation(list(by_id))]
    faults: dict = {"replicas": [], "same_recording": [], "mislabelled": {}, "unusable": {}}

    def partner(plan: Plan) -> str | None:
        """A free clip of the same artist, else of the same genre, to be overwritten."""
        for same in (lambda p: p.artist == plan.artist, lambda p: p.genre == plan.genre):
            for clip_id in free:
                if same(by_id[clip_id]):
                    free.remove(clip_id)
                    return clip_id
        return None

    def double(kind: str, groups: list, **changes) -> None:
        original = by_id[free.pop()]
        if kind == "other label":  # GTZAN's metal.00058 is rock.00016
            neighbour = str(rng.choice(styles.STYLES[original.genre].neighbours))
            double_id = next((c for c in free if by_id[c].genre == neighbour), None)
            if double_id:
                free.remove(double_id)
        else:
            double_id = partner(original)
        if double_id is None:
            return
        label = by_id[double_id].genre
        by_id[double_id] = replace(original, id=double_id, genre=label, **changes)
        groups.append(sorted((original.id, double_id)))

    for number in range(count["replicas"]):
        kind = "other label" if number == 0 else "same label"
        double(kind, faults["replicas"], copy="exact" if number % 2 == 0 else "re-recorded")
    for _ in range(count["same"]):
        double("same label", faults["same_recording"], offset_s=clip_s + 3.0)
    for _ in range(count["mislabelled"]):
        plan = by_id[free.pop()]
        true = str(rng.choice([genre for genre in GENRES if genre != plan.genre]))
        other = composer.make_artist(true, np.random.default_rng([*plan.seed, 5]), borrow=0.0)
        by_id[plan.id] = replace(plan, artist=replace(other, name=f"{other.name} ({true}, misfiled)"))
        by_id[plan.id] = replace(by_id[plan.id], recording=f"{by_id[plan.id].artist.name}: Demo")
        faults["mislabelled"][plan.id] = true
    jazz = next((c for c in free if c.startswith("jazz.")), free[-1])  # in honour of GTZAN's jazz.00054
    reggae = next((c for c in free if c.startswith("reggae.")), free[-2])  # and of its reggae.00086
    by_id[jazz] = replace(by_id[jazz], damage="truncated")
    by_id[reggae] = replace(by_id[reggae], damage="silent")
    faults["unusable"] = {jazz: "truncated: the file ends after a fraction of a second",
                          reggae: "silent after its first seconds"}
    return [by_id[plan.id] for plan in plans], faults


# ---------------------------------------------------------------------------------------- sound


def _soundfont() -> Path:
    spec = find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise CorpusError("the SoundFont TimGM6mb.sf2 is missing: reinstall it with `pip install pretty_midi`")
    return path


def render(piece: composer.Piece, start_s: float, length_s: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Play `piece` from `start_s` on: mono float32, shape (round(length_s * rate_hz),)."""
    try:
        import tinysoundfont
    except ImportError as error:
        raise CorpusError("rendering needs tinysoundfont: `pip install --no-deps tinysoundfont`") from error
    synth = tinysoundfont.Synth(samplerate=rate_hz, gain=-6.0)
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

    total = round(length_s * rate_hz)
    wave, done = np.zeros((total, 2), dtype=np.float32), 0
    for time_s, on, note in [*events, (stop_s, -1, None)]:
        until = min(total, round((time_s - start_s) * rate_hz))
        if until > done:
            block = np.frombuffer(bytes(synth.generate(until - done)), dtype=np.float32)
            wave[done:until] = block.reshape(-1, 2)
            done = until
        if on == 1:
            synth.noteon(note.channel, note.pitch, max(1, round(127 * note.velocity)))
        elif on == 0:
            synth.noteoff(note.channel, note.pitch)
    return wave.mean(axis=1)


def _shape(wave: np.ndarray, sos: np.ndarray) -> np.ndarray:
    return sosfilt(sos, wave)


def produce(wave: np.ndarray, sound: dict, rng: np.random.Generator, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Mix and record: reverb, saturation, tilt, band limits, hiss, hum, crackle; peak below full scale.

    `sound` holds the artist's production; every recording strays from it a little, as real ones do.
    """
    n = len(wave)
    wave = wave / (np.sqrt(np.mean(wave**2)) + 1e-9) * 0.1
    tail = np.arange(int(rng.uniform(0.3, 1.4) * rate_hz)) / rate_hz
    room = rng.standard_normal(len(tail)) * np.exp(-tail * 6.9 / tail[-1])
    wet = fftconvolve(wave, room / np.linalg.norm(room))[:n]
    share = float(np.clip(sound["reverb"] * rng.uniform(0.6, 1.5), 0, 0.6))
    wave = (1 - share) * wave + share * wet

    gain = 1 + 9 * float(np.clip(sound["drive"] * rng.uniform(0.7, 1.3), 0, 1))
    wave = np.tanh(wave * gain * 2) / (gain * 2) if sound["drive"] > 0.04 else wave
    low = _shape(wave, butter(1, 900, "low", fs=rate_hz, output="sos"))
    tilt = 10 ** ((sound["tilt_db"] + rng.normal(0, 0.8)) / 20)
    wave = low + tilt * (wave - low)
    top = float(np.clip(sound["brightness_hz"] * rng.uniform(0.88, 1.08), 2_500, 10_900))
    wave = _shape(wave, butter(4, top, "low", fs=rate_hz, output="sos"))
    wave = _shape(wave, butter(2, sound["low_cut_hz"], "high", fs=rate_hz, output="sos"))

    wave = wave / (np.sqrt(np.mean(wave**2)) + 1e-9) * 0.1
    wave = wave + rng.standard_normal(n) * 0.1 * 10 ** ((sound["noise_db"] + rng.normal(0, 3)) / 20)
    if sound["hum"]:
        wave = wave + 0.002 * np.sin(2 * np.pi * 50 * np.arange(n) / rate_hz)
    if sound["crackle"]:
        clicks = (rng.random(n) < 12 / rate_hz) * rng.normal(0, 0.12, n)
        wave = wave + _shape(clicks, butter(1, (600, 5_000), "band", fs=rate_hz, output="sos"))
    wave = wave * 10 ** (rng.uniform(-5, 5) / 20)
    peak = np.abs(wave).max()
    return (wave / max(1.0, peak / 0.97)).astype(np.float32)


def clip_wave(plan: Plan, clip_s: float) -> np.ndarray:
    """The samples of one planned clip, float32 mono at 22,050 Hz."""
    piece = composer.compose(plan.artist, np.random.default_rng([*plan.seed, 1]), 2 * clip_s + 6)
    start_s = 1.5 + plan.offset_s + float(np.random.default_rng([*plan.seed, 2]).uniform(0, 1.2))
    if plan.copy == "re-recorded":
        start_s += 0.35  # another transfer of the same record starts a moment later
    chain = [*plan.seed, 3] + ([1] if plan.copy == "re-recorded" or plan.offset_s else [])
    wave = produce(render(piece, start_s, clip_s), plan.artist.production, np.random.default_rng(chain))
    if plan.damage == "silent":
        wave[round(0.2 * len(wave)):] *= 1e-5
    return wave


def _write(plan: Plan, clip_s: float, root: str) -> tuple[str, str]:
    """Render one clip to its file (atomically) and return its id and SHA-256."""
    path = Path(root) / plan.genre / f"{plan.id}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    sf.write(partial, clip_wave(plan, clip_s), RATE_HZ, subtype="PCM_16", format="WAV")
    if plan.damage == "truncated":
        with open(partial, "r+b") as file:  # the header still promises the whole clip
            file.truncate(44 + 2 * RATE_HZ // 4)
    os.replace(partial, path)
    return plan.id, hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------------------------------- corpus


def _recipe() -> str:
    """A digest of the rules and the renderer: a change of either makes a new corpus."""
    digest = hashlib.sha256()
    for module in (styles, composer):
        digest.update(Path(module.__file__).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:10]


def synthetic_corpus(
    clips_per_genre: int, clip_s: float, seed: int = 0, *, progress: bool = True, folder: Path | None = None
) -> Corpus:
    """Render (or find, if already rendered) the synthetic corpus.

    Parameters
    ----------
    clips_per_genre : int
    clip_s : float
        Length of every clip in seconds.
    seed : int
        The same seed gives the same bytes on one machine; another seed other artists and pieces.
    folder : Path, optional
        Where to keep it; below ``data/corpora`` otherwise.

    Returns
    -------
    Corpus
        Files ``<genre>/<genre>.NNNNN.wav``, 22,050 Hz mono PCM-16; the truncated file is excluded by name.

    Raises
    ------
    CorpusError
        If a file cannot be written; files already rendered are kept and used by the next call.
    """
    root = Path(folder) if folder else paths.corpora_dir() / (
        f"synthetic-{clips_per_genre}x{clip_s:g}s-seed{seed}-{_recipe()}"
    )
    plans, faults = plan_corpus(clips_per_genre, clip_s, seed)
    table = root / "checksums.json"
    known = json.loads(table.read_text()) if table.is_file() else {}

    def intact(plan: Plan) -> bool:
        path = root / plan.genre / f"{plan.id}.wav"
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == known.get(plan.id)

    missing = [plan for plan in plans if not intact(plan)]
    if missing:
        need = sum(round(clip_s * RATE_HZ) * 2 + 44 for _ in missing)
        try:
            root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(root).free
            if free < 1.1 * need:
                raise CorpusError(
                    f"rendering into {root} needs {need / 1e6:.0f} MB, {free / 1e6:.0f} MB are free: "
                    "free some space or set GENRE_UTILS_HOME to another disk"
                )
            jobs = Parallel(n_jobs=min(8, os.cpu_count() or 1), return_as="generator_unordered")(
                delayed(_write)(plan, clip_s, str(root)) for plan in missing
            )
            bar = tqdm(jobs, total=len(missing), desc="rendering clips", unit="clip", disable=not progress)
            try:
                for clip_id, digest in bar:
                    known[clip_id] = digest
            finally:  # whatever happens, the next call renders only what is missing
                partial = table.with_suffix(".part")
                partial.write_text(json.dumps(dict(sorted(known.items())), indent=0))
                os.replace(partial, table)
        except OSError as error:
            raise CorpusError(
                f"cannot write the synthetic corpus to {root}: {error.strerror or error}. "
                "Free some space or set GENRE_UTILS_HOME to another disk"
            ) from error

    excluded = {plan.id: faults["unusable"][plan.id] for plan in plans if plan.damage == "truncated"}
    clips = tuple(
        Clip(plan.id, root / plan.genre / f"{plan.id}.wav", plan.genre, plan.artist.name, plan.recording)
        for plan in plans
        if plan.id not in excluded
    )
    return Corpus("synthetic", root, clips, clip_s, RATE_HZ, excluded, faults)

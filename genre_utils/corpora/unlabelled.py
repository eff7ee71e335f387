"""Music without labels, to pre-train on: rendered by the book's own rules, or recorded and lying in a folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genre_utils.errors import AudioError, GenreError
from genre_utils.paths import cache_dir

RATE_HZ = 16_000
#: Names by which audio files are known; what is inside decides whether they can be used.
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".au", ".aiff", ".aif")


def _to_int16(wave: np.ndarray) -> np.ndarray:
    return np.clip(np.round(wave * 32767), -32768, 32767).astype(np.int16)


def render_unlabelled(
    n_clips: int,
    clip_s: float = 10.0,
    seed: int = 1_000,
    *,
    folder: Path | str | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Unlabelled music to pre-train on: synthetic clips of other artists than the corpus has, at 16 kHz.

    Parameters
    ----------
    n_clips : int
        Rounded up to a whole number of clips per genre; the labels are then thrown away.
    clip_s : float
        Length of a clip in seconds.
    seed : int
        Seed of the corpus; it must not be the seed of a profile's corpus, or the test clips would be among
        these.
    folder : path, optional
        Where the array is kept; the cache by default.

    Returns
    -------
    int16 memmap (clips, samples) at 16 kHz, in random order
    """
    from genre_utils.profiles import GENRES, PROFILES

    if seed in {profile.corpus_seed for profile in PROFILES.values()}:
        raise GenreError(
            f"seed {seed} renders a profile's own corpus: pre-train on another seed, for example 1000"
        )
    folder = Path(folder) if folder else cache_dir() / "unlabelled"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{n_clips}x{clip_s:g}s-seed{seed}.npy"
    if not path.is_file():
        import librosa
        import soundfile

        from genre_utils.corpora.synthetic import synthetic_corpus

        # Many seeds of 40 clips a genre rather than one large corpus: every seed brings new artists.
        per_genre, files = math.ceil(n_clips / len(GENRES)), []
        for part in range(math.ceil(per_genre / 40)):
            clips = min(40, per_genre - 40 * part)
            part_folder = folder / f"clips-seed{seed + part}-{clips}x{clip_s:g}s"
            corpus = synthetic_corpus(clips, clip_s, seed=seed + part, folder=part_folder, progress=progress)
            files += [clip.path for clip in corpus.clips]
        order = np.random.default_rng(seed).permutation(len(files))
        samples = round(clip_s * RATE_HZ)
        partial = path.with_suffix(".partial.npy")
        array = np.lib.format.open_memmap(partial, "w+", np.int16, (len(files), samples))
        for row, index in enumerate(tqdm(order, desc="resampling", unit="clip", disable=not progress)):
            wave, rate_hz = soundfile.read(files[index], dtype="float32")
            wave = librosa.resample(wave, orig_sr=rate_hz, target_sr=RATE_HZ)[:samples]
            array[row, : len(wave)] = _to_int16(wave)
        array.flush()
        del array
        os.replace(partial, path)
    return np.load(path, mmap_mode="r")


def recorded_unlabelled(
    folders: Sequence[Path | str], clip_s: float = 10.0, *, folder: Path | str | None = None, progress: bool = True
) -> np.ndarray:
    """Recorded music to pre-train on: every audio file below `folders`, cut into excerpts, at 16 kHz.

    The excerpts of a file follow each other and the files are in random order, so that the first rows, held out, come
    from other recordings than the rest. A rest shorter than `clip_s` and silent excerpts are dropped; a file that
    cannot be used is named in a warning.

    Parameters
    ----------
    folders : sequence of paths
        Searched with all that lies below them.
    clip_s : float
        Length of an excerpt in seconds.
    folder : path, optional
        Where the array is kept; the cache by default.

    Returns
    -------
    int16 memmap (excerpts, samples) at 16 kHz

    Raises
    ------
    GenreError
        If a folder does not exist, or none of them holds a usable file that is long enough.
    """
    roots = [Path(root).expanduser() for root in folders]
    for root in roots:
        if not root.is_dir():
            raise GenreError(f"{root} is no folder: give one that holds audio files")
    found = {file.resolve() for root in roots for file in root.rglob("*") if file.suffix.lower() in SUFFIXES}
    files = sorted(found)
    about = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    digest = hashlib.sha256(json.dumps([about, clip_s]).encode()).hexdigest()[:16]
    folder = Path(folder) if folder else cache_dir() / "unlabelled"
    folder.mkdir(parents=True, exist_ok=True)
    path, samples = folder / f"recorded-{clip_s:g}s-{digest}.i16", round(clip_s * RATE_HZ)
    if not path.is_file():
        partial = path.with_suffix(".partial")
        with partial.open("wb") as out:
            order = np.random.default_rng(0).permutation(len(files))
            for index in tqdm(order, desc="decoding", unit="file", disable=not progress):
                out.write(_excerpts(files[index], samples).tobytes())
        if partial.stat().st_size == 0:
            partial.unlink()
            raise GenreError(
                f"no usable audio of {clip_s:g} s in {', '.join(map(str, roots))} ({len(files)} audio files found): "
                "give folders with longer recordings"
            )
        os.replace(partial, path)
    return np.memmap(path, np.int16, "r").reshape(-1, samples)


def _excerpts(file: Path, samples: int) -> np.ndarray:
    """Whole excerpts of `file` that are not silent, int16 (k, samples); k is 0, with a warning, if it is unusable."""
    from genre_utils.audio import SILENT_PEAK, load_audio

    try:
        wave, _ = load_audio(file, rate_hz=RATE_HZ)
    except AudioError as error:
        warnings.warn(f"left out: {error}", stacklevel=2)
        return np.empty((0, samples), np.int16)
    rows = wave[: len(wave) // samples * samples].reshape(-1, samples)
    return _to_int16(rows[np.abs(rows).max(axis=1, initial=0) > SILENT_PEAK])

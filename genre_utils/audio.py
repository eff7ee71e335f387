"""Decode any audio file to mono float32 at a chosen rate, or raise an error a reader can act on."""

from __future__ import annotations

import hashlib
import io
import os
from functools import lru_cache
from pathlib import Path

import librosa
import numpy as np
import soundfile as sf

from genre_utils.errors import AudioError

#: Below this peak (full scale = 1) a whole file counts as silent: -80 dB, one to three steps of 16-bit audio.
SILENT_PEAK = 1e-4
#: Shorter recordings hold too little for one mel frame or one wav2vec 2.0 frame of context.
SHORTEST_S = 0.1
#: Sample rates that MPEG-1, -2 and -2.5 layer III define, in hertz.
MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def load_audio(
    path: str | Path, *, rate_hz: int | None = None, offset_s: float = 0.0, duration_s: float | None = None
) -> tuple[np.ndarray, int]:
    """Decode `path` (WAV, AU, FLAC, Ogg, MP3 and whatever else libsndfile reads) to one channel.

    Parameters
    ----------
    rate_hz : int, optional
        Resample to this rate; by default the file's own is kept.
    offset_s, duration_s : float, optional
        Read only this part of the file, in seconds. A file that ends earlier gives what there is.

    Returns
    -------
    wave : ndarray of float32, shape (n,)
        Mean of the channels, full scale = 1.
    rate_hz : int

    Raises
    ------
    AudioError
        If the file is missing, a folder, empty, not audio, holds less than 0.1 s of samples in the part
        asked for, holds NaN or infinite samples, or (when all of it is read) is silent. A cut file that still decodes
        is returned shortened: :mod:`genre_utils.experiments.audit` reports those.
    """
    path = Path(path)
    if offset_s < 0 or (duration_s is not None and duration_s <= 0):
        raise AudioError(f"cannot read {path} from {offset_s} s for {duration_s} s: use a start >= 0, length > 0")
    if not path.exists():
        raise AudioError(f"no such file: {path}. Check the spelling, or fetch or render the corpus again.")
    if path.is_dir():
        raise AudioError(f"{path} is a folder, not an audio file: name one file inside it.")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (zero bytes): its download or copy was cut short; get it again.")
    try:
        with sf.SoundFile(path) as file:
            own_hz = file.samplerate
            if offset_s:
                file.seek(min(round(offset_s * own_hz), file.frames))
            frames = -1 if duration_s is None else round(duration_s * own_hz)
            samples = file.read(frames, dtype="float32", always_2d=True)
    except PermissionError as error:
        raise AudioError(f"{path} may not be read: give yourself read permission on it.") from error
    except (sf.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(
            f"{path} cannot be decoded as audio ({str(error).split(': ', 1)[-1]}) "
            "Is it cut short, or another kind of file under an audio name? Get it again, or convert it to WAV."
        ) from error
    whole = not offset_s and duration_s is None
    if len(samples) < SHORTEST_S * own_hz:
        part = "it" if whole else f"the part from {offset_s:g} s on"
        raise AudioError(
            f"{path}: {part} holds {len(samples) / own_hz:.3f} s of audio, less than {SHORTEST_S} s. "
            "The file is cut short, or the part lies past its end."
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds NaN or infinite samples: export it again as 16-bit PCM.")
    if whole and np.abs(samples).max() < SILENT_PEAK:
        raise AudioError(f"{path} is silent from beginning to end: replace it, or leave the clip out by name.")
    rate_hz = rate_hz or own_hz
    return resample(samples.mean(axis=1, dtype=np.float32), own_hz, rate_hz), rate_hz


def resample(wave: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """`wave`, shape (..., n), at another positive rate: soxr's high-quality filter, along the last axis."""
    if from_hz <= 0 or to_hz <= 0:
        raise AudioError(f"cannot resample from {from_hz} Hz to {to_hz} Hz: rates must be positive")
    wave = np.asarray(wave, dtype=np.float32)
    if from_hz == to_hz:
        return wave
    return librosa.resample(wave, orig_sr=from_hz, target_sr=to_hz, res_type="soxr_hq").astype(np.float32)


def encode_mp3(wave: np.ndarray, rate_hz: int) -> bytes:
    """`wave`, shape (n,), full scale = 1, as a small MP3 file; an AudioError if it is empty or not finite.

    A rate the format does not define is resampled to the next one up.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not wave.size or not np.isfinite(wave).all():
        raise AudioError(f"a player needs one channel of finite samples, not an array of shape {wave.shape}")
    if rate_hz not in MP3_RATES_HZ:
        nearest = next((rate for rate in MP3_RATES_HZ if rate > rate_hz), MP3_RATES_HZ[-1])
        wave, rate_hz = resample(wave, rate_hz, nearest), nearest
    buffer, samples = io.BytesIO(), np.clip(wave, -1.0, 1.0)
    sf.write(buffer, samples, rate_hz, "MPEG_LAYER_III", format="MP3", compression_level=0.7, bitrate_mode="VARIABLE")
    return buffer.getvalue()


@lru_cache(maxsize=8192)
def _sha256(path: str, size: int, modified_ns: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file; remembered while its size and modification time stay the same."""
    status = os.stat(path)
    return _sha256(str(path), status.st_size, status.st_mtime_ns)

"""Decode any audio file to mono float32 at a chosen rate, or raise an error a reader can act on."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import count, takewhile
from pathlib import Path
from typing import IO

import audioread
import librosa
import numpy as np
import soundfile as sf

from genre_utils.errors import AudioError

#: Below this peak (full scale = 1) a whole file counts as silent: -80 dB, one to three steps of 16-bit audio.
SILENT_PEAK = 1e-4
#: Shorter recordings hold too little for one mel frame or one wav2vec 2.0 frame of context.
SHORTEST_S = 0.1
#: A file of more samples than this is thought not to know its length: they are counted.
LONGEST = 2**31
#: Sample rates that MPEG-1, -2 and -2.5 layer III define, in hertz.
MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


#: How files begin that are no sound: what they are, and what to do.
_KINDS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself: run `git lfs pull` where it came from"),
    (rb"\s*<(!doctype|html|\?xml)", "a web page (of a sign-in or an error, most often), not audio: get the file again"),
    (rb"\x00\x05\x16\x07", "what a Mac keeps beside a file: the sound is in the file without ._ before its name"),
    (rb"MThd", "MIDI: notes, not sound. Render it to WAV first"),
)
#: How files begin that need ffmpeg: M4A and MP4, WMA, AAC.
_FOR_FFMPEG = rb"....ftyp|\x30\x26\xb2\x75|\xff[\xf0\xf1\xf8\xf9]"


@contextmanager
def open_audio(path: str | Path) -> Iterator[sf.SoundFile]:
    """The file, ready to be read piece by piece: ``samplerate``, ``frames``, ``seek()``, ``read()``.

    What libsndfile does not read as it stands is mended (MP3 behind a padded tag, WAV whose recorder never wrote its
    length) or, where ffmpeg or the system can decode it, converted to a temporary file. Else an AudioError says why.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise AudioError(f"no such file: {path}. Check the spelling (a clip of a corpus: fetch or render it again).")
        if path.is_dir():
            raise AudioError(f"{path} is a folder, not an audio file: name one file inside it.")
        if not path.is_file():
            raise AudioError(f"{path} is a pipe or a device, not a file: save first what comes from it.")
        if path.stat().st_size == 0:
            raise AudioError(f"{path} is empty (zero bytes): its download or copy was cut short; get it again.")
        with ExitStack() as opened:
            try:
                # As bytes, for names that are not UTF-8; Windows has none.
                file = opened.enter_context(sf.SoundFile(os.fsencode(path) if os.name == "posix" else path))
                mended = _with_length(path) if not file.frames and file.format == "WAV" else None
                mended = _counted(file, opened) if file.frames > LONGEST else mended
            except sf.LibsndfileError:
                mended = _without_tag(path) or _converted(path, opened)
                if mended is None:
                    raise
            yield opened.enter_context(sf.SoundFile(mended)) if mended else file
    except PermissionError as error:
        raise AudioError(f"{path} may not be read: give yourself read permission on it.") from error
    except (sf.LibsndfileError, RuntimeError, OSError, MemoryError, audioread.DecodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise AudioError(f"no such file: {path} (the name is too long)") from error
        if isinstance(error, OSError) and error.errno == errno.EIO:
            raise AudioError(f"the disk or drive did not deliver {path}: try again, or copy it to this machine.") from error
        kind, said = what_it_is(path), str(error).split(": ", 1)[-1]
        why = "" if "regular file" in said else f" ({said.rstrip('.')})"  # what libsndfile says of any file that it does not know
        raise AudioError(
            f"{path} is {kind}" if kind else f"{path} cannot be decoded as audio{why}. "
            "Is it cut short, or another kind of file under an audio name? Get it again, or convert it to WAV."
        ) from error


def what_it_is(path: Path) -> str | None:
    """What a file is that is not read as audio, and what to do about it; None where its first bytes do not tell."""
    with path.open("rb") as file:
        head = file.read(64)
    if re.match(_FOR_FFMPEG, head, re.DOTALL) and not shutil.which("ffmpeg"):
        get_it = "install ffmpeg (apt-get, brew or conda install ffmpeg), or convert the file to WAV"
        return f"M4A, AAC or WMA, which takes ffmpeg to decode: {get_it}"
    return next((told for pattern, told in _KINDS if re.match(pattern, head, re.IGNORECASE)), None)


def _without_tag(path: Path) -> io.BytesIO | None:
    """An MP3 without the tag before it and the zeros that some programs leave after that."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return None
        file.seek(sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)), os.SEEK_CUR)
        return io.BytesIO(file.read().lstrip(b"\0"))


def _with_length(path: Path) -> io.BytesIO | None:
    """A WAV that says it has no samples, with the length that it has: its recorder lost power before writing that."""
    data = bytearray(path.read_bytes())
    start = data.find(b"data", 12) + 8
    if start < 8 or len(data) <= start:
        return None
    data[4:8], data[start - 4 : start] = (struct.pack("<I", min(n, 2**32 - 1)) for n in (len(data) - 8, len(data) - start))
    return io.BytesIO(data)


def _copied(blocks: Iterable[np.ndarray], rate_hz: int, channels: int, subtype: str, opened: ExitStack) -> IO[bytes]:
    """A temporary file of `blocks`, each (n, channels)."""
    copy = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  (the stack closes it)
    with sf.SoundFile(copy, "w", rate_hz, channels, subtype, format="W64", closefd=False) as target:
        for block in blocks:
            target.write(block)
    copy.seek(0)
    return copy


def _counted(file: sf.SoundFile, opened: ExitStack) -> IO[bytes]:
    """A temporary copy of a file that does not know its length, as a FLAC that was written into a pipe."""
    blocks = takewhile(len, (file.read(2**16, dtype="float32", always_2d=True) for _ in count()))
    return _copied(blocks, file.samplerate, file.channels, "FLOAT", opened)


def _converted(path: Path, opened: ExitStack) -> IO[bytes] | None:
    """A temporary copy of what another decoder of this machine makes of the file; None if there is none that can."""
    try:
        source = opened.enter_context(audioread.audio_open(os.fspath(path)))
    except (audioread.NoBackendError, EOFError, ValueError):
        return None
    blocks = (np.frombuffer(block, np.int16).reshape(-1, source.channels) for block in source)
    return _copied(blocks, source.samplerate, source.channels, "PCM_16", opened)


def to_mono(samples: np.ndarray) -> np.ndarray:
    """One channel, float32 (n,), of `samples` (n, channels): their mean, or where they cancel each other (one is wired
    the wrong way round) the loudest of them. Floats that were never scaled from 16 bits are."""
    wave = samples.mean(axis=1, dtype=np.float32)
    power = np.square(samples).mean(axis=0) if len(samples) else np.zeros(samples.shape[1])
    if samples.shape[1] > 1 and np.square(wave).mean() < 0.01 * power.max():
        wave = samples[:, power.argmax()]
    return wave / 32_768 if np.abs(wave).max(initial=0) > 100 else wave


def silent_share(wave: np.ndarray, rate_hz: int) -> float:
    """The share of `wave`, (n,), in which nothing is heard: 0 to 1, in pieces of 50 ms that hardly move."""
    pieces = wave[: max(1, len(wave) * 20 // rate_hz) * (rate_hz // 20)].reshape(-1, min(len(wave), rate_hz // 20) or 1)
    return float(np.mean(np.ptp(pieces, axis=1) < 2 * SILENT_PEAK)) if len(wave) else 1.0


def load_audio(
    path: str | Path, *, rate_hz: int | None = None, offset_s: float = 0.0, duration_s: float | None = None
) -> tuple[np.ndarray, int]:
    """Decode `path` (see :func:`open_audio`) to one channel (see :func:`to_mono`).

    Parameters
    ----------
    rate_hz : int, optional
        Resample to this rate; by default the file's own is kept.
    offset_s, duration_s : float, optional
        Read only this part of the file, in seconds. A file that ends earlier gives what there is.

    Returns
    -------
    wave : ndarray of float32, shape (n,)
        Full scale = 1.
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
    with open_audio(path) as file:
        own_hz = file.samplerate
        if offset_s:
            file.seek(min(round(offset_s * own_hz), file.frames))
        samples = file.read(-1 if duration_s is None else round(duration_s * own_hz), dtype="float32", always_2d=True)
    whole = not offset_s and duration_s is None
    if len(samples) < SHORTEST_S * own_hz:
        part = "it" if whole else f"the part from {offset_s:g} s on"
        raise AudioError(
            f"{path}: {part} holds {len(samples) / own_hz:.3f} s of audio, less than {SHORTEST_S} s. "
            "The file is cut short, or the part lies past its end."
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds NaN or infinite samples: export it again as 16-bit PCM.")
    wave = to_mono(samples)
    if whole and silent_share(wave, own_hz) == 1:
        raise AudioError(f"{path} is silent from beginning to end: replace it, or leave the clip out by name.")
    rate_hz = rate_hz or own_hz
    return resample(wave, own_hz, rate_hz), rate_hz


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
    sf.write(buffer, samples, rate_hz, "MPEG_LAYER_III", format="MP3", compression_level=0.8, bitrate_mode="VARIABLE")
    return buffer.getvalue()


@lru_cache(maxsize=8192)
def _sha256(path: str, size: int, modified_ns: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file; remembered while its size and modification time stay the same."""
    status = os.stat(path)
    return _sha256(str(path), status.st_size, status.st_mtime_ns)

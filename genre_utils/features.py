"""Mel-spectrograms, MFCC statistics and frozen backbone states, kept in a content-addressed cache."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from genre_utils.audio import file_sha256, load_audio
from genre_utils.cache import Cache
from genre_utils.corpora import Corpus
from genre_utils.device import cores, default_device, in_bf16
from genre_utils.profiles import Profile


@dataclass(frozen=True)
class MelSettings:
    """The study's mel-spectrogram: 128 bands of a 2048-sample window every 512 samples at 22,050 Hz."""

    rate_hz: int = 22_050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128

    def frames(self, samples: int) -> int:
        """Number of frames T of a wave of so many samples (centred frames)."""
        return 1 + samples // self.hop_length


MEL = MelSettings()

#: The 57 columns of GTZAN's public ``features_30_sec.csv``, in its order.
FEATURE_NAMES: tuple[str, ...] = (
    *(
        f"{name}_{moment}"
        for name in (
            "chroma_stft",
            "rms",
            "spectral_centroid",
            "spectral_bandwidth",
            "rolloff",
            "zero_crossing_rate",
            "harmony",
            "perceptr",
        )
        for moment in ("mean", "var")
    ),
    "tempo",
    *(f"mfcc{i}_{moment}" for i in range(1, 21) for moment in ("mean", "var")),
)


def mel_db(wave: np.ndarray, settings: MelSettings = MEL) -> np.ndarray:
    """Mel-spectrogram in decibels below the clip's own maximum (0 to -80 dB).

    Parameters
    ----------
    wave : ndarray, shape (n,)
        Samples at ``settings.rate_hz``.

    Returns
    -------
    ndarray of float32, shape (n_mels, T)
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=wave,
        sr=settings.rate_hz,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
    )
    return librosa.power_to_db(power, ref=np.max)


def unit_range(db: np.ndarray) -> np.ndarray:
    """`db` of one clip moved to [0, 1] by its own minimum and maximum; a flat one becomes zeros."""
    db = np.asarray(db, dtype=np.float32)
    low, high = db.min(), db.max()
    return (db - low) / (high - low) if high > low else np.zeros_like(db)


def mel_unit(wave: np.ndarray, settings: MelSettings = MEL) -> np.ndarray:
    """What the study's CNN sees: the decibel mel-spectrogram on [0, 1], float32, shape (n_mels, T)."""
    return unit_range(mel_db(wave, settings))


def _running_median(rows: np.ndarray, size: int) -> np.ndarray:
    """Median over `size` neighbours along the last axis, mirrored at the ends; shape kept.

    One 1-D pass over all rows laid end to end, each with its mirrored margins: SciPy filters 1-D arrays
    some twenty times faster than rows of a 2-D one.
    """
    from scipy.ndimage import median_filter

    margin = size // 2
    padded = np.pad(rows, ((0, 0), (margin, margin)), mode="symmetric")
    return median_filter(padded.ravel(), size=size).reshape(padded.shape)[:, margin:-margin]


def harmonic_percussive(
    wave: np.ndarray, spectrum: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic and percussive parts of `wave`, shape (n,) each: ``librosa.effects.hpss``, ten times faster.

    Median filters across time and across frequency, soft masks (Fitzgerald 2010, DAFx). `spectrum` is
    ``librosa.stft(wave)`` if it is at hand.
    """
    import librosa

    spectrum = librosa.stft(wave) if spectrum is None else spectrum
    magnitude = np.abs(spectrum)
    harmonic = _running_median(magnitude, 31)
    percussive = _running_median(np.ascontiguousarray(magnitude.T), 31).T
    mask = librosa.util.softmask(harmonic, percussive, power=2.0, split_zeros=True)
    tonal = librosa.istft(spectrum * mask, length=len(wave))
    return tonal, wave - tonal  # the two masks add up to 1, and so do the two parts


def clip_statistics(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """The 57 hand-crafted features :data:`FEATURE_NAMES` of one clip: means and variances over time.

    Parameters
    ----------
    wave : ndarray, shape (n,)
    rate_hz : int

    Returns
    -------
    ndarray of float64, shape (57,)

    Notes
    -----
    librosa's default settings with reflect padding (its default before 0.10): on whole clips this reproduces
    GTZAN's public ``features_30_sec.csv``.
    """
    import librosa
    from librosa.feature import rhythm

    spectrum = librosa.stft(wave, pad_mode="reflect")
    magnitude = np.abs(spectrum)
    harmonic, percussive = harmonic_percussive(wave, spectrum)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=rate_hz))
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=20)
    onsets = librosa.onset.onset_strength(S=mel, sr=rate_hz)
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=rate_hz)
    series = (
        librosa.feature.chroma_stft(S=magnitude**2, sr=rate_hz),
        librosa.feature.rms(y=wave, pad_mode="reflect"),
        centroid,
        librosa.feature.spectral_bandwidth(S=magnitude, sr=rate_hz, centroid=centroid),
        librosa.feature.spectral_rolloff(S=magnitude, sr=rate_hz),
        librosa.feature.zero_crossing_rate(wave),
        harmonic,
        percussive,
    )
    values = [moment for part in series for moment in (part.mean(), part.var())]
    values.append(float(np.ravel(rhythm.tempo(onset_envelope=onsets, sr=rate_hz))[0]))
    values.extend(moment for row in mfcc for moment in (row.mean(), row.var()))
    return np.array(values, dtype=np.float64)


# --- features of many clips ------------------------------------------------------------------------------


def fit_length(wave: np.ndarray, samples: int) -> np.ndarray:
    """`wave` cut to `samples`, or repeated from its beginning until it is that long.

    Repeating, not zero padding: GTZAN's clips differ by up to 0.1 s in length, by genre, and a silent tail
    would tell a classifier which.
    """
    return wave[:samples] if len(wave) >= samples else np.pad(wave, (0, samples - len(wave)), mode="wrap")


def _wave_of(path: Path, rate_hz: int, clip_s: float) -> np.ndarray:
    return fit_length(load_audio(path, rate_hz=rate_hz)[0], round(clip_s * rate_hz))


def _make_mel(path: Path, rate_hz: int, clip_s: float) -> np.ndarray:
    return mel_unit(_wave_of(path, rate_hz, clip_s), MelSettings(rate_hz=rate_hz))


def _make_wave(path: Path, rate_hz: int, clip_s: float) -> np.ndarray:
    # 16-bit, as the corpora themselves are: half the disk of float32, error below 2e-5 of full scale.
    return np.round(np.clip(_wave_of(path, rate_hz, clip_s), -1, 1) * 32767).astype(np.int16)


def _make_statistics(path: Path, rate_hz: int, clip_s: float) -> np.ndarray:
    return clip_statistics(_wave_of(path, rate_hz, clip_s), rate_hz)


def _quiet(make: Callable[..., np.ndarray], *arguments) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make(*arguments)


def cached_over_clips(
    kind: str,
    make: Callable[[Path, int, float], np.ndarray],
    corpus: Corpus,
    ids: Iterable[str],
    *,
    rate_hz: int,
    clip_s: float,
    settings: dict | None = None,
    progress: bool = True,
    n_jobs: int | None = None,
) -> Iterator[np.ndarray]:
    """``make(path, rate_hz, clip_s)`` of every clip, from the cache where it has it, else over all cores.

    Each clip is its own entry, stored as soon as it is made: an interrupted run continues where it stopped,
    and every split of a corpus shares the entries.
    """
    import librosa
    from tqdm import tqdm

    cache, ids = Cache(), list(ids)
    base = {
        "rate_hz": rate_hz,
        "clip_s": clip_s,
        "librosa": librosa.__version__,
        "version": 2,
        **(settings or {}),
    }
    paths = {clip_id: corpus[clip_id].path for clip_id in ids}
    keys = {clip_id: {**base, "sha256": file_sha256(path)} for clip_id, path in paths.items()}
    missing = [clip_id for clip_id in paths if not cache.path(kind, keys[clip_id]).is_file()]
    if missing:
        results = _parallel(make, [(paths[clip_id], rate_hz, clip_s) for clip_id in missing], n_jobs)
        bar = tqdm(results, total=len(missing), desc=kind, unit="clip", disable=not progress)
        for clip_id, array in zip(missing, bar, strict=True):
            cache.put(kind, keys[clip_id], array)
    # Read one at a time: the caller copies each into place, so a corpus is never in memory twice.
    for clip_id in ids:
        yield cache.get_or_make(kind, keys[clip_id], partial(_quiet, make, paths[clip_id], rate_hz, clip_s))


def _parallel(make: Callable, tasks: list[tuple], n_jobs: int | None):
    """Results of ``make(*task)`` in order, one at a time; over processes when that pays for starting them."""
    n_jobs = n_jobs or cores()
    if n_jobs == 1 or len(tasks) < 48:
        return (_quiet(make, *task) for task in tasks)
    from joblib import Parallel, delayed, parallel_config

    # The first one here: librosa compiles on first use, and processes that write numba's cache together
    # can spoil it, so that each later one crashes (numba issue 10128).
    first = _quiet(make, *tasks[0])
    with parallel_config("loky", inner_max_num_threads=1):
        rest = Parallel(n_jobs=n_jobs, return_as="generator", batch_size=4)(
            delayed(_quiet)(make, *task) for task in tasks[1:]
        )
    return chain([first], rest)


def mels(corpus: Corpus, ids: Iterable[str], profile: Profile, *, progress: bool = True) -> np.ndarray:
    """The CNN's input for clips `ids`: float32 on [0, 1], shape (n, 1, 128, T).

    T is fixed by the profile's clip length (1292 for GTZAN's 30 s). Cached per clip.
    """
    ids = list(ids)
    settings = MelSettings(rate_hz=profile.mel_rate_hz)
    arrays = cached_over_clips(
        "mel",
        _make_mel,
        corpus,
        ids,
        rate_hz=profile.mel_rate_hz,
        clip_s=profile.clip_s,
        settings=asdict(settings),
        progress=progress,
    )
    frames = settings.frames(round(profile.clip_s * profile.mel_rate_hz))
    stacked = np.empty((len(ids), 1, settings.n_mels, frames), dtype=np.float32)
    for row, array in zip(stacked, arrays, strict=True):
        row[0] = array
    return stacked


def waves(
    corpus: Corpus, ids: Iterable[str], profile: Profile, rate_hz: int = 16_000, *, progress: bool = True
) -> np.ndarray:
    """Raw audio of clips `ids` at `rate_hz`: float32, full scale = 1, shape (n, clip_s * rate_hz). Cached.

    A profile that is not `resampled` gets the samples of GTZAN's own rate instead, whatever `rate_hz` says.
    """
    ids, rate_hz = list(ids), rate_hz if profile.resampled else profile.mel_rate_hz
    arrays = cached_over_clips(
        "wave", _make_wave, corpus, ids, rate_hz=rate_hz, clip_s=profile.clip_s, progress=progress
    )
    stacked = np.empty((len(ids), round(profile.clip_s * rate_hz)), dtype=np.float32)
    for row, array in zip(stacked, arrays, strict=True):
        np.multiply(array, np.float32(1 / 32767), out=row)
    return stacked


def statistics(corpus: Corpus, ids: Iterable[str], profile: Profile, *, progress: bool = True) -> np.ndarray:
    """:func:`clip_statistics` of clips `ids`: float64, shape (n, 57), columns FEATURE_NAMES. Cached."""
    ids = list(ids)
    arrays = cached_over_clips(
        "statistics",
        _make_statistics,
        corpus,
        ids,
        rate_hz=profile.mel_rate_hz,
        clip_s=profile.clip_s,
        progress=progress,
    )
    return np.array(list(arrays), dtype=np.float64).reshape(len(ids), len(FEATURE_NAMES))


def frozen_states(
    backbone,
    waves: np.ndarray,
    *,
    key: dict | None = None,
    window_s: float | None = None,
    batch_size: int | None = None,
    bf16: bool | None = None,
    device: str | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Each layer's hidden states of a frozen backbone, pooled over a clip's whole length.

    Parameters
    ----------
    backbone : genre_utils.models.wav2vec.Backbone
    waves : ndarray, shape (n, samples)
        Raw audio at ``backbone.rate_hz``.
    key : dict, optional
        Anything else the states depend on; it becomes part of the cache key. What is heard (the samples)
        and who hears (``backbone.fingerprint``) always are.
    window_s : float, optional
        Feed the clip in windows of this length, in seconds; the pooling is over all of them. A rest
        shorter than a window is dropped, unless it is all there is.
    batch_size : int, optional
        Windows per forward pass. By default 16 on a GPU, and 4 elsewhere: what more of them need does not fit a processor's
        cache, and each then takes up to twice as long.
    bf16 : bool, optional
        Compute under bfloat16 autocast (part of the key). By default where the hardware has it and gets it right.
    device : str, optional
        By default the GPU if there is one.

    Returns
    -------
    ndarray of float32, shape (n, layers + 1, 2 * hidden)
        Mean over time, then standard deviation over time.
    """
    import torch
    from tqdm import tqdm

    waves = np.ascontiguousarray(waves, dtype=np.float32)
    window = round(window_s * backbone.rate_hz) if window_s else waves.shape[1]
    window = min(window, waves.shape[1])
    device = device or default_device()
    batch_size = batch_size or (16 if device.startswith("cuda") else 4)
    bf16 = in_bf16(backbone, bf16, device)
    cache = Cache()
    base = {
        "backbone": str(backbone.fingerprint),
        "window": window,
        "bf16": bf16,
        "version": 1,
        "key": key or {},
    }
    keys = [{**base, "samples": hashlib.sha256(wave.tobytes()).hexdigest()} for wave in waves]
    made = [cache.get("frozen", entry) for entry in keys]
    missing = [i for i, array in enumerate(made) if array is None]
    per_clip = waves.shape[1] // window
    clips_at_once = max(1, batch_size // per_clip)
    if missing:
        backbone = backbone.to(device).eval()
    with tqdm(
        total=len(missing), desc="frozen states", unit="clip", disable=not (progress and missing)
    ) as bar:
        for start in range(0, len(missing), clips_at_once):
            chosen = missing[start : start + clips_at_once]
            heard = waves[chosen, : per_clip * window].reshape(-1, window)
            pooled = _pooled_states(backbone, torch.from_numpy(heard), len(chosen), batch_size, bf16, device)
            for i, array in zip(chosen, pooled, strict=True):
                cache.put("frozen", keys[i], array)
                made[i] = array
            bar.update(len(chosen))
    return (
        np.stack(made)
        if made
        else np.empty((0, backbone.num_layers + 1, 2 * backbone.hidden_size), np.float32)
    )


def _pooled_states(backbone, heard, n_clips: int, batch_size: int, bf16: bool, device: str) -> np.ndarray:
    """Mean and deviation over time of all windows of each clip: (n_clips * k, window) -> (n_clips, L, 2H)."""
    import torch

    first, second, frames = [], [], 0
    with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bf16):
        for batch in heard.split(batch_size):
            states = torch.stack([state.float() for state in backbone.hidden_states(batch.to(device))], dim=1)
            frames = states.shape[2]
            mean = states.mean(dim=2)
            first.append(mean)
            second.append((states - mean.unsqueeze(2)).square().mean(dim=2))
    means = torch.cat(first).unflatten(0, (n_clips, -1))  # (clips, windows, layers, hidden)
    variances = torch.cat(second).unflatten(0, (n_clips, -1))
    assert frames, "a window shorter than one frame"
    # All windows have the same number of frames, so the clip's variance is the mean of the windows'
    # variances plus the variance of their means.
    total = variances.mean(dim=1) + means.var(dim=1, unbiased=False)
    return torch.cat([means.mean(dim=1), total.sqrt()], dim=-1).cpu().numpy()

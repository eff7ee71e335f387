"""Mel-spectrograms, MFCC statistics and frozen backbone states, kept in a content-addressed cache."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import librosa
import numpy as np
from tqdm import tqdm

from genre_utils.audio import file_sha256, load_audio
from genre_utils.cache import Cache, Rows, rows
from genre_utils.corpora import Corpus
from genre_utils.device import cores, default_device, precision_of
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

_MOMENTS = ("mean", "var")
_SERIES = (
    "chroma_stft", "rms", "spectral_centroid", "spectral_bandwidth", "rolloff", "zero_crossing_rate", "harmony",
    "perceptr",
)  # fmt: skip
#: The 57 columns of GTZAN's public ``features_30_sec.csv``, in its order.
FEATURE_NAMES: tuple[str, ...] = (
    *(f"{name}_{moment}" for name in _SERIES for moment in _MOMENTS),
    "tempo",
    *(f"mfcc{i}_{moment}" for i in range(1, 21) for moment in _MOMENTS),
)


def mel_db(wave: np.ndarray, settings: MelSettings = MEL) -> np.ndarray:
    """Mel-spectrogram of `wave`, (n,), in decibels below its own maximum (0 to -80): float32, shape (n_mels, T)."""
    sizes = asdict(settings)
    power = librosa.feature.melspectrogram(y=wave, sr=sizes.pop("rate_hz"), **sizes)
    return librosa.power_to_db(power, ref=np.max)


def mel_unit(wave: np.ndarray, settings: MelSettings = MEL) -> np.ndarray:
    """What the study's CNN sees: the decibel mel-spectrogram moved to [0, 1] by its own minimum and maximum."""
    db = np.asarray(mel_db(wave, settings), dtype=np.float32)
    low, high = db.min(), db.max()
    return (db - low) / (high - low) if high > low else np.zeros_like(db)


def _running_median(rows: np.ndarray, size: int) -> np.ndarray:
    """Median over `size` neighbours along the last axis, mirrored at the ends."""
    from scipy.ndimage import median_filter

    # One pass over all rows laid end to end: SciPy filters 1-D arrays some twenty times faster than rows of a 2-D one.
    margin = size // 2
    padded = np.pad(rows, ((0, 0), (margin, margin)), mode="symmetric")
    return median_filter(padded.ravel(), size=size).reshape(padded.shape)[:, margin:-margin]


def harmonic_percussive(wave: np.ndarray, spectrum: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic and percussive parts of `wave`, shape (n,) each: ``librosa.effects.hpss``, ten times faster.

    Median filters and soft masks (Fitzgerald 2010, DAFx). `spectrum` is ``librosa.stft(wave)`` if it is at hand.
    """
    spectrum = librosa.stft(wave) if spectrum is None else spectrum
    magnitude = np.abs(spectrum)
    harmonic = _running_median(magnitude, 31)
    percussive = _running_median(np.ascontiguousarray(magnitude.T), 31).T
    mask = librosa.util.softmask(harmonic, percussive, power=2.0, split_zeros=True)
    tonal = librosa.istft(spectrum * mask, length=len(wave))
    return tonal, wave - tonal  # the two masks add up to 1, and so do the two parts


def clip_statistics(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """The 57 features :data:`FEATURE_NAMES` of `wave`, (n,): means and variances over time, float64, shape (57,).

    librosa's default settings with reflect padding (its default before 0.10): on whole clips this reproduces
    GTZAN's public ``features_30_sec.csv``.
    """
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
    """`wave` cut to `samples`, or repeated until it is that long.

    No zero padding: GTZAN's clips differ by up to 0.1 s, by genre, and a silent tail would tell a classifier which.
    """
    return wave[:samples] if len(wave) >= samples else np.pad(wave, (0, samples - len(wave)), mode="wrap")


def _mel(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    return mel_unit(wave, MelSettings(rate_hz))


def _int16(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """As the corpora themselves are: half the disk of float32, error below 2e-5 of full scale."""
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


def _of_clip(make: Callable[[np.ndarray, int], np.ndarray], path: Path, rate_hz: int, clip_s: float) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make(fit_length(load_audio(path, rate_hz=rate_hz)[0], round(clip_s * rate_hz)), rate_hz)


def _over_clips(
    kind: str, make: Callable[[np.ndarray, int], np.ndarray], corpus: Corpus, ids: list[str], rate_hz: int,
    clip_s: float, progress: bool, settings: dict | None = None,
) -> list[Callable[[], np.ndarray]]:  # fmt: skip
    """How to read ``make(wave, rate_hz)`` of each clip; what the cache lacks is made first, over all cores.

    Each clip is its own entry, stored as soon as it is made: an interrupted run continues where it stopped,
    and every split of a corpus shares the entries. Each is checked once, here; from then on it is a memory map.
    """
    cache = Cache()
    base = {"rate_hz": rate_hz, "clip_s": clip_s, "librosa": librosa.__version__, "version": 2, **(settings or {})}
    tasks = {clip: (make, corpus[clip].path, rate_hz, clip_s) for clip in ids}
    keys = {clip: {**base, "sha256": file_sha256(corpus[clip].path)} for clip in ids}
    missing = [clip for clip in tasks if cache.get(kind, keys[clip]) is None]
    not_kept = {}  # where the cache may only be read
    if missing:
        results = _parallel(_of_clip, [tasks[clip] for clip in missing])
        bar = tqdm(results, total=len(missing), desc=kind, unit="clip", disable=not progress)
        for clip, array in zip(missing, bar, strict=True):
            if not cache.put(kind, keys[clip], array):
                not_kept[clip] = array
    maps = (partial(np.load, cache.path(kind, keys[clip]), mmap_mode="r") for clip in ids)
    return [partial(np.asarray, not_kept[clip]) if clip in not_kept else stored for clip, stored in zip(ids, maps, strict=True)]


def _parallel(make: Callable, tasks: list[tuple]) -> Iterable:
    """Results of ``make(*task)`` in order, one at a time; over processes when that pays for starting them."""
    if cores() == 1 or len(tasks) < 48:
        return (make(*task) for task in tasks)
    from joblib import Parallel, delayed, parallel_config

    warnings.filterwarnings("ignore", "A worker stopped", UserWarning)  # one that has grown is replaced, which is as it should be
    # The first one here: librosa compiles on first use, and processes that write numba's cache together
    # can spoil it, so that each later one crashes (numba issue 10128).
    first = make(*tasks[0])
    with parallel_config("loky", inner_max_num_threads=1):
        parallel = Parallel(n_jobs=cores(), return_as="generator", batch_size=4)
        return chain([first], parallel(delayed(make)(*task) for task in tasks[1:]))


def mels(corpus: Corpus, ids: Iterable[str], profile: Profile, *, progress: bool = True) -> np.ndarray | Rows:
    """The CNN's input for clips `ids`: float32 on [0, 1], shape (n, 1, 128, T). Cached per clip.

    T is fixed by the profile's clip length (1292 for GTZAN's 30 s). Many clips stay on disk: :class:`genre_utils.cache.Rows`.
    """
    ids, settings = list(ids), MelSettings(profile.mel_rate_hz)
    kept = _over_clips("mel", _mel, corpus, ids, settings.rate_hz, profile.clip_s, progress, asdict(settings))
    shape = 1, settings.n_mels, settings.frames(round(profile.clip_s * settings.rate_hz))
    return rows(kept, shape)


def band_moments(mels: np.ndarray | Rows) -> np.ndarray:
    """Mean and deviation over time of each band of mel-spectrograms (n, 1, bands, T): shape (n, 2 * bands)."""
    return np.stack([np.concatenate([mel[0].mean(-1), mel[0].std(-1)]) for mel in mels])


def waves(
    corpus: Corpus, ids: Iterable[str], profile: Profile, rate_hz: int = 16_000, *, progress: bool = True
) -> np.ndarray | Rows:
    """Raw audio of clips `ids` at `rate_hz`: float32, full scale = 1, shape (n, clip_s * rate_hz). Cached.

    Many clips stay on disk: :class:`genre_utils.cache.Rows`. A profile that is not `resampled` gets the samples of GTZAN's
    own rate instead, whatever `rate_hz` says.
    """
    ids, rate_hz = list(ids), rate_hz if profile.resampled else profile.mel_rate_hz
    kept = _over_clips("wave", _int16, corpus, ids, rate_hz, profile.clip_s, progress)
    return rows(kept, (round(profile.clip_s * rate_hz),), 1 / 32767)


def statistics(corpus: Corpus, ids: Iterable[str], profile: Profile, *, progress: bool = True) -> np.ndarray:
    """:func:`clip_statistics` of clips `ids`: float64, shape (n, 57), columns FEATURE_NAMES. Cached."""
    ids = list(ids)
    kept = _over_clips("statistics", clip_statistics, corpus, ids, profile.mel_rate_hz, profile.clip_s, progress)
    return np.stack([read() for read in kept])


def _musicnn(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    from genre_utils.models.musicnn import FRAMES, hear

    means = [layer.mean(axis=0) for layer in hear(wave, 2 * FRAMES).values()]
    return np.stack([np.pad(mean, (0, max(map(len, means)) - len(mean))) for mean in means])


def musicnn_states(corpus: Corpus, ids: Iterable[str], profile: Profile, *, progress: bool = True) -> np.ndarray:
    """What MusiCNN says of clips `ids`, the mean over windows of 3 s, every 6 s: float32, shape (n, 3, 1506). Cached.

    The layers are those of :data:`genre_utils.models.musicnn.LAYERS`; behind the shorter ones stand zeros, which no
    classifier of standardised features sees.
    """
    return np.stack([read() for read in _over_clips("musicnn", _musicnn, corpus, list(ids), 16_000, profile.clip_s, progress)])


def frozen_states(backbone, waves: np.ndarray, *, window_s: float | None = None, progress: bool = True) -> np.ndarray:
    """Each layer's hidden states of a frozen backbone, pooled over a clip's whole length. Cached per clip.

    Parameters
    ----------
    backbone : genre_utils.models.wav2vec.Backbone
    waves : ndarray or Rows, shape (n, samples)
        Raw audio at ``backbone.rate_hz``.
    window_s : float, optional
        Feed the clip in windows of this length, in seconds; the pooling is over all of them. A rest
        shorter than a window is dropped, unless it is all there is.

    Returns
    -------
    ndarray of float32, shape (n, layers + 1, 2 * hidden)
        Mean over time, then standard deviation over time.
    """
    import torch

    window = min(round(window_s * backbone.rate_hz) if window_s else waves.shape[1], waves.shape[1])
    device = default_device()
    # What more windows a forward pass need does not fit a processor's cache: each then takes up to twice as long.
    batch_size = 16 if device == "cuda" else 4
    bf16 = precision_of(device, backbone) == "bf16"
    cache = Cache()
    base = {"backbone": str(backbone.fingerprint), "window": window, "bf16": bf16, "version": 1, "key": {}}
    keys = [{**base, "samples": hashlib.sha256(np.asarray(wave, np.float32).tobytes()).hexdigest()} for wave in waves]
    made = [cache.get("frozen", key) for key in keys]
    missing = [i for i, array in enumerate(made) if array is None]
    per_clip = waves.shape[1] // window
    clips_at_once = max(1, batch_size // per_clip)
    if missing:
        backbone = backbone.to(device).eval()
    with tqdm(total=len(missing), desc="frozen states", unit="clip", disable=not (progress and missing)) as bar:
        for start in range(0, len(missing), clips_at_once):
            chosen = missing[start : start + clips_at_once]
            heard = torch.from_numpy(np.asarray(waves[chosen, : per_clip * window], np.float32).reshape(-1, window))
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
                pooled = _pooled_states(backbone, heard.split(batch_size), len(chosen), device)
            for i, array in zip(chosen, pooled, strict=True):
                cache.put("frozen", keys[i], array)
                made[i] = array
            bar.update(len(chosen))
    return np.stack(made)


def _pooled_states(backbone, batches, n_clips: int, device: str) -> np.ndarray:
    """Mean and deviation over time of all windows of each clip: (n_clips * k, window) -> (n_clips, L, 2H)."""
    import torch

    first, second = [], []
    for batch in batches:
        states = torch.stack([state.float() for state in backbone.hidden_states(batch.to(device))], dim=1)
        mean = states.mean(dim=2)
        first.append(mean)
        second.append((states - mean.unsqueeze(2)).square().mean(dim=2))
    means = torch.cat(first).unflatten(0, (n_clips, -1))  # (clips, windows, layers, hidden)
    variances = torch.cat(second).unflatten(0, (n_clips, -1))
    # All windows have the same number of frames, so the clip's variance is the mean of the windows'
    # variances plus the variance of their means.
    total = variances.mean(dim=1) + means.var(dim=1, unbiased=False)
    return torch.cat([means.mean(dim=1), total.sqrt()], dim=-1).cpu().numpy()

"""Music without labels, to pre-train on: clips composed by the same rules as the corpus, of other artists."""

from __future__ import annotations

import math

import numpy as np
from tqdm import tqdm

from genre_utils.audio import load_audio
from genre_utils.corpora.synthetic import synthetic_corpus
from genre_utils.profiles import GENRES

RATE_HZ = 16_000
#: Far from the seeds of the profiles' corpora, whose test clips must not be among these.
FIRST_SEED = 1_000


def render_unlabelled(n_clips: int, clip_s: float = 10.0, *, progress: bool = True) -> np.ndarray:
    """Clips of `clip_s` seconds to pre-train on: int16, shape (clips, samples), at 16 kHz, in random order.

    `n_clips` is rounded up to a whole number of clips per genre, less those that are planted as unusable. Clips
    already rendered are found again (see :func:`genre_utils.corpora.synthetic.synthetic_corpus`).
    """
    # Many seeds of 40 clips a genre rather than one large corpus: every seed brings new artists.
    per_genre, files = math.ceil(n_clips / len(GENRES)), []
    for part in range(math.ceil(per_genre / 40)):
        clips = min(40, per_genre - 40 * part)
        files += [clip.path for clip in synthetic_corpus(clips, clip_s, seed=FIRST_SEED + part, progress=progress)]
    order = np.random.default_rng(FIRST_SEED).permutation(len(files))
    waves = np.zeros((len(files), round(clip_s * RATE_HZ)), dtype=np.int16)
    for row, index in zip(waves, tqdm(order, desc="resampling", unit="clip", disable=not progress), strict=True):
        wave = load_audio(files[index], rate_hz=RATE_HZ)[0][: len(row)]
        row[: len(wave)] = np.clip(np.round(wave * 32767), -32768, 32767)
    return waves

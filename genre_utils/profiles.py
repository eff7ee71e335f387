"""Profiles: every size and hyper-parameter of a run, in one frozen dataclass. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

#: The ten genres of GTZAN, in the study's label order.
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


#: Splits that can be made of any corpus, and those that are lists of GTZAN's clips.
SPLITS, GTZAN_SPLITS = ("artist", "random"), ("filtered", "cnn", "wav2vec")


@dataclass(frozen=True)
class Training:
    """How one approach is trained.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate : float
        Peak rate, reached after the warm-up.
    warmup : float
        Fraction of all steps over which the rate rises from zero.
    schedule : {"linear", "constant_with_warmup"}
        What the rate does afterwards: fall to zero in a straight line, or stay.
    weight_decay : float
    patience : int
        Epochs without a better validation accuracy (of whole clips; of equals, the surer one) before training stops.
    window_s : float
        Length of the excerpts the model is fed, in seconds. A clip's score is the mean over its windows.
    optimizer : {"adamw", "muon"}
        See :class:`genre_utils.optimizers.Muon`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    window_s: float
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int = 10
    schedule: str = "linear"
    optimizer: str = "adamw"


@dataclass(frozen=True)
class Profile:
    """One world in which every chapter runs.

    Attributes
    ----------
    corpus : str
        ``synthetic``, ``gtzan-mini`` or ``gtzan``.
    clips_per_genre : int
    clip_s : float
        Nominal length of a clip in seconds; longer files are trimmed to it.
    split : str
        Name of the default split (see :mod:`genre_utils.splits`).
    backbone : str
        What :func:`genre_utils.models.wav2vec.load_backbone` takes: ``shipped`` (the book's own small wav2vec 2.0),
        a Hub name, a folder, a fairseq file.
    backbone_revision : str or None
        Pinned commit of a Hub backbone.
    cnn, head_only, full : Training
    corpus_seed, split_seed : int
        Fixed per profile: a run's ``seed`` changes the training alone, so that all seeds share one test set.
    resampled : bool
        Whether raw audio is resampled to the backbone's rate, or handed over at GTZAN's own.
    head : str or None
        Head of the wav2vec 2.0 models; None: the best on the validation clips.
    warm_head : bool
        Whether full fine-tuning starts with the head that was trained on the frozen backbone.
    frozen : {"encoder", None}
        What full fine-tuning leaves as it is.
    protocol : str
        What :func:`genre_utils.protocol.with_protocol` made of it.
    genres : tuple of str
        In label order; a run may take some of the ten.
    """

    name: str
    corpus: str
    clips_per_genre: int
    clip_s: float
    split: str
    backbone: str
    cnn: Training
    head_only: Training
    full: Training
    backbone_revision: str | None = None
    corpus_seed: int = 0
    split_seed: int = 0
    about: str = ""
    genres: tuple[str, ...] = field(default=GENRES)
    resampled: bool = True
    head: str | None = None
    warm_head: bool = True
    frozen: str | None = "encoder"
    protocol: str = "corrected"

    #: Sample rates of the two front ends, in hertz (GTZAN's own, and wav2vec 2.0's).
    mel_rate_hz: int = 22_050
    wave_rate_hz: int = 16_000


_MINI = Profile(
    name="mini",
    corpus="synthetic",
    clips_per_genre=60,
    clip_s=10.0,
    split="artist",
    backbone="shipped",
    cnn=Training(epochs=14, batch_size=16, learning_rate=1e-2, window_s=2.0, patience=14, optimizer="muon"),
    head_only=Training(epochs=60, batch_size=32, learning_rate=3e-3, window_s=5.0, patience=15),
    full=Training(epochs=4, batch_size=8, learning_rate=5e-4, window_s=3.0, patience=4),
    about="the synthetic corpus, rendered on this machine; it needs no network, GPU or data set",
)

PROFILES: dict[str, Profile] = {
    "mini": _MINI,
    "gtzan-mini": replace(
        _MINI,
        name="gtzan-mini",
        corpus="gtzan-mini",
        clips_per_genre=10,
        clip_s=30.0,
        cnn=Training(epochs=36, batch_size=16, learning_rate=2e-3, window_s=2.0, patience=36),
        about="real GTZAN clips, of the public mini subset of a hundred; for a CPU",
    ),
    "gtzan": Profile(
        name="gtzan",
        corpus="gtzan",
        clips_per_genre=100,
        clip_s=30.0,
        split="filtered",
        backbone="facebook/wav2vec2-base",
        backbone_revision="0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        cnn=Training(epochs=60, batch_size=16, learning_rate=1e-3, window_s=30.0, patience=12),
        head_only=Training(epochs=200, batch_size=64, learning_rate=1e-3, window_s=10.0, patience=25),
        full=Training(epochs=12, batch_size=8, learning_rate=3e-5, window_s=10.0, patience=4),
        about="GTZAN itself; with all of its clips and wav2vec2-base this is the replication, for one GPU",
    ),
}

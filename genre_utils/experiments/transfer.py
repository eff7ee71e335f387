"""Does it hold on real music? All of GTZAN that is at hand as sound, artists kept apart, every contestant of the book.

Four genres are complete in public copies of parts of GTZAN; of the other six there are a few clips.
"""

from __future__ import annotations

from collections.abc import Mapping

from genre_utils.corpora import load_corpus
from genre_utils.experiments.contest import Contestant, LayerProbe, Network, contest, of_artists
from genre_utils.experiments.material import COMPLETE, REAL_SOUND
from genre_utils.features import (
    MelSettings,
    band_moments,
    frozen_states,
    mels,
    musicnn_states,
    statistics,
    waves,
)
from genre_utils.models.svm import GRID, STRENGTHS, rbf_svm
from genre_utils.models.wav2vec import random_backbone
from genre_utils.records import CNN, FOUR, LOG_MEL, MUSICNN, RANDOM, SVM, Experiment

TEN = "all ten genres"


def measure(
    backbones: Mapping, seeds: int = 5, progress: bool = True, folds: int = 3, minutes: float | None = None
) -> Experiment:
    """Real clips: artist-grouped cross-validation; every clip is tested once a draw.

    Layers and penalties of the probes, and the SVM's settings, are tuned by grouped cross-validation inside the training
    side. The CNN trains from scratch; of each backbone the whole network is trained on, with a head that starts at random
    and nothing frozen, and so is the same network from random weights. Draws decide folds, weights, order and excerpts.
    """
    profile, corpus = REAL_SOUND, load_corpus(REAL_SOUND, progress=progress)
    about, like = (corpus, corpus.ids, profile), next(iter(backbones.values()))
    mel, wave = mels(*about, progress=progress), waves(*about, progress=progress)
    window = round(profile.full.window_s * profile.wave_rate_hz)
    frames = MelSettings(profile.mel_rate_hz).frames(round(profile.cnn.window_s * profile.mel_rate_hz))

    def probe(features, layers: int) -> Contestant:
        return Contestant(features, LayerProbe(), {"layer": list(range(layers)), "strength": list(STRENGTHS)})

    def states(backbone):
        return frozen_states(backbone, wave, window_s=profile.head_only.window_s, progress=progress)

    contestants = {
        SVM: Contestant(statistics(*about, progress=progress), rbf_svm(), GRID),
        LOG_MEL: probe(band_moments(mel)[:, None], 1),
        MUSICNN: probe(musicnn_states(*about, progress=progress), 3),
        **{name: probe(states(backbone), backbone.num_layers + 1) for name, backbone in backbones.items()},
        RANDOM: probe(lambda draw: states(random_backbone(draw, like=like)), like.num_layers + 1),
        CNN: Contestant(mel, Network(profile.cnn, frames)),
        **{tuned(name): Contestant(wave, Network(profile.full, window, start)) for name, start in backbones.items()},
        tuned(RANDOM): Contestant(wave, Network(profile.full, window, like, random=True)),
    }
    settings = {"cnn": vars(profile.cnn), "fine-tuning": vars(profile.full), "folds": folds}
    drawn = {FOUR: of_artists(corpus.of_genres(COMPLETE), folds), TEN: of_artists(corpus, folds)}
    asked = {"draws": seeds, "fixed": {}, "drawn": drawn, "apart": (FOUR, TEN), "minutes": minutes}
    return contest("transfer", corpus, contestants, **asked, progress=progress, backbones=backbones, settings=settings)


def tuned(name: str) -> str:
    """The contestant that is trained on from the weights of another."""
    return f"{name}, fine-tuned"

"""Every figure and audio player of the book.

Figure functions take plain arrays and rates, draw seconds and hertz, and return ``(fig, ax)`` with an alt
text; ``show(...)`` displays them with it.
"""

from genre_utils.plots.audio import (
    feature_map,
    genre_gallery,
    mel_and_scores,
    mel_filters,
    mel_spectrogram,
    scores_over_time,
    spectra,
    statistics_by_genre,
    waveform,
    waveform_and_mel,
    wrong_rate,
)
from genre_utils.plots.comparison import (
    accuracy_intervals,
    confusion,
    confusions,
    cost_accuracy,
    interval_slider,
    lead_intervals,
    mcnemar_grid,
    per_genre_bars,
    reliability,
    seeds_strip,
)
from genre_utils.plots.display import image_html, interactive, listen_and_look, player, players, show
from genre_utils.plots.leakage import leakage_bars, replica_pair, similarity_histogram, split_bars
from genre_utils.plots.learning import (
    data_efficiency,
    frozen_parts,
    learning_curves,
    learning_overlay,
    memory_bars,
    pretraining_curve,
    shares_over_steps,
)
from genre_utils.plots.listening import guessing_round, mistake_card
from genre_utils.plots.networks import (
    architecture,
    attention_distance,
    class_activation,
    codebook_usage,
    feature_maps,
    filter_grid,
    first_layer_filters,
    layer_probe,
    layer_weights,
    masked_mel,
    receptive_field,
    shapes_ledger,
    state_drift,
    temperature_curve,
)
from genre_utils.plots.style import APPROACH_COLOURS, APPROACH_LABELS, GENRE_COLOURS, alt_text, set_style

__all__ = [
    "APPROACH_COLOURS", "APPROACH_LABELS", "GENRE_COLOURS", "accuracy_intervals", "alt_text", "architecture",
    "attention_distance", "class_activation", "codebook_usage", "confusion", "confusions", "cost_accuracy",
    "data_efficiency", "feature_map", "feature_maps", "filter_grid", "first_layer_filters",
    "frozen_parts", "genre_gallery", "guessing_round", "image_html", "interactive", "interval_slider",
    "layer_probe", "layer_weights", "lead_intervals", "leakage_bars", "learning_curves",
    "learning_overlay", "listen_and_look", "masked_mel", "mcnemar_grid", "mel_and_scores",
    "mel_filters", "mel_spectrogram", "memory_bars", "mistake_card", "per_genre_bars", "player", "players",
    "pretraining_curve", "receptive_field", "reliability", "replica_pair", "scores_over_time", "seeds_strip",
    "set_style", "shapes_ledger", "shares_over_steps", "show", "similarity_histogram", "spectra", "split_bars",
    "state_drift", "statistics_by_genre", "temperature_curve", "waveform", "waveform_and_mel", "wrong_rate",
]  # fmt: skip

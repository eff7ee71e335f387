"""Every figure and audio player of the book.

Figure functions take plain arrays and rates, draw seconds and hertz, and return ``(fig, ax)`` with an alt
text; ``show(...)`` displays them with it.
"""
# ruff: noqa: I001 (several names a line)

from genre_utils.plots.audio import (
    feature_map, mel_filters, mel_gallery, scores_over_time, similarity_histogram, spectra, statistics_by_genre,
    waveform_and_mel, wrong_rate,
)  # fmt: skip
from genre_utils.plots.comparison import (
    accuracy_intervals, confusion, cost_accuracy, interval_slider, lead_intervals, leakage_bars, per_genre_bars,
)  # fmt: skip
from genre_utils.plots.display import image_html, interactive, listen_and_look, players, show
from genre_utils.plots.learning import (
    data_efficiency, frozen_parts, layer_bars, layer_probe, learning_curves, pretraining_curve, share_curves,
)  # fmt: skip
from genre_utils.plots.listening import guessing_round, mistake_card
from genre_utils.plots.networks import (
    architecture, class_activation, codebook_usage, filter_grid, first_layer_filters, masked_mel, receptive_field,
)  # fmt: skip
from genre_utils.plots.style import APPROACH_COLOURS, APPROACH_LABELS, GENRE_COLOURS, alt_text, set_style

__all__ = [
    "APPROACH_COLOURS", "APPROACH_LABELS", "GENRE_COLOURS", "accuracy_intervals", "alt_text", "architecture",
    "class_activation", "codebook_usage", "confusion", "cost_accuracy", "data_efficiency", "feature_map", "filter_grid",
    "first_layer_filters", "frozen_parts", "guessing_round", "image_html", "interactive", "interval_slider",
    "layer_bars", "layer_probe", "lead_intervals", "leakage_bars", "learning_curves", "listen_and_look", "masked_mel",
    "mel_filters", "mel_gallery", "mistake_card", "per_genre_bars", "players", "pretraining_curve", "receptive_field",
    "scores_over_time", "set_style", "share_curves", "show", "similarity_histogram", "spectra", "statistics_by_genre",
    "waveform_and_mel", "wrong_rate",
]  # fmt: skip

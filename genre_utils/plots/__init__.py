"""Every figure and audio player of the book.

Figure functions take plain arrays and rates, draw seconds and hertz, and return ``(fig, ax)`` with an alt
text; ``show(...)`` displays them with it.
"""
# ruff: noqa: F401, I001 (what chapters call, several names a line)

from genre_utils.plots.audio import (
    feature_map, first_layer_filters, mel_filters, mel_gallery, scores_over_time, spectra, statistics_by_genre,
    waveform_and_mel,
)  # fmt: skip
from genre_utils.plots.comparison import (
    accuracy_intervals, confusion, interval_curves, lead_intervals, learning_curves, per_genre_bars, share_curves,
)  # fmt: skip
from genre_utils.plots.display import figure_html, listen_and_look, players, show
from genre_utils.plots.listening import guessing_round
from genre_utils.plots.style import APPROACH_COLOURS, APPROACH_LABELS, GENRE_COLOURS, alt_text, set_style

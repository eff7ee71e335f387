"""Figures and sound as a notebook, Colab and the book show them.

A figure becomes a drawing inside the page (SVG): sharp at any size, its words are text, and what is dark in it takes the
colour of the page's own text, so that it can be read on a dark page too. Spectrograms in it stay pictures.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import sys
from collections.abc import Sequence

import matplotlib
import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image, features

from genre_utils.audio import encode_mp3
from genre_utils.plots.audio import waveform_and_mel
from genre_utils.plots.style import INK, alt_text, say

#: Pixels per inch of a spectrogram, and of the page that shows it: phones and retina screens gain.
DPI, _PAGE_DPI = 130, 100
_FIGURE, _CAPTION = "margin:0.5em 0;max-width:100%", "font-size:0.95em;margin:0.2em 0"


def _small(found: re.Match) -> str:
    """A picture inside a drawing as WebP, which every browser since 2020 shows, in a third of the space."""
    image, small = Image.open(io.BytesIO(base64.b64decode(found[1]))), io.BytesIO()
    image.save(small, format="webp", quality=60, method=6)
    return _data_uri(small.getvalue(), "image/webp")


def drawing(fig: Figure, alt: str) -> str:
    """`fig` as SVG that can stand in a page beside others, with `alt` as its description."""
    raw, salt = io.StringIO(), hashlib.sha256(alt.encode()).hexdigest()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        fig.savefig(raw, format="svg", dpi=DPI, transparent=True, metadata=nothing)
    svg = raw.getvalue()
    svg = svg[svg.index("<svg") :]
    used = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|\n *", "", svg.replace("\n<", "<").replace("\n", " "), flags=re.DOTALL)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "sans-serif", svg).replace(INK.lower(), "currentColor")
    svg = re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), svg)
    if features.check("webp"):
        svg = re.sub(r"data:image/png;base64,([\w+/=\s]+)", _small, svg)
    width, height = (f"{_PAGE_DPI * inch:.0f}" for inch in fig.get_size_inches())
    box = re.search(r'viewBox="[^"]*"', svg)[0]
    head = f'<svg role="img" aria-label="{html.escape(alt)}" width="{width}" height="{height}" {box} xmlns="http://www.w3.org/2000/svg" '
    head += 'xmlns:xlink="http://www.w3.org/1999/xlink" style="max-width:100%;height:auto">'
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)  # as it is: a backslash in `alt` means nothing else


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _alt(fig: Figure, alt: str | None) -> str:
    alt = " ".join((alt or alt_text(fig)).split())
    if not alt:
        raise ValueError('this figure has no alt text: say in one sentence what it shows, show(fig, alt="...")')
    return alt


def figure_html(fig: Figure | tuple, alt: str | None = None, caption: str | None = None) -> str:
    """An HTML ``<figure>`` with the drawing, its alt text and an optional visible caption."""
    fig = fig[0] if isinstance(fig, tuple) else fig
    text = f'<figcaption style="{_CAPTION}">{html.escape(caption)}</figcaption>' if caption else ""
    return f'<figure class="drawing" style="{_FIGURE}">{drawing(fig, _alt(fig, alt))}{text}</figure>'


def show(*figures: Figure | tuple, alt: str | None = None, caption: str | None = None) -> None:
    """Display a figure, or what a figure function returns, with a visible `caption` below it; several in a row that wraps.

    `alt` is one sentence for those who do not see the picture, by default the figure function's own; a ValueError if
    there is none.
    """
    shown = [fig[0] if isinstance(fig, tuple) else fig for fig in figures]
    content = "".join(figure_html(fig, alt, caption) for fig in shown)
    if len(shown) > 1:
        content = f'<div style="display:flex;flex-wrap:wrap;gap:0 1em" class="drawings">{content}</div>'
    pyplot = sys.modules.get("matplotlib.pyplot")
    for fig in shown:
        if pyplot is not None and getattr(fig, "number", None) is not None:
            pyplot.close(fig)  # the inline backend would show it again, without its alt text
    told = " ".join(say("figure", alt=_alt(fig, alt)) for fig in shown)
    display({"text/html": content, "text/plain": told}, raw=True)


def player_html(wave: np.ndarray, rate_hz: int, label: str, max_s: float = 5.0) -> str:
    """HTML of one audio player; see :func:`players`."""
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"expected a mono wave of shape (n,), not {wave.shape}")
    excerpt = wave[: int(max_s * rate_hz)]
    name = html.escape(label)
    return (
        f'<figure style="{_FIGURE};flex:1 1 14em;max-width:22em">'
        f'<figcaption style="{_CAPTION}">{say("player", name=name, seconds=len(excerpt) / rate_hz)}</figcaption>'
        f'<audio controls preload="metadata" aria-label="{name}" style="width:100%;min-width:12em" '
        f'src="{_data_uri(encode_mp3(excerpt, rate_hz), "audio/mpeg")}"></audio></figure>'
    )


def players(sounds: Sequence[tuple[np.ndarray, int, str]], max_s: float = 5.0) -> HTML:
    """A row of labelled players, at most 16 kB a second each; it wraps on a narrow screen, and none starts by itself.

    `sounds` are (wave, rate_hz, label): mono samples in [-1, 1], shape (n,); the first `max_s` seconds are kept.
    """
    row = "".join(player_html(wave, rate_hz, label, max_s) for wave, rate_hz, label in sounds)
    return HTML(f'<div style="display:flex;flex-wrap:wrap;gap:0.5em 1em">{row}</div>')


def listen_and_look(wave: np.ndarray, rate_hz: int, label: str, max_s: float = 5.0) -> HTML:
    """A player above the waveform and mel-spectrogram of the same `max_s` seconds."""
    excerpt = np.asarray(wave)[: int(max_s * rate_hz)]
    picture = figure_html(waveform_and_mel({label: excerpt}, rate_hz))
    return HTML(player_html(excerpt, rate_hz, label, max_s) + picture)

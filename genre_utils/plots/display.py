"""Figures and sound as a notebook, Colab and the book show them.

A figure becomes an HTML ``<img>`` that carries its alt text and its pixels. JupyterLab and myst-nb both drop
the ``alt`` metadata of a plain ``image/png`` output, and only HTML reads the same in every front end.
"""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Sequence

import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image, features

from genre_utils.audio import encode_mp3
from genre_utils.plots.audio import waveform_and_mel
from genre_utils.plots.style import alt_text

#: Pixels per inch of the stored image, and of the page that shows it: phones and retina screens gain.
DPI, _PAGE_DPI = 130, 100
_FIGURE, _CAPTION = "margin:0.5em 0;max-width:100%", "font-size:0.95em;margin:0.2em 0"
#: A PNG above this size holds a spectrogram, which WebP stores in half the space or less.
_PNG_BYTES = 50_000


def picture(fig: Figure) -> tuple[bytes, str]:
    """`fig` as a small image file, and its MIME type.

    Drawings become a PNG of at most 256 colours: a third of the usual size, and no visible difference.
    Spectrograms do not compress that way and become WebP, which every browser since 2020 shows.
    """
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=DPI)
    image = Image.open(raw).convert("RGB")
    drawing, photograph = io.BytesIO(), io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(drawing, format="png", optimize=True)
    if drawing.tell() <= _PNG_BYTES or not features.check("webp"):
        return drawing.getvalue(), "image/png"
    image.save(photograph, format="webp", quality=78, method=6)
    return photograph.getvalue(), "image/webp"


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _alt(fig: Figure, alt: str | None) -> str:
    alt = " ".join((alt or alt_text(fig)).split())
    if not alt:
        raise ValueError('this figure has no alt text: say in one sentence what it shows, show(fig, alt="...")')
    return alt


def image_html(fig: Figure | tuple, alt: str | None = None, caption: str | None = None) -> str:
    """An HTML ``<figure>`` with the picture, its alt text and an optional visible caption."""
    fig = fig[0] if isinstance(fig, tuple) else fig
    text = f'<figcaption style="{_CAPTION}">{html.escape(caption)}</figcaption>' if caption else ""
    shown = f'alt="{html.escape(_alt(fig, alt))}" width="{round(fig.get_figwidth() * _PAGE_DPI)}"'
    style = "max-width:100%;height:auto"
    return f'<figure style="{_FIGURE}"><img src="{_data_uri(*picture(fig))}" {shown} style="{style}">{text}</figure>'


def show(fig: Figure | tuple, alt: str | None = None, caption: str | None = None) -> None:
    """Display a figure, or what a figure function returns, with a visible `caption` below it.

    `alt` is one sentence for those who do not see the picture, by default the figure function's own; a ValueError if
    there is none.
    """
    content = image_html(fig, alt, caption)
    fig = fig[0] if isinstance(fig, tuple) else fig
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and getattr(fig, "number", None) is not None:
        pyplot.close(fig)  # the inline backend would show it again, without its alt text
    display({"text/html": content, "text/plain": f"Figure: {_alt(fig, alt)}"}, raw=True)


def player_html(wave: np.ndarray, rate_hz: int, label: str, max_s: float = 5.0) -> str:
    """HTML of one audio player; see :func:`players`."""
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"expected a mono wave of shape (n,), not {wave.shape}")
    excerpt = wave[: int(max_s * rate_hz)]
    name = html.escape(label)
    return (
        f'<figure style="{_FIGURE};flex:1 1 14em;max-width:22em">'
        f'<figcaption style="{_CAPTION}">{name} ({len(excerpt) / rate_hz:.1f} s)</figcaption>'
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
    picture = image_html(waveform_and_mel({label: excerpt}, rate_hz))
    return HTML(player_html(excerpt, rate_hz, label, max_s) + picture)

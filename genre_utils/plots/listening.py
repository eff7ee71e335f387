"""A guessing round in pure HTML.

It works in JupyterLab, in Colab and in the built book, asks no network and stores nothing. Where scripts do
not run, the sound and the answers are there all the same.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from genre_utils.evaluation import wilson
from genre_utils.paths import package_data
from genre_utils.plots.display import player_html
from genre_utils.plots.style import WORDS, label, say
from genre_utils.profiles import GENRES


def _interval(right: int, n: int) -> list[int]:
    score = wilson(right, n)
    return [round(100 * score.low), round(100 * score.high)]


def _answers(truth: Sequence[str], said: Mapping[str, Sequence[str]]) -> str:
    """The table of the answers: one row a clip, one column a model, its score and interval at the foot."""
    n, head, hits = len(truth), WORDS["guess_head"], {name: np.equal(guesses, truth) for name, guesses in said.items()}
    marked = {
        name: [f"{guess} {'✓' if hit else '✗'}" for guess, hit in zip(said[name], hits[name], strict=True)]
        for name in said
    }
    table = pd.DataFrame({head["label"]: truth} | marked, index=range(1, n + 1)).rename_axis(columns=head["clip"])
    right = [int(hit.sum()) for hit in hits.values()]
    table.loc[head["right"]] = ["", *(say("guess_right_of", right=k, n=n) for k in right)]
    ends = (dict(zip(("low", "high"), _interval(k, n), strict=True)) for k in right)
    table.loc[head["interval"]] = ["", *(say("guess_interval", **end) for end in ends)]
    return table.to_html(border=0)


def guessing_round(
    clips: Sequence[tuple[np.ndarray, int]], truth: Sequence[str], said: Mapping[str, Sequence[str]],
    genres: Sequence[str] = GENRES, max_s: float = 2.5,
) -> HTML:  # fmt: skip
    """A round of guessing against the models: hear a clip, press a genre, see who was right.

    At the end stand the listener's score and the models' on the same clips, each with Wilson's 95 % interval.

    Parameters
    ----------
    clips : sequence of (wave, rate_hz)
        The first `max_s` seconds of each are played. Their names are not shown: they often hold the genre.
    truth : sequence of str
        The label of each clip; a ValueError if it is none of the choices, `genres`.
    said : mapping of approach -> sequence of str
        What each model said of each clip; a ValueError if there is no clip or the lengths differ.
    """
    if not len(clips) or {len(truth), *map(len, said.values())} != {len(clips)}:
        raise ValueError("a round needs some clips, and for each its label and what every model said")
    if unknown := set(truth) - set(genres):
        raise ValueError(f"no button would be right for {', '.join(sorted(unknown))}")
    said = {label(approach): list(guesses) for approach, guesses in said.items()}
    table = [_interval(k, len(clips)) for k in range(len(clips) + 1)]
    data = {"genres": list(genres), "truth": list(truth), "said": said, "wilson": table}
    data["words"] = {name: words for name, words in WORDS.items() if name.startswith("guess_")}
    players = [player_html(wave, rate_hz, say("guess_clip", i=i), max_s) for i, (wave, rate_hz) in enumerate(clips, 1)]
    items = "".join(f"<li>{one}</li>" for one in players)
    style, script = (package_data(f"guessing.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return HTML(
        f'<section class="guessing-round" aria-label="{html.escape(say("guess_label", n=len(clips)))}" '
        f'data-answers="{html.escape(json.dumps(data, ensure_ascii=False))}"><style>{style}</style>'
        f'<ol>{items}</ol><p role="status" style="font-weight:600"></p>'
        f"<details><summary>{say('guess_answers')}</summary>{_answers(truth, said)}</details><script>{script}</script></section>"
    )

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
from genre_utils.plots.display import player_html
from genre_utils.plots.style import label
from genre_utils.profiles import GENRES

#: Puts buttons beside each clip, says after a guess who was right, and fills the column "you" of the table.
_GUESSING = """
document.querySelectorAll('.guessing-round:not([data-live])').forEach((round) => {
  round.dataset.live = '';
  const {genres, truth, said, wilson} = JSON.parse(round.dataset.answers);
  const status = round.querySelector('[role=status]'), n = truth.length, models = Object.keys(said);
  const mine = [...round.querySelectorAll('tr')].map((row, i) => {
    const cell = row.insertBefore(document.createElement(i ? 'td' : 'th'), row.children[2]);
    cell.textContent = i ? '–' : 'you';
    if (!i) cell.scope = 'col';
    return cell;
  }).slice(1);
  let guessed = 0, right = 0;
  const marked = (genre, i) => `${genre}\\u00a0${genre === truth[i] ? '✓' : '✗'}`;
  const score = (name) => said[name].filter((genre, i) => genre === truth[i]).length;
  const finish = () => {
    const [low, high] = wilson[right];
    mine[n].textContent = `${right} of ${n}`;
    mine[n + 1].textContent = `${low} to ${high} %`;
    const others = models.map((name) => `${name} ${score(name)}`).join(', ');
    status.textContent = `You named ${right} of ${n}; ${others}. ` +
      `Your 95 % interval reaches from ${low} to ${high} %: ${high - low} points. ` +
      'Half that width would take about four times as many clips.';
    round.querySelector('details').open = true;
  };
  round.querySelectorAll('li').forEach((clip, i) => {
    const choices = document.createElement('div'), verdict = document.createElement('p');
    choices.setAttribute('role', 'group');
    choices.setAttribute('aria-label', `Your guess for clip ${i + 1}`);
    verdict.tabIndex = -1;
    const guess = (genre) => {
      const hit = genre === truth[i];
      guessed += 1;
      right += hit;
      mine[i].textContent = marked(genre, i);
      verdict.textContent = `You said ${genre}: ${hit ? 'right' : `wrong, it is labelled ${truth[i]}`}. ` +
        models.map((name) => `${name}: ${marked(said[name][i], i)}`).join(', ');
      choices.replaceWith(verdict);
      verdict.focus({preventScroll: true});
      if (guessed === n) finish();
      else status.textContent = `${guessed} of ${n} clips guessed, ${right} right.`;
    };
    genres.forEach((genre) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = genre;
      button.addEventListener('click', () => guess(genre));
      choices.append(button);
    });
    clip.append(choices);
  });
});
"""

_ROUND_STYLE = """
.guessing-round ol { display: grid; gap: 1em 1.5em; list-style: none; margin: 0.5em 0; padding: 0.2em;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17em), 1fr)); }
.guessing-round li { margin: 0; }
.guessing-round li p { margin: 0.3em 0; }
.guessing-round button { background: transparent; border: 1px solid currentColor; border-radius: 0.3em;
  color: inherit; cursor: pointer; font: inherit; margin: 0 0.35em 0.35em 0; padding: 0.25em 0.6em; }
.guessing-round button:is(:hover, :focus-visible) { background: #0072b2; color: #fff; }
.guessing-round details { overflow-x: auto; }
.guessing-round table { font-size: 0.9em; }
.guessing-round :is(td, th) { padding: 0.2em 0.4em; text-align: left; white-space: nowrap; }
"""


def _interval(right: int, n: int) -> list[int]:
    score = wilson(right, n)
    return [round(100 * score.low), round(100 * score.high)]


def _answers(truth: Sequence[str], said: Mapping[str, Sequence[str]]) -> str:
    """The table of the answers: one row a clip, one column a model, its score and interval at the foot."""
    n, hits = len(truth), {name: np.equal(guesses, truth) for name, guesses in said.items()}
    marked = {
        name: [f"{guess} {'✓' if hit else '✗'}" for guess, hit in zip(said[name], hits[name], strict=True)]
        for name in said
    }
    table = pd.DataFrame({"label": truth} | marked, index=range(1, n + 1)).rename_axis(columns="clip")
    right = [int(hit.sum()) for hit in hits.values()]
    table.loc["right"] = ["", *(f"{k} of {n}" for k in right)]
    table.loc["95 % interval"] = ["", *("{} to {} %".format(*_interval(k, n)) for k in right)]
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
    players = [player_html(wave, rate_hz, f"Clip {i}", max_s) for i, (wave, rate_hz) in enumerate(clips, 1)]
    items = "".join(f"<li>{one}</li>" for one in players)
    return HTML(
        f'<section class="guessing-round" aria-label="Guess the genre of {len(clips)} clips" '
        f'data-answers="{html.escape(json.dumps(data, ensure_ascii=False))}"><style>{_ROUND_STYLE}</style>'
        f'<ol>{items}</ol><p role="status" style="font-weight:600"></p>'
        "<details><summary>The answers (open them after your last guess)</summary>"
        f"{_answers(truth, said)}</details><script>{_GUESSING}</script></section>"
    )

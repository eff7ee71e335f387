"""Commands for those who keep the book, and what all commands share: their options, and where they print."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from genre_utils.errors import RunError
from genre_utils.identity import OPTIONS, identity
from genre_utils.profiles import GTZAN_SPLITS, PROFILES, SPLITS

console = Console()
errors = Console(stderr=True)


def say(text: object, **style) -> None:
    """Print `text` as it is, in long lines."""
    console.print(str(text), markup=False, highlight=False, soft_wrap=True, **style)


#: Option -> what ``--help`` says of it.
RUN = {
    "profile": "One of: " + ", ".join(PROFILES) + ".",
    "seed": "Seed of the training (the split keeps its own).",
    "split": f"Instead of the profile's: {', '.join(SPLITS)}; of all of GTZAN also {', '.join(GTZAN_SPLITS)}.",
    "backbone": "Instead of the profile's: shipped, a folder, a fairseq .pt, or a Hub name (owner/name or "
    "owner/name@revision).",
    "protocol": "How chapters 4 and 5 train: corrected (the book's way), original (the study's), or some of the "
    "study's choices alone, as in rate,batch.",
    "genres": 'Some of the ten, as in "blues,jazz,rock"; all if empty.',
}


def run_options(*names: str, **defaults: str) -> Callable[[Callable], Callable]:
    """Give a command the options `names`, all of them if none is named, in place of its first parameter: that gets
    those with a value as a dictionary, which is what :func:`genre_utils.identity.identity` takes."""
    options = []
    for name in names or RUN:
        annotation, default = Annotated[str, typer.Option(help=RUN[name])], defaults.get(name, "")
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))

    def decorated(command: Callable) -> Callable:
        @functools.wraps(command)
        def with_options(**values):
            run = {option.name: values.pop(option.name) for option in options}
            return command({name: value for name, value in run.items() if value}, **values)

        own = inspect.signature(command, eval_str=True)
        with_options.__signature__ = own.replace(parameters=[*options, *list(own.parameters.values())[1:]])
        return with_options

    return decorated


app = typer.Typer()
fetch = typer.Typer(help="Get a corpus of real music.", no_args_is_help=True)
app.add_typer(fetch, name="fetch")


@fetch.command("gtzan-mini")
def fetch_gtzan_mini() -> None:
    """Download the public mini subset (100 clips, 120 MB), check it and unpack it into data/corpora/; where GTZAN_MINI_DIR
    names a folder, check that."""
    from genre_utils.corpora import gtzan

    named = os.environ.get("GTZAN_MINI_DIR")
    say(f"gtzan-mini is ready in {gtzan.gtzan_mini().root if named else gtzan.fetch_gtzan_mini(progress=console.is_terminal)}")


@fetch.command("gtzan")
def fetch_gtzan(
    mirror: Annotated[str, typer.Option(help="Data set of parquet files on the Hub, OWNER/NAME@COMMIT: tried last.")] = "",
) -> None:
    """Find all of GTZAN (folders of GTZAN_DIR, Kaggle, the Hub), decode every clip, and remember where it lies."""
    from genre_utils.corpora import fetch

    say(f"GTZAN is ready in {fetch.fetch_gtzan(mirror, progress=console.is_terminal, say=say)}")


#: What :mod:`genre_utils.experiments` can answer: about backbones, and by contests that grow.
ON_BACKBONES = ("labels", "protocol", "transfer")
CONTESTS = ("transfer", "classical", "pretraining-or-raw-audio", "windows")
QUESTIONS = (*ON_BACKBONES, *CONTESTS[1:])


@app.command()
def measure(
    question: Annotated[str, typer.Argument(help=", ".join(QUESTIONS))],
    backbone: Annotated[
        list[str] | None, typer.Option(help="Pre-trained contestant, NAME=PLACE; may be repeated (default: the shipped one).")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="How many (default: as many as in the book's record).")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no trial after so many; ask again to go on.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record (default: build/experiments).")] = None,
) -> None:
    """Answer one question with many seeds, and keep the answer as a record that the chapters can read.

    Trials of the questions with --minutes are written down one by one: what was interrupted goes on.
    """
    from importlib import import_module

    from genre_utils.paths import home

    if question not in QUESTIONS:
        raise RunError(f"there is no question {question!r}: ask one of {', '.join(QUESTIONS)}")
    module, options = import_module(f"genre_utils.experiments.{question.replace('-', '_')}"), {}
    if question in ON_BACKBONES:
        from genre_utils.experiments.material import contestants
        from genre_utils.records import PRE_TRAINED

        named = backbone or [f"{PRE_TRAINED}=shipped"]
        if wrong := [entry for entry in named if not all(entry.partition("="))]:
            raise RunError(f"--backbone takes NAME=PLACE, not {wrong[0]!r}")
        options["backbones"] = contestants(named)
    elif backbone:
        raise RunError(f"the question {question!r} has no backbone")
    if seeds is not None:
        options["seeds"] = seeds
    if question in CONTESTS:
        options["minutes"] = minutes
    elif minutes is not None:
        raise RunError(f"the question {question!r} is answered as a whole: without --minutes")
    found = module.measure(**options, progress=console.is_terminal)
    path = found.save((out or home() / "build" / "experiments") / f"{question}.json")
    for condition, name in sorted({(trial.condition, trial.contestant) for trial in found.trials}):
        say((f"{condition}: " if condition else "") + f"{name}: {found.accuracy(name, condition=condition)}")
    say(f"written to {path}")


@app.command()
@run_options("profile", "genres", profile="mini")
def audit(run: dict[str, str]) -> None:
    """Look for copies, wrong labels and unusable files among a profile's clips."""
    from genre_utils.corpora import load_corpus
    from genre_utils.experiments import audit as auditing

    corpus = load_corpus(identity(**run).profile, progress=console.is_terminal)
    report = auditing.audit(corpus, progress=console.is_terminal)
    found = report.frame()
    typer.echo(found.round(2).to_string(index=False) if len(found) else "Nothing found.")
    typer.echo(f"\nAgainst the faults that are known:\n{auditing.score(report, corpus.faults).round(2).to_string()}")


@app.command()
def results(
    profile: Annotated[str, typer.Option(help=RUN["profile"])] = "mini",
    write: Annotated[Path | None, typer.Option(help="Put it between the marks of this page.")] = None,
) -> None:
    """The results table of the README, from the committed run records in book/results/."""
    from genre_utils.publish.results import results_markdown
    from genre_utils.publish.run import book_root

    identity(profile)
    _publish(results_markdown(book_root() / "book" / "results" / profile), write)


def _publish(text: str, page: Path | None) -> None:
    """Show `text` (Markdown), or put it between the marks of `page`."""
    from genre_utils.publish.results import write_results

    if page is None:
        console.print(Markdown(text))
    else:
        say(f"{page}: {'updated' if write_results(page, text) else 'was up to date'}")


@app.command()
def ledger(
    files: Annotated[list[Path] | None, typer.Argument(help="Exported runs to judge as well as the recorded ones.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every column, as CSV.")] = False,
    write: Annotated[Path | None, typer.Option(help="Put it between the marks of this page.")] = None,
) -> None:
    """Each claim of the study: reported, found, how sure, and the verdict."""
    from genre_utils.comparison import comparisons, recorded_comparisons
    from genre_utils.publish.results import ledger_markdown, linked
    from genre_utils.records import read_cards
    from genre_utils.study import ledger as judged

    extra = [found for file in files or () for found in comparisons(read_cards(file), str(file))]
    table = judged.ledger([*recorded_comparisons(), *extra])
    if as_csv:
        typer.echo(table.to_csv(index=False), nl=False)
    else:
        _publish(ledger_markdown(table, linked if write else str), write)


@app.command()
@run_options("profile", *OPTIONS, profile="gtzan")
def export(
    run: dict[str, str],
    *,
    out: Annotated[Path | None, typer.Option(help="The file (default: RUN-DATE.json here).")] = None,
    schema: Annotated[Path | None, typer.Option(help="Only write the JSON schema of such files.")] = None,
) -> None:
    """Put the records of your run (all of its seeds) into one file, to be contributed to the ledger by pull request."""
    from genre_utils import records
    from genre_utils.comparison import command

    if schema is not None:
        schema.write_text(json.dumps(records.Bundle.model_json_schema(), indent=1) + "\n", encoding="utf-8")
        return
    wanted = identity(**run)
    cards = records.own_cards(wanted)
    if not cards:
        raise RunError(f"there is no record of the run ({wanted}), with any seed: run it first, for example with\n    {command(wanted)}")
    file = out or Path(f"{wanted.name()}-{max(card.created for card in cards)[:10]}.json")
    records.Bundle(cards=cards).save(file)
    for card in cards:
        say(card)
    say(f"Written to {file}. To contribute it, put it into book/results/contributed/ and open a pull request.")

"""The command line: ``python -m genre_utils`` (or ``genre-utils``). ``--help`` explains each command.

Exit codes: 0 done; 1 the work failed (a chapter, a page, a file); 2 the command or its surroundings are wrong;
130 interrupted. Heavy libraries are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from genre_utils.errors import GenreError, RunError, WorkFailed
from genre_utils.identity import CONCERNS, identity, last_run
from genre_utils.paths import absolute_places, made_folder
from genre_utils.profiles import GENRES
from genre_utils.publish import upkeep
from genre_utils.publish.upkeep import console, errors, run_options, say

app = typer.Typer(
    help="Run, build and use the replication book.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
@run_options()
def run(
    run: dict[str, str],
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from --seed on; chapter 6 then shows them all.")] = 1,
    chapters: Annotated[str, typer.Option(help='For example "1,2,4", "2-4"; all if empty.')] = "",
    side_by_side: Annotated[
        int, typer.Option(min=0, help="Chapters at a time, which share the cores (0: two, or one where there is a GPU).")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the executed notebooks.")] = None,
    records: Annotated[Path | None, typer.Option(help="Folder for copies of the run records, APPROACH-seedN.json.")] = None,
) -> None:
    """Run the chapters (papermill); executed notebooks go to build/chapters/RUN/. Chapter 6 alone takes up the last run."""
    from genre_utils.publish import run as book

    chosen = book.select_chapters(chapters, book.all_chapters())
    if not chosen:
        raise RunError(f"no notebook chapters/NN_*.ipynb in {book.book_root()}")
    wanted = last_run() if not run and [c.number for c in chosen] == [6] else identity(**run)
    for folder in filter(None, (out, records)):
        made_folder(folder)  # what cannot be written is said before an hour is spent
    say(wanted)
    began, made, workers = time.monotonic(), [], side_by_side or book.at_once()
    with book.no_process_stays():
        if workers > 1:
            book.prepare(wanted, chosen, progress=console.is_terminal)
        for one, some in book.seed_plan(chosen, wanted, seeds):
            if seeds > 1:
                console.print(f"[bold]seed {one.seed}[/bold]")
            folder = None if out is None else out if one == wanted else out / f"seed-{one.seed}"
            made += book.run_chapters(one, some, out=folder, workers=workers)
            if records is not None:
                book.copy_records(one, some, records)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    say(f"{len(made)} chapters in {minutes} min {seconds:02d} s; executed notebooks: {made[-1].parent}")


@app.command()
@run_options()
def build(
    run: dict[str, str],
    *,
    committed: Annotated[
        bool, typer.Option("--committed", help="Use the stored outputs of chapters/; run nothing.")
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print the book too, and offer it on every page (needs Chromium).")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the pages.")] = None,
) -> None:
    """Build the pages from the executed chapters of a run; any warning fails the build."""
    from genre_utils.publish.pages import build_book, has_address
    from genre_utils.publish.paper import browser

    if pdf:
        browser()  # if there is none, that is said before the pages are built
    wanted = identity(**run)
    with console.status("Jupyter Book builds the pages"):
        page, stored = build_book(wanted, committed=committed, paper=pdf, out=out)
    if not has_address():
        say("No buttons for Colab, Binder and GitHub: _config.yml does not say yet where the repository lies (OWNER).", style="dim")
    if stored:
        say("Shown with the outputs stored in the notebooks: " + ", ".join(stored))
    console.print(f"The book is ready. Open [bold]{escape(str(page))}[/bold]", highlight=False, soft_wrap=True)


@app.command()
@run_options()
def predict(
    run: dict[str, str],
    *,
    files: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.", readable=False)],
    top: Annotated[int, typer.Option(min=1, max=10, help="How many genres to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, machine-readable.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each file, approach and moment.")] = False,
    own: Annotated[bool, typer.Option("--own", help="Ask the models of your last run, or of the one that options name, too.")] = False,
) -> None:
    """Guess the genre of your own files: with a network that knows real music and, if it was on real music or you ask for
    them, with the models of your last run.

    WAV, FLAC, MP3, Ogg and Opus are read; M4A, WMA and AAC where ffmpeg is installed.
    """
    import warnings

    from rich.progress import track

    from genre_utils.publish.predict import load_models, predict_file, real_music, sound_files

    warnings.simplefilter("ignore")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv: choose one")
    wanted, models, found = identity(**run) if run else last_run(), real_music(), sound_files(files)
    composed = wanted.profile.corpus == "synthetic"
    with contextlib.nullcontext() if own or run else contextlib.suppress(RunError):
        models |= load_models(wanted) if own or run or not composed else {}
    heard = wanted if len(models) > 1 else identity()  # alone, the shipped network answers the same whatever ran last
    answers = []
    bar = {"console": errors, "transient": True, "disable": len(found) < 2 or not errors.is_terminal or (console.is_terminal and not (as_json or as_csv))}
    for file in track(found, "listening", **bar):
        try:
            answers.append({"file": str(file), **predict_file(file, models, heard.profile.clip_s, top=top)})
        except GenreError as error:
            answers.append({"file": str(file), "error": str(error)})
        if not (as_json or as_csv):
            _show_guesses(answers[-1], along=len(found) == 1)
    if as_json:
        about, asked = {name: model.learned_from for name, model in models.items()}, wanted.about if len(models) > 1 else None
        typer.echo(json.dumps({"run": asked, "models": about, "files": answers}, indent=2))
    elif as_csv:
        _write_csv(answers)
    else:
        for name, model in models.items():
            say(f"{name}: {model.learned_from}", style="dim")
        if len(models) > 1 and (missing := [name for name in CONCERNS if name not in {"musicnn", *models}]):
            say(f"Not asked, because this run has not trained them: {', '.join(missing)}.", style="dim")
        if composed and len(models) > 1:
            say(f"The models of the run ({wanted}) know composed music alone: of real music they tell little.", style="dim")
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _show_guesses(answer: dict, along: bool) -> None:
    if "error" in answer:
        errors.print(f"[red]{escape(answer['error'])}[/red]", highlight=False, soft_wrap=True)
        return
    table = Table(title=escape(answer["file"]), title_justify="left")
    table.add_column("Approach", overflow="fold")
    for place in range(1, 1 + max(len(g) for g in answer["guesses"].values())):
        table.add_column(f"{place}.", overflow="fold")
    for approach, guesses in answer["guesses"].items():
        table.add_row(approach, *(f"{g['genre']} {100 * g['probability']:.0f} %" for g in guesses))
    console.print(table)
    if along and len(answer["along"]) > 1:
        table = Table("From", *answer["guesses"], title="Along time", title_justify="left")
        for moment in answer["along"]:
            minutes, seconds = divmod(round(moment["start_s"]), 60)
            best = (max(moment[approach].items(), key=lambda one: one[1]) for approach in answer["guesses"])
            table.add_row(f"{minutes}:{seconds:02d}", *(f"{genre} {100 * share:.0f} %" for genre, share in best))
        console.print(table)
    if answer["tags"]:
        say("Tags: " + ", ".join(f"{tag} {100 * score:.0f} %" for tag, score in answer["tags"].items()))
    if answer["nearest"]:
        say(f"Nearest training clips, by the 57 statistics: {', '.join(answer['nearest'])}")
    for note in answer["notes"]:
        say(f"Note: {note}.")


def _write_csv(answers: list[dict]) -> None:
    import csv

    table = csv.DictWriter(sys.stdout, ["file", "approach", "start_s", *GENRES, "error"])
    table.writeheader()
    for answer in answers:
        if "error" in answer:
            table.writerow({"file": answer["file"], "error": answer["error"]})
        for moment in answer.get("along", ()):
            for approach in answer["guesses"]:
                about = {"file": answer["file"], "approach": approach, "start_s": moment["start_s"]}
                table.writerow(about | moment[approach])


@app.command()
def doctor() -> None:
    """Check this machine: versions, device, corpora, disk. Exits 1 if something is broken."""
    from genre_utils.publish.doctor import examine

    findings = examine()
    marks = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "broken": "[red]broken[/red]"}
    table = Table("", "What", Column("Found", overflow="fold"), Column("What to do", overflow="fold"))
    for finding in findings:
        table.add_row(marks[finding.level], finding.what, escape(finding.found), escape(finding.remedy))
    console.print(table)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)


app.add_typer(upkeep.app)


def main() -> None:
    """Entry point: errors a reader may meet become one message and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not stop the work
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    absolute_places()
    try:
        app()
    except (GenreError, OSError) as error:  # OSError: a page or folder that the command names
        errors.print(f"[red]Error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except WorkFailed as error:
        errors.print(f"[red]Failed:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == 130:  # what Typer makes of Ctrl-C
            errors.print("Interrupted. What had finished is kept; run the same command to go on.")
        raise

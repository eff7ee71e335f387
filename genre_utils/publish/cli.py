"""The command line: ``python -m genre_utils`` (or ``genre-utils``). ``--help`` explains each command.

Exit codes: 0 done; 1 the work failed (a chapter, a page, a file); 2 the command or its surroundings are wrong;
130 interrupted. Heavy libraries are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from genre_utils.errors import GenreError, RunError, WorkFailed
from genre_utils.identity import Identity, check_seed, identity, last_run
from genre_utils.profiles import GTZAN_SPLITS, PROFILES, SPLITS

app = typer.Typer(
    help="Run, build and use the replication book.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

ProfileOption = Annotated[str, typer.Option("--profile", help="One of: " + ", ".join(PROFILES) + ".")]
SeedOption = Annotated[str, typer.Option("--seed", help="Seed of the training (the split keeps its own).")]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        help=f"Instead of the profile's: {', '.join(SPLITS)}; of all of GTZAN also {', '.join(GTZAN_SPLITS)}.",
    ),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="Instead of the profile's: shipped, a folder, a fairseq .pt, or a Hub name (owner/name or owner/name@revision).",
    ),
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="How chapters 4 and 5 train: corrected (the book's way), original (the study's), or some of the study's "
        "choices alone, as in rate,batch.",
    ),
]
GenresOption = Annotated[str, typer.Option("--genres", help='Some of the ten, as in "blues,jazz,rock"; all if empty.')]


def chosen_run(profile: str, seed: str, split: str, backbone: str, protocol: str, genres: str, default: Identity | None = None):
    """The run that the options describe; `default` if none of them was given."""
    options = {"profile": profile, "seed": seed, "split": split, "backbone": backbone, "protocol": protocol, "genres": genres}
    given = {name: value for name, value in options.items() if value}
    return default if default and not given else identity(**given)


@app.command()
def run(
    profile: ProfileOption = "",
    seed: SeedOption = "",
    split: SplitOption = "",
    backbone: BackboneOption = "",
    protocol: ProtocolOption = "",
    genres: GenresOption = "",
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
    wanted = chosen_run(
        profile, seed, split, backbone, protocol, genres, last_run() if [c.number for c in chosen] == [6] else None
    )
    console.print(str(wanted), markup=False, highlight=False, soft_wrap=True)
    began, made, workers = time.monotonic(), [], side_by_side or book.at_once()
    if workers > 1:
        book.prepare(wanted, chosen, progress=console.is_terminal)
    for one, some in book.seed_plan(chosen, wanted, seeds):
        if seeds > 1:
            console.print(f"[bold]seed {one.seed}[/bold]")
        folder = None if out is None else out if one == wanted else out / f"seed-{one.seed}"
        with _Progress(some) as progress:
            made += book.run_chapters(one, some, out=folder, watch=progress, workers=workers)
        if records is not None:
            book.copy_records(one, some, records)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    console.print(
        f"{len(made)} chapters in {minutes} min {seconds:02d} s; executed notebooks: {made[-1].parent}", soft_wrap=True
    )


class _Progress:
    """One bar a chapter: cells done, and the section it is in. Plain lines where there is no terminal."""

    def __init__(self, chapters) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.bars = Progress(
            TextColumn("{task.fields[name]:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[section]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks = {
            c.name: self.bars.add_task("", name=c.name, section="", total=None, start=False) for c in chapters
        }
        self.said: tuple[str, str] | None = None

    def __enter__(self):
        self.bars.start()
        return self

    def __exit__(self, *_) -> None:
        self.bars.stop()

    def __call__(self, chapter, done: int, total: int, section: str) -> None:
        task = self.tasks[chapter.name]
        if self.bars.tasks[task].start_time is None:
            self.bars.start_task(task)
        self.bars.update(task, completed=done, total=total, section=section)
        if not console.is_terminal and self.said != (chapter.name, section):
            console.print(f"{chapter.name}  {done:>3}/{total}  {section}", markup=False, highlight=False)
            self.said = (chapter.name, section)


@app.command()
def build(
    profile: ProfileOption = "",
    seed: SeedOption = "",
    split: SplitOption = "",
    backbone: BackboneOption = "",
    protocol: ProtocolOption = "",
    genres: GenresOption = "",
    committed: Annotated[
        bool, typer.Option("--committed", help="Use the stored outputs of chapters/; run nothing.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the pages.")] = None,
) -> None:
    """Build the pages from the executed chapters of a run; any warning fails the build."""
    from genre_utils.publish.pages import build_book

    wanted = chosen_run(profile, seed, split, backbone, protocol, genres)
    with console.status("Jupyter Book builds the pages"):
        page, stored = build_book(wanted, committed=committed, out=out)
    if stored:
        console.print("Shown with the outputs stored in the notebooks: " + ", ".join(stored), highlight=False)
    console.print(
        f"The book is ready. Open [bold]{escape(str(page))}[/bold]", highlight=False, soft_wrap=True
    )


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Audio files, of any format soundfile reads.")],
    profile: ProfileOption = "",
    seed: SeedOption = "",
    split: SplitOption = "",
    backbone: BackboneOption = "",
    protocol: ProtocolOption = "",
    genres: GenresOption = "",
    top: Annotated[int, typer.Option(min=1, max=10, help="How many genres to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Guess the genre of your own files with the models of one run: the last one, unless options name another."""
    from genre_utils.publish.predict import load_models, predict_file

    wanted = chosen_run(profile, seed, split, backbone, protocol, genres, last_run())
    models = load_models(wanted)
    answers, failed = [], False
    for file in files:
        try:
            answers.append({"file": str(file), "guesses": predict_file(file, models, wanted.profile, top=top)})
        except GenreError as error:
            failed = True
            answers.append({"file": str(file), "error": str(error)})
    if as_json:
        about = {name: model.learned_from for name, model in models.items()}
        typer.echo(json.dumps({"run": wanted.about, "models": about, "files": answers}, indent=2, ensure_ascii=False))
    else:
        for answer in answers:
            _show_guesses(answer)
        console.print(f"Models of the run: {wanted}.", style="dim", markup=False, soft_wrap=True)
        for model in models.values():
            console.print(f"- {model.learned_from}", style="dim", markup=False, highlight=False, soft_wrap=True)
        if wanted.profile.corpus == "synthetic":
            console.print("They know composed music alone: of real music they tell little.", style="dim")
    if failed:
        raise typer.Exit(1)


def _show_guesses(answer: dict) -> None:
    if "error" in answer:
        errors.print(f"[red]{escape(answer['error'])}[/red]", highlight=False, soft_wrap=True)
        return
    table = Table(title=escape(answer["file"]), title_justify="left")
    table.add_column("Approach")
    for place in range(1, 1 + max(len(g) for g in answer["guesses"].values())):
        table.add_column(f"{place}.")
    for approach, guesses in answer["guesses"].items():
        table.add_row(approach, *(f"{g['genre']} {100 * g['probability']:.0f} %" for g in guesses))
    console.print(table)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Check this machine: versions, device, corpora, backbone, disk. Exits 1 if something is broken."""
    from dataclasses import asdict

    from genre_utils.publish.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in findings], indent=2))
    else:
        marks = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "broken": "[red]broken[/red]"}
        table = Table("", "What", "Found", "What to do")
        for finding in findings:
            remedy = escape(finding.remedy)
            table.add_row(marks[finding.level], finding.what, escape(finding.found), remedy)
        console.print(table)
    if any(f.level == "broken" for f in findings):
        raise typer.Exit(1)


fetch = typer.Typer(help="Get a corpus of real music.", no_args_is_help=True)
app.add_typer(fetch, name="fetch")


@fetch.command("gtzan-mini")
def fetch_gtzan_mini(
    url: Annotated[str | None, typer.Option(help="Another address of the same archive.")] = None,
) -> None:
    """Download the public mini subset (100 clips, 120 MB), check it and unpack it into data/corpora/."""
    from genre_utils.corpora import gtzan

    folder = gtzan.fetch_gtzan_mini(url or gtzan.MINI_URL, progress=console.is_terminal)
    console.print(f"gtzan-mini is ready in {folder}", soft_wrap=True, markup=False)


@fetch.command("gtzan")
def fetch_gtzan(
    folder: Annotated[Path | None, typer.Option(help="Where your copy lies.")] = None,
) -> None:
    """Check your copy of GTZAN (it has no official download any more; this says how to get one)."""
    from genre_utils.corpora import gtzan

    corpus = gtzan.gtzan_full(folder)
    console.print(
        f"GTZAN is complete: {len(corpus)} usable clips in {corpus.root}", soft_wrap=True, markup=False
    )


@app.command()
def pretrain(
    out: Annotated[Path | None, typer.Option(help="Folder of the run (default: build/pretrain).")] = None,
    steps: Annotated[int, typer.Option(min=1)] = 10_000,
    clips: Annotated[int, typer.Option(min=0, help="Clips of 10 s to render; 0: recorded music alone.")] = 3200,
    music: Annotated[
        list[Path] | None, typer.Option(help="Folder of recorded music to learn from as well; may be repeated.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 12,
    window_s: Annotated[float, typer.Option(help="Seconds of each excerpt.")] = 2.0,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    cross_clip: Annotated[
        float, typer.Option(min=0, max=1, help="Share of distractors that come from other clips.")
    ] = 0.5,
    mel_weight: Annotated[float, typer.Option(min=0, help="Weight of naming each frame's log-mel bands.")] = 2.0,
    clip_weight: Annotated[
        float, typer.Option(min=0, help="Weight of finding the other excerpt of the same clip.")
    ] = 1.0,
    seed: SeedOption = "0",
    probe: Annotated[bool, typer.Option(help="Every 1000 steps, how much of the genre can be read.")] = True,
    ship: Annotated[bool, typer.Option(help="Put the result into the package, as its backbone.")] = False,
) -> None:
    """Pre-train the small wav2vec 2.0 on unlabelled music; goes on where it was interrupted."""
    import numpy as np

    from genre_utils.corpora import unlabelled
    from genre_utils.device import default_device
    from genre_utils.experiments import pretraining as made
    from genre_utils.models.contrastive import Objective
    from genre_utils.models.pretraining import pretrain as train
    from genre_utils.paths import home

    bars, number = console.is_terminal, check_seed(seed)
    sources = [unlabelled.render_unlabelled(clips, progress=bars)] if clips else []
    sources += [unlabelled.recorded_unlabelled(music, progress=bars)] if music else []
    if not sources or min(map(len, sources)) < 100:
        raise RunError("too little music: at least 100 excerpts of 10 s of each kind are needed (--clips, --music)")
    held_out = 96 // len(sources)
    folder = out or home() / "build" / "pretrain"
    train(
        np.concatenate([waves[held_out:] for waves in sources]),
        folder,
        val_waves=np.concatenate([waves[:held_out] for waves in sources]),
        steps=steps,
        batch_size=batch_size,
        window_s=window_s,
        learning_rate=learning_rate,
        objective=Objective(cross_clip=cross_clip, mel_weight=mel_weight, clip_weight=clip_weight),
        probe=made.genre_probe() if probe else None,
        seed=number,
        device=default_device(),
    )
    console.print(f"The pre-trained model is in {folder}", soft_wrap=True, markup=False)
    if ship:
        console.print(f"Shipped to {made.ship(folder)}", soft_wrap=True, markup=False)


#: Question -> its module below genre_utils.experiments.
QUESTIONS = {
    "labels": "labels", "layers": "layers", "fine-tuning": "fine_tuning", "transfer": "transfer", "protocol": "protocol",
    "classical": "classical", "windows": "windows", "audit": "audit",
}  # fmt: skip


@app.command()
def measure(
    question: Annotated[str, typer.Argument(help=", ".join(QUESTIONS))],
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="Pre-trained contestant, NAME=PLACE; may be repeated. The shipped one by default."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="How many (default: as many as in the book's record).")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the record (default: build/experiments).")] = None,
) -> None:
    """Answer one question with many seeds, and keep the answer as a record that the chapters can read."""
    from importlib import import_module

    from genre_utils.paths import home

    if question not in QUESTIONS:
        raise RunError(f"there is no question {question!r}: ask one of {', '.join(QUESTIONS)}")
    module, options = import_module(f"genre_utils.experiments.{QUESTIONS[question]}"), {}
    if question in ("labels", "layers", "fine-tuning", "transfer", "protocol"):
        from genre_utils.experiments.material import PRE_TRAINED, contestants

        named = backbone or [f"{PRE_TRAINED}=shipped"]
        if wrong := [entry for entry in named if not all(entry.partition("="))]:
            raise RunError(f"--backbone takes NAME=PLACE, not {wrong[0]!r}")
        options["backbones"] = contestants(named)
    elif backbone:
        raise RunError(f"the question {question!r} has no backbone")
    if seeds is not None:
        options["seeds"] = range(2, 2 + seeds) if question == "audit" else seeds
    found = module.measure(**options, progress=console.is_terminal)
    if question == "audit":
        typer.echo(module.quality(found).to_string())
    else:
        for condition in found.conditions:
            for name in found.contestants:
                layer = max(found.layers_of(name)) if question == "layers" else None
                told = f"{condition}: {name}" if condition else name
                console.print(f"{told}: {found.accuracy(name, condition=condition, layer=layer, labels=None)}", markup=False)
    folder = out or home() / "build" / "experiments"
    console.print(f"written to {found.save(folder / f'{question}.json')}", soft_wrap=True, markup=False)


@app.command()
def audit(profile: ProfileOption = "mini", genres: GenresOption = "") -> None:
    """Look for copies, wrong labels and unusable files among a profile's clips."""
    from genre_utils.corpora import load_corpus
    from genre_utils.experiments import audit as auditing

    corpus = load_corpus(identity(profile, genres=genres).profile, progress=console.is_terminal)
    report = auditing.audit(corpus, progress=console.is_terminal)
    typer.echo(report.frame().round(2).to_string(index=False))
    typer.echo(f"\nAgainst the faults that are known:\n{auditing.score(report, corpus.faults).round(2).to_string()}")


@app.command()
def results(
    profile: ProfileOption = "mini",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the source of the table.")] = False,
    write: Annotated[Path | None, typer.Option(help="Put it between the marks of this page.")] = None,
) -> None:
    """The results table of the README, from the committed run records in book/results/."""
    from genre_utils.publish import results as made
    from genre_utils.publish.run import book_root

    identity(profile)
    table = made.results_markdown(book_root() / "book" / "results" / profile)
    if write is not None:
        changed = made.write_results(write, table)
        console.print(f"{write}: {'updated' if changed else 'was up to date'}", markup=False)
    elif markdown:
        typer.echo(table)
    else:
        console.print(Markdown(table))


@app.command()
def ledger(
    files: Annotated[list[Path] | None, typer.Argument(help="Exported runs to judge as well as the recorded ones.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every column, as CSV.")] = False,
    write: Annotated[Path | None, typer.Option(help="Put it between the marks of this page.")] = None,
) -> None:
    """Each claim of the study: reported, found, how sure, and the verdict."""
    from genre_utils.comparison import comparisons, recorded_comparisons
    from genre_utils.publish import results as made
    from genre_utils.records import read_cards
    from genre_utils.study import ledger as judged

    extra = [found for file in files or () for found in comparisons(read_cards(file), str(file))]
    table = judged.ledger([*recorded_comparisons(), *extra])
    if write is not None:
        changed = made.write_results(write, judged.page(table, made.linked))
        console.print(f"{write}: {'updated' if changed else 'was up to date'}", markup=False)
    elif as_csv:
        typer.echo(table.to_csv(index=False), nl=False)
    else:
        console.print(Markdown(judged.page(table)))


@app.command()
def export(
    profile: ProfileOption = "gtzan",
    split: SplitOption = "",
    backbone: BackboneOption = "",
    protocol: ProtocolOption = "",
    genres: GenresOption = "",
    out: Annotated[Path | None, typer.Option(help="The file (default: RUN-DATE.json here).")] = None,
    schema: Annotated[Path | None, typer.Option(help="Only write the JSON schema of such files.")] = None,
) -> None:
    """Put the records of your run (all of its seeds) into one file, to be contributed to the ledger by pull request."""
    from genre_utils import records
    from genre_utils.comparison import command

    if schema is not None:
        schema.write_text(json.dumps(records.json_schema(), indent=1) + "\n", encoding="utf-8")
        return
    wanted = identity(profile, split=split, backbone=backbone, protocol=protocol, genres=genres)
    cards = [card for card in records.own_cards() if card.is_of(wanted)]
    if not cards:
        raise RunError(f"there is no record of the run ({wanted}), with any seed: run it first, for example with\n    {command(wanted)}")
    file = out or Path(f"{wanted.name()}-{max(card.created for card in cards)[:10]}.json")
    records.Bundle(cards=cards).save(file)
    for card in cards:
        console.print(str(card), markup=False, highlight=False)
    console.print(
        f"Written to {file}. To contribute it, put it into book/results/contributed/ and open a pull request.",
        soft_wrap=True, markup=False,
    )  # fmt: skip


@app.command()
def collect(
    records: Annotated[list[Path], typer.Argument(help="Run records (JSON files of any profile, split and seed).")],
    out: Annotated[Path, typer.Option(help="Where the table goes, as OUT.csv and OUT.md.")],
) -> None:
    """One table of many run records: what the workflow in workflow/ ends with."""
    from genre_utils.publish import results as made

    table = made.matrix_frame(records)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(f"{out}.csv", index=False)
    Path(f"{out}.md").write_text(made.matrix_markdown(table), encoding="utf-8")
    console.print(f"{len(table)} runs: {out}.csv and {out}.md", soft_wrap=True, markup=False)


@app.command()
def address(url: Annotated[str, typer.Argument(help="For example https://github.com/you/your-fork")]) -> None:
    """Set the repository's address in every file that links to it."""
    from genre_utils.publish.address import change_address
    from genre_utils.publish.run import book_root

    root = book_root()
    for path in change_address(root, url):
        console.print(str(path.relative_to(root)), markup=False)


def main() -> None:
    """Entry point: errors a reader may meet become one message and an exit code, never a traceback."""
    try:
        app()
    except GenreError as error:
        errors.print(f"[red]Error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except WorkFailed as error:
        errors.print(f"[red]Failed:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == 130:  # what Typer makes of Ctrl-C
            errors.print("Interrupted. What had finished is kept; run the same command to go on.")
        raise

"""Commands for those who keep the book: corpora, experiments, records, tables and the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from genre_utils.errors import RunError
from genre_utils.identity import check_seed, identity
from genre_utils.publish.options import (
    BackboneOption,
    GenresOption,
    ProfileOption,
    ProtocolOption,
    SeedOption,
    SplitOption,
    console,
)

app = typer.Typer()
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

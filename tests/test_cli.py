"""The command line and the machinery behind it, on a checkout with six tiny chapters."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
from fake_cards import leave
from tiny_book import NAMES, PARAMETERS, write_chapter
from typer.testing import CliRunner

from genre_utils import paths
from genre_utils.errors import ProfileError, RunError, WorkFailed
from genre_utils.identity import identity, last_run, remember
from genre_utils.profiles import PROFILES
from genre_utils.publish import cli, doctor, pages
from genre_utils.publish import run as book
from genre_utils.records import CorpusInfo, Experiment, RunCard, Trial, read_cards


def chosen(text: str | None) -> list[int]:
    available = [book.Chapter(i, Path(f"0{i}_{word}.ipynb")) for i, word in enumerate("abcdef", start=1)]
    return [c.number for c in book.select_chapters(text, available)]


# --- Choosing chapters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (None, [1, 2, 3, 4, 5, 6]),
        ("", [1, 2, 3, 4, 5, 6]),
        ("4,2,1", [1, 2, 4]),
        ("2-4", [2, 3, 4]),
        ("02 6", [2, 6]),
        ("1,1,1", [1]),
    ],
)
def test_chapters_are_chosen_by_number_or_range_and_run_in_order(text, numbers):
    assert chosen(text) == numbers


@pytest.mark.parametrize("text", ["7", "0", "1,x", "4-9", "5-2", "-1"])
def test_a_chapter_that_does_not_exist_is_refused_with_the_list(text):
    with pytest.raises(ProfileError, match=r"unknown chapter .*1 \(01_a\)"):
        chosen(text)


def test_outside_of_a_checkout_there_is_nothing_to_run(monkeypatch):
    monkeypatch.setattr(book, "project_root", lambda: None)
    with pytest.raises(RunError, match="Clone the repository"):
        book.book_root()


# --- Running ----------------------------------------------------------------------------------------------


def said_by(notebook: Path) -> str:
    """What the last cell of an executed notebook printed."""
    return nbformat.read(notebook, as_version=4).cells[-1].outputs[0].text


def test_run_passes_parameters_and_leaves_the_source_alone(checkout):
    source = write_chapter(checkout, NAMES[1], "print(profile, seed, repr(split), genres)")
    before = source.read_bytes()
    run = identity("gtzan-mini", 7, genres="rock,blues", protocol="rate")
    chapters = book.select_chapters("2", book.all_chapters())
    (made,) = book.run_chapters(run, chapters)
    assert made == checkout / "build" / "chapters" / run.name() / f"{NAMES[1]}.ipynb"
    assert said_by(made) == "gtzan-mini 7 '' blues,rock\n"
    about = nbformat.read(made, as_version=4).metadata[book.RUN_KEY]
    assert (about["run"], about["about"]) == (run.name(), run.about)
    assert about["parameters"] == run.parameters(PARAMETERS[2]), "a chapter is given what it knows, and nothing else"
    assert source.read_bytes() == before
    assert not list((made.parent / "unfinished").iterdir())


def test_several_seeds_train_again_and_the_first_comes_last(checkout, call):
    for name in NAMES:
        write_chapter(checkout, name, "from pathlib import Path\nwith open('../order.txt', 'a') as f:\n"
                      f"    print('{name[:2]}', seed, file=f)")  # fmt: skip
    code, out, _ = call("run", "--seed", "3", "--seeds", "3", "--side-by-side", "1")
    ran = (checkout / "order.txt").read_text().split("\n")[:-1]
    assert ran == [f"{n} {s}" for s in (4, 5) for n in ("02", "04", "05")] + [f"0{n} 3" for n in range(1, 7)]
    made = {folder.name: len(list(folder.glob("*.ipynb"))) for folder in (checkout / "build" / "chapters").iterdir()}
    assert made == {"mini+seed-3": 6, "mini+seed-4": 3, "mini+seed-5": 3}
    assert code == 0 and "12 chapters" in out and "seed 4" in out
    assert out.count(" cells in ") == 12, "where no bar is shown, a line for each chapter"
    assert last_run() == identity(seed=3), "chapter 6 and predict go on with the first seed"


def test_a_folder_of_ones_own_keeps_seeds_apart(checkout, call):
    code, _, error = call("run", "--chapters", "2,3", "--seeds", "2", "--out", str(checkout / "mine"))
    assert code == 0, error
    made = {str(path.relative_to(checkout / "mine")) for path in (checkout / "mine").rglob("*.ipynb")}
    assert made == {f"{NAMES[1]}.ipynb", f"{NAMES[2]}.ipynb", f"seed-1/{NAMES[1]}.ipynb"}


def test_chapters_that_do_not_need_each_other_run_side_by_side_and_share_the_cores(checkout, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(book, "cores", lambda: 8)
    meet = (
        "import os, time\nfrom pathlib import Path\n"
        "open('../{me}', 'w').write(os.environ['OMP_NUM_THREADS'])\n"
        "for _ in range(1800):\n    if Path('../{other}').exists():\n        break\n    time.sleep(0.1)\n"
        "else:\n    raise TimeoutError('nobody runs beside me')"
    )
    write_chapter(checkout, NAMES[1], meet.format(me="two", other="four"))
    write_chapter(checkout, NAMES[3], meet.format(me="four", other="two"))
    write_chapter(checkout, NAMES[4], "from pathlib import Path\nassert Path('../four').exists()")
    write_chapter(checkout, NAMES[5], "import os; print(sorted(os.listdir('..')).index('two') > 0, os.environ['OMP_NUM_THREADS'])")
    made = book.run_chapters(identity(), book.select_chapters("2,4-6", book.all_chapters()), workers=2)
    assert [path.stem for path in made] == [NAMES[1], *NAMES[3:]], "in the book's order"
    assert (checkout / "two").read_text() == (checkout / "four").read_text() == "4"
    assert said_by(made[-1]) == "True 8\n", "alone, a chapter has all cores"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_chapter_beside_one_that_fails_is_finished_and_nothing_new_begins(checkout):
    write_chapter(checkout, NAMES[1], "1 / 0")
    write_chapter(checkout, NAMES[3], "import time; time.sleep(4); print('done')")
    with pytest.raises(WorkFailed, match="ZeroDivisionError"):
        book.run_chapters(identity(), book.select_chapters("2,4,5,6", book.all_chapters()), workers=2)
    made = checkout / "build" / "chapters" / "mini"
    assert [path.name for path in made.glob("*.ipynb")] == [f"{NAMES[3]}.ipynb"]
    assert said_by(made / f"{NAMES[3]}.ipynb") == "done\n"


def test_clips_are_made_ready_once_before_chapters_run_side_by_side(checkout, call, monkeypatch):
    asked = []
    monkeypatch.setattr(book, "prepare", lambda run, chapters, **_: asked.append((run, [c.number for c in chapters])))
    assert call("run", "--chapters", "1,3", "--side-by-side", "2", "--seed", "4")[0] == 0
    assert call("run", "--chapters", "1", "--side-by-side", "1")[0] == 0
    assert asked == [(identity(seed=4), [1, 3])]


def test_a_chapter_finds_ready_what_it_needs(tiny_corpus, monkeypatch, tmp_path):
    from genre_utils import features
    from genre_utils.cache import Cache

    monkeypatch.setenv("GENRE_UTILS_HOME", str(tmp_path))
    monkeypatch.setitem(PROFILES, "mini", replace(PROFILES["mini"], clip_s=tiny_corpus.clip_s))
    monkeypatch.setattr("genre_utils.corpora.load_corpus", lambda profile, progress: tiny_corpus)
    profile = identity().profile
    book.prepare(identity(), [book.Chapter(2, Path(NAMES[1]))], progress=False)
    assert {folder.name for folder in Cache().folder.iterdir()} == {"mel", "statistics"}
    monkeypatch.setattr(features, "_of_clip", lambda *_: pytest.fail("computed again"))
    assert len(features.mels(tiny_corpus, tiny_corpus.ids, profile, progress=False)) == len(tiny_corpus)
    assert len(features.statistics(tiny_corpus, tiny_corpus.ids, profile, progress=False)) == len(tiny_corpus)


#: What a chapter does with its parameters: it makes the run of them.
WHO = "from genre_utils.identity import identity\nrun = identity(profile, seed, {options})\nprint(run.name())\n"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": "2", "protocol": "batch, rate"},
        {"protocol": "original", "genres": "rock, blues"},
        {"profile": "gtzan", "split": "cnn", "backbone": "lab/model@0123abc"},
        {"backbone": "a folder@home"},
    ],
    ids=str,
)
def test_the_options_of_a_run_reach_a_chapter_and_are_remembered(checkout, call, options):
    folder = checkout / "a folder@home"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    names = [name for name in PARAMETERS[4] if name not in ("profile", "seed")]
    write_chapter(checkout, NAMES[3], WHO.format(options=", ".join(f"{name}={name}" for name in names)))
    run = identity(**options)
    code, out, error = call("run", "--chapters", "4", *(word for name, value in options.items() for word in (f"--{name}", value)))
    assert code == 0, error
    assert str(run) in out
    assert said_by(checkout / "build" / "chapters" / run.name() / f"{NAMES[3]}.ipynb") == f"{run.name()}\n"
    assert last_run() == run


def test_a_wrong_protocol_stops_before_the_chapters(checkout, call):
    code, _, error = call("run", "--protocol", "orignal")
    assert code == 2 and "Did you mean 'original'?" in error and not (checkout / "build" / "chapters").exists()


def test_chapters_in_which_nothing_is_trained_are_no_run_to_remember(checkout, call):
    remember(identity(split="random"))
    assert call("run", "--chapters", "1", "--seed", "5")[0] == 0
    assert last_run() == identity(split="random")


def test_chapter_6_alone_takes_up_the_last_run_unless_another_is_named(checkout, call):
    remember(identity(seed=2, split="random"))
    assert call("run", "--chapters", "6")[0] == 0
    made = checkout / "build" / "chapters"
    assert (made / "mini+split-random+seed-2" / f"{NAMES[5]}.ipynb").is_file()
    assert call("run", "--chapters", "6", "--profile", "mini")[0] == 0
    assert (made / "mini" / f"{NAMES[5]}.ipynb").is_file()


def test_the_records_of_a_run_are_copied_where_they_are_wanted(checkout, call):
    left = {f"{approach}-seed{seed}.json": leave(approach, seed) for approach in ("svm", "cnn") for seed in (0, 1)}
    leave("full")
    code, _, error = call("run", "--chapters", "2,3", "--seeds", "2", "--records", str(checkout / "records"))
    assert code == 0, error
    assert {path.name: RunCard.load(path) for path in (checkout / "records").iterdir()} == left


@pytest.mark.parametrize(
    ("profile", "split", "message"),
    [
        ("mini", "artsit", "unknown split 'artsit' for the profile mini: choose artist, random"),
        ("gtzan-mini", "cnn", "unknown split 'cnn' for the profile gtzan-mini: choose artist, random (filtered, cnn, wav2vec"),
        ("gtzan", "window", "choose artist, random, filtered, cnn, wav2vec"),
    ],
)  # fmt: skip
def test_a_split_that_the_corpus_does_not_have_is_refused_before_any_chapter(checkout, call, profile, split, message):
    code, _, error = call("run", "--profile", profile, "--split", split)
    assert code == 2 and message in re.sub(r"\s+", " ", error)
    assert not (checkout / "build" / "chapters").exists()


def test_pages_never_take_the_place_of_something_else(checkout, call, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    code, _, error = call("build", "--out", str(tmp_path / "thesis"))
    assert code == 2 and "holds something else than pages of a book" in error
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_place_that_cannot_be_written_is_named(checkout, call):
    code, _, error = call("results", "--write", "missing/README.md")
    assert code == 2 and "missing/README.md" in error and "Traceback" not in error


def test_another_book_is_not_taken_for_this_one(tmp_path, monkeypatch):
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    assert paths.project_root() != tmp_path.resolve()


def test_chapters_run_in_their_own_folder(checkout):
    write_chapter(checkout, NAMES[0], "import pathlib; print(pathlib.Path.cwd().name)")
    (made,) = book.run_chapters(identity(), book.all_chapters()[:1])
    assert said_by(made) == "chapters\n"


def test_a_failing_chapter_is_named_with_its_cell_and_kept_without_replacing_the_last_good_one(checkout, call):
    good = checkout / "build" / "chapters" / "mini" / f"{NAMES[3]}.ipynb"
    good.parent.mkdir(parents=True)
    good.write_text("the last good one")
    write_chapter(checkout, NAMES[3], "print('fine')", "\nscore = 1 / 0  # here\n")
    code, _, error = call("run", "--chapters", "1,3,4,5", "--side-by-side", "1")
    assert code == 1
    assert f"chapters/{NAMES[3]}.ipynb failed in cell 6 (section: Section 2)" in error
    assert "score = 1 / 0  # here" in error and "ZeroDivisionError: division by zero" in error
    assert "Traceback" not in error
    kept = good.parent / "unfinished" / f"{NAMES[3]}.ipynb"
    assert str(kept) in error.replace("\n", "") and "fine" in kept.read_text()
    assert good.read_text() == "the last good one"
    assert (good.parent / f"{NAMES[0]}.ipynb").is_file(), "what ran before is there"
    assert not (good.parent / f"{NAMES[4]}.ipynb").exists(), "what would have come after is not"


def test_a_dead_kernel_is_reported_at_once(checkout):
    write_chapter(checkout, NAMES[0], "import os; os._exit(9)")
    began = time.monotonic()
    with pytest.raises(WorkFailed, match=r"(?s)failed in cell 4.*the kernel died"):
        book.run_chapters(identity(), book.all_chapters()[:1])
    assert time.monotonic() - began < 30


AT_WORK = """
import os, pathlib, time
from joblib import Parallel, delayed
def work(i):
    import os, pathlib, time
    pathlib.Path(f'pid{i}').write_text(str(os.getpid()))
    time.sleep(90)
Parallel(2)(delayed(work)(i) for i in range(2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize(("number", "code", "told"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "")])
def test_an_interrupted_run_takes_its_kernel_and_that_ones_workers_along(checkout, number, code, told):
    write_chapter(checkout, NAMES[0], AT_WORK)
    command = [sys.executable, "-m", "genre_utils", "run", "--chapters", "1", "--side-by-side", "1"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may be ignoring Ctrl-C
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    files = [checkout / "chapters" / f"pid{i}" for i in range(2)]
    for _ in range(1800):
        if all(file.is_file() and file.read_text() for file in files):
            break
        time.sleep(0.1)
    there = [one.pid for one in psutil.Process(running.pid).children(recursive=True)]
    assert {int(file.read_text()) for file in files} < set(there)
    running.send_signal(number)
    _, said = running.communicate(timeout=30)
    assert running.returncode == code
    assert told in said
    assert "genre_utils/" not in said, "a traceback of ours"
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in there if psutil.pid_exists(pid)], timeout=10)
    assert not alive


def test_a_kernel_that_dies_at_its_start_is_one_message(checkout, call, monkeypatch):
    from genre_utils.publish import kernels

    monkeypatch.setattr(kernels, "_become_kernel", die)
    code, _, error = call("run", "--chapters", "1", "--side-by-side", "1")
    assert code == 1 and "did not start" in error and "Traceback" not in error


def die(*_):
    os._exit(9)


def test_relative_folders_mean_the_same_to_a_command_and_its_chapters(checkout):
    write_chapter(checkout, NAMES[0], "from genre_utils.paths import corpora_dir, runs_dir; print(corpora_dir()); (runs_dir() / 'left').touch()")
    there = {"GENRE_UTILS_HOME": "somewhere/else", "GTZAN_MINI_DIR": "music"}
    command = [sys.executable, "-m", "genre_utils", "run", "--chapters", "1", "--side-by-side", "1"]
    subprocess.run(command, check=True, env=os.environ | there, cwd=checkout, capture_output=True)
    assert (checkout / "somewhere" / "else" / "build" / "runs" / "left").is_file()
    assert {path.suffix for path in (checkout / "chapters").iterdir()} == {".ipynb"}, "nothing is left beside the notebooks"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--profile", "maxi"), "unknown profile 'maxi'"),
        (("run", "--seed", "three"), "seed must be a whole number"),
        (("run", "--chapters", "9"), "unknown chapter '9'"),
        (("run", "--genres", "polka,rock"), "unknown genre 'polka'"),
        (("build", "--profile", "maxi"), "unknown profile"),
        (("measure", "taste"), "there is no question 'taste': ask one of labels, protocol"),
        (("measure", "classical", "--backbone", "a=b"), "the question 'classical' has no backbone"),
        (("measure", "labels", "--minutes", "5"), "the question 'labels' is answered as a whole: without --minutes"),
        (("measure", "labels", "--backbone", "shipped"), "--backbone takes NAME=PLACE, not 'shipped'"),
        (("nonsense",), "No such command"),
        (("predict",), "Missing argument"),
    ],
)
def test_wrong_usage_exits_2_with_a_message(checkout, arguments, message, call):
    code, _, error = call(*arguments)
    assert code == 2
    assert message in re.sub(r"\s+", " ", error)
    assert "Traceback" not in error


def test_help_answers_without_loading_torch():
    source = "import sys, genre_utils.publish.cli; sys.exit('torch' in sys.modules or 'librosa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False, timeout=60).returncode == 0


# --- Building ---------------------------------------------------------------------------------------------


def test_staging_prefers_executed_chapters_and_hides_the_repeated_parameters(checkout, tmp_path):
    book.run_chapters(identity(), book.all_chapters()[:1])
    stored = pages.stage(checkout, tmp_path / "staged", checkout / "build" / "chapters" / "mini")
    assert stored == list(NAMES[1:])
    nb = nbformat.read(tmp_path / "staged" / "chapters" / f"{NAMES[0]}.ipynb", as_version=4)
    (injected,) = (c for c in nb.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "remove-cell" in injected.metadata.tags
    assert "This page was run with" not in nbformat.writes(nb)
    assert str(checkout) not in nbformat.writes(nb)


def test_a_page_quotes_what_a_cell_has_put_out_and_misses_no_cell(checkout, tmp_path):
    page = checkout / "book" / "intro.md"
    cell = nbformat.read(checkout / "chapters" / f"{NAMES[0]}.ipynb", as_version=4).cells[3]
    told = {"text/markdown": "**75**", "text/plain": "75"}
    quoting = {"cells": [{"id": cell.id, "outputs": [{"data": told}]}]}
    assert pages.quoted({NAMES[0]: nbformat.from_dict(quoting)}, NAMES[0], cell.id) == "**75**"
    page.write_text(f"# Title\n\n<!-- output: {NAMES[0]} no-such-cell -->\n", encoding="utf-8")
    with pytest.raises(WorkFailed, match="no-such-cell"):
        pages.stage(checkout, tmp_path / "staged", None)


def test_parameters_other_than_the_defaults_stay_visible(checkout, tmp_path):
    run = identity(seed=3, split="random", protocol="rate")
    book.run_chapters(run, book.all_chapters()[:1])
    pages.stage(checkout, tmp_path / "staged", book.chapters_dir(run))
    nb = nbformat.read(tmp_path / "staged" / "chapters" / f"{NAMES[0]}.ipynb", as_version=4)
    (injected,) = (c for c in nb.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "remove-cell" not in injected.metadata.tags
    title, _, told, *_ = nb.cells[0].source.split("\n")
    assert title == f"# Chapter {NAMES[0]}"
    parts = told.removeprefix("> This page was run with: ").removesuffix(".").split(", ")
    assert sorted(parts) == ["genres **all ten**", "profile **mini**", "seed **3**", "split **random**"], "what concerns the chapter"


def test_timing_page_tells_times_machine_and_slowest_section(checkout):
    write_chapter(checkout, NAMES[0], "import time; time.sleep(0.3)", "pass")
    (made,) = book.run_chapters(identity(seed=5), book.all_chapters()[:1])
    ran = nbformat.read(made, as_version=4)
    page = pages.timing_page(
        {NAMES[0]: ran, NAMES[1]: nbformat.read(book.all_chapters()[1].path, as_version=4)}
    )
    assert re.search(rf"\| \[{NAMES[0]}\].*\| mini\+seed-5 \| \d+\.\d s \| Section 1 \(0\.[3-9] s\), ", page)
    assert "cores" in page
    assert f"not run this time: {NAMES[1]}" in page


def test_timing_page_tells_what_benchmarks_wrote_for_it(checkout, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "recorded_dir", lambda: tmp_path)
    (tmp_path / "timing").mkdir()
    before = pages.timing_page({})
    (tmp_path / "timing" / "a.md").write_text("## On another machine: Processor a\n")
    assert pages.timing_page({}) == before + "\n## On another machine: Processor a\n\n"


def test_timing_page_of_stored_outputs_claims_no_time(checkout):
    stored = {c.name: nbformat.read(c.path, as_version=4) for c in book.all_chapters()}
    assert "nothing was run" in pages.timing_page(stored)


def test_a_warning_fails_the_build_and_keeps_the_former_pages(checkout, call):
    former = checkout / "build" / "html" / "mini" / "index.html"
    former.parent.mkdir(parents=True)
    former.write_text("former")
    page = checkout / "book" / "how_sure.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[nowhere](no_such_page.md)\n", encoding="utf-8")
    code, _, error = call("build", "--committed")
    assert code == 1
    assert "no_such_page" in error and "Full log" in error and "\x1b" not in error
    assert former.read_text() == "former"


# --- The doctor -------------------------------------------------------------------------------------------


def test_doctor_reports_every_part_and_a_remedy_for_each_problem(checkout):
    findings = doctor.examine()
    named = {f.what for f in findings}
    parts = {"Python", "torch / torchaudio", "Device", "Arithmetic", "Free disk"}
    assert parts <= named
    assert all(f.remedy for f in findings if f.level != "ok")
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == int(any(f.level == "broken" for f in findings))
    assert all(part in result.stdout for part in parts if " " not in part)


def test_doctor_exits_1_when_something_essential_is_broken(checkout, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # as when it was built for another torch
    (finding,) = (f for f in doctor.examine() if f.what == "torch and torchaudio")
    assert finding.level == "broken" and "torchaudio" in finding.found and finding.remedy == "make setup"
    assert CliRunner().invoke(cli.app, ["doctor"]).exit_code == 1


def test_doctor_names_versions_that_do_not_match(checkout, monkeypatch):
    monkeypatch.setattr("torchaudio.__version__", "2.1.0+cpu")
    (finding,) = (f for f in doctor.examine() if f.what == "torch / torchaudio")
    assert finding.level == "note" and "2.1.0+cpu" in finding.found and "in one command" in finding.remedy


# --- The ledger --------------------------------------------------------------------------------------------


def test_a_run_is_exported_and_judged(checkout, call, tmp_path):
    code, _, err = call("export", "--profile", "mini")
    assert code == 2 and "run it first" in err and "python -m genre_utils run --profile mini" in err
    made = [leave(approach, seed, rate=rate) for approach, rate in (("full", 1.0), ("head-only", 0.3)) for seed in (0, 1)]
    leave("full", rate=0.0, protocol="rate")
    code, out, _ = call("export", "--profile", "mini", "--out", str(tmp_path / "mine.json"))
    assert code == 0 and "pull request" in out
    assert sorted(map(str, read_cards(tmp_path / "mine.json"))) == sorted(map(str, made)), "all seeds, and no other run"
    code, out, _ = call("ledger", str(tmp_path / "mine.json"), "--csv")
    row = next(line for line in out.splitlines() if line.startswith("Full fine-tuning beats head-only") and ",toy," in line)
    assert code == 0 and ",illustrates," in row and "2 seeds" in row and str(tmp_path / "mine.json") in row


def test_an_exported_file_is_named_by_its_run_and_day(checkout, call):
    card = leave("full", protocol="rate")
    assert call("export", "--profile", "mini", "--protocol", "rate")[0] == 0
    (card_again,) = read_cards(checkout / f"mini+protocol-rate-{card.created[:10]}.json")
    assert card_again == card


def test_the_schema_of_contributions_is_written_on_demand(call, tmp_path):
    from genre_utils.records import Bundle

    assert call("export", "--schema", str(tmp_path / "schema.json"))[0] == 0
    assert json.loads((tmp_path / "schema.json").read_text()) == Bundle.model_json_schema()


def test_the_ledger_prints_every_claim(call):
    code, out, _ = call("ledger")
    assert code == 0 and "18 claims" in out and "quick compromise" in out


# --- Measuring --------------------------------------------------------------------------------------------


def experiment(question: str, *trials: Trial) -> Experiment:
    return Experiment(
        question=question,
        profile="mini",
        corpus=CorpusInfo(name="toy", fingerprint="", clips=4),
        provenance={"": "by hand"},
        clips=list("abcd"),
        artists=list("AABB"),
        created="2026-01-01T00:00:00+00:00",
        trials=list(trials),
    )


@pytest.mark.parametrize(
    ("question", "trials", "told"),
    [
        ("transfer", [{"labels": 9}], ["x: 75.0 %"]),
        ("classical", [{"condition": "here"}, {"condition": "there"}], ["here: x: 75.0 %", "there: x: 75.0 %"]),
        ("labels", [{"labels": 3, "marks": "0000"}, {"labels": 9}], ["x: 75.0 %"]),
    ],
)
def test_an_answer_is_printed_and_kept(checkout, call, monkeypatch, question, trials, told):
    made = experiment(question, *(Trial(**({"contestant": "x", "seed": s, "marks": "1110"} | t)) for t in trials for s in (0, 1)))
    asked = {}

    def measure(**options):
        asked.update(options)
        return made

    monkeypatch.setattr(f"genre_utils.experiments.{question.replace('-', '_')}.measure", measure)
    code, out, error = call("measure", question, "--seeds", "3")
    assert code == 0, error
    assert asked["seeds"] == 3 and list(asked.get("backbones", ())) == ([] if question == "classical" else ["pre-trained"])
    assert ("minutes" in asked) == (question != "labels")
    lines = [line.partition(" [")[0] for line in out.splitlines() if "%" in line]
    assert lines == told
    assert Experiment.load(checkout / "build" / "experiments" / f"{question}.json") == made

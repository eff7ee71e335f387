"""The command line and the machinery behind it, on a checkout with six tiny chapters."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
from tiny_book import FIGURE, NAMES, make_checkout, write_chapter
from typer.testing import CliRunner

from genre_utils import book, cli, pages
from genre_utils.errors import ProfileError, RunError
from genre_utils.profiles import BACKBONE_VARIABLE, PROTOCOL_VARIABLE, SPLIT_VARIABLE, get_profile


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    root = make_checkout(tmp_path / "book with spaces")
    monkeypatch.chdir(root)
    monkeypatch.setenv("GENRE_UTILS_HOME", str(root))
    monkeypatch.delenv("GENRE_UTILS_RUNS", raising=False)
    return root


@pytest.fixture
def call(monkeypatch, capsys):
    """Exit code, stdout and stderr of ``python -m genre_utils`` with some arguments."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genre_utils", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def chosen(text: str | None) -> list[int]:
    available = [book.Chapter(i, book.Path(f"0{i}_{word}.ipynb")) for i, word in enumerate("abcdef", start=1)]
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
        ("03_c", [3]),
        ("chapters/03_c.ipynb", [3]),
        ("1,1,1", [1]),
    ],
)
def test_chapters_are_chosen_by_number_range_or_name_and_run_in_order(text, numbers):
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


def test_run_passes_parameters_and_leaves_the_source_alone(checkout):
    source = write_chapter(checkout, NAMES[1], "print(profile, seed)")
    before = source.read_bytes()
    steps = []
    (made,) = book.run_chapters(
        "gtzan-mini",
        7,
        book.select_chapters("2", book.all_chapters()),
        watch=lambda *step: steps.append(step[1:]),
    )
    assert made == checkout / "build" / "chapters" / "gtzan-mini" / f"{NAMES[1]}.ipynb"
    executed = nbformat.read(made, as_version=4)
    assert executed.cells[-1].outputs[0].text == "gtzan-mini 7\n"
    assert executed.metadata[book.RUN_KEY]["seed"] == 7
    assert source.read_bytes() == before
    assert steps[0] == (0, 5, f"Chapter {NAMES[1]}") and steps[-1] == (5, 5, "finished")
    assert not list((made.parent / "unfinished").iterdir())


def test_several_seeds_train_again_and_the_first_comes_last(checkout, call):
    for name in NAMES:
        write_chapter(checkout, name, "from pathlib import Path\nwith open('../order.txt', 'a') as f:\n"
                      f"    print('{name[:2]}', seed, file=f)")  # fmt: skip
    code, out, _ = call("run", "--seed", "3", "--seeds", "3")
    ran = (checkout / "order.txt").read_text().split("\n")[:-1]
    training = ["02", "04", "05"]
    assert ran == [f"{n} {s}" for s in (4, 5) for n in training] + [f"0{n} 3" for n in range(1, 7)]
    made = checkout / "build" / "chapters" / "mini"
    assert len(list(made.glob("*.ipynb"))) == 6 and len(list(made.glob("seed-4/*.ipynb"))) == 3
    assert code == 0 and "12 chapters" in out


def test_the_protocol_reaches_the_chapters_and_a_wrong_one_stops_before_them(checkout, monkeypatch, call):
    monkeypatch.setenv(PROTOCOL_VARIABLE, "")  # the command sets it: put back afterwards
    write_chapter(checkout, NAMES[3], "from genre_utils.profiles import get_profile\nprint(get_profile(profile).protocol)")
    code, _, err = call("run", "--protocol", "orignal")
    assert code == 2 and "Did you mean 'original'?" in err and not (checkout / "build" / "chapters").exists()
    call("run", "--chapters", "4", "--protocol", "original")
    executed = nbformat.read(checkout / "build" / "chapters" / "mini" / f"{NAMES[3]}.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "original\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "shipped None"),
        ("lab/model", "lab/model None"),
        ("lab/model@0123abc", "lab/model 0123abc"),
        ("a folder@home", "{root}/a folder@home None"),
    ],
)
def test_another_backbone_reaches_the_chapters(checkout, monkeypatch, call, name, expected):
    monkeypatch.setenv(BACKBONE_VARIABLE, "")  # what the command sets here goes with the test
    (checkout / "a folder@home").mkdir()
    source = "from genre_utils.profiles import get_profile as get; p = get(profile); print(p.backbone, p.backbone_revision)"
    write_chapter(checkout, NAMES[0], source)
    code, _, error = call("run", "--chapters", "1", "--backbone", name)
    assert code == 0, error
    executed = nbformat.read(checkout / "build" / "chapters" / "mini" / f"{NAMES[0]}.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == expected.format(root=checkout)


def test_another_split_reaches_the_chapters(checkout, monkeypatch, call):
    monkeypatch.setenv(SPLIT_VARIABLE, "")
    write_chapter(checkout, NAMES[0], "from genre_utils.profiles import get_profile as get; print(get(profile).split)")
    code, _, error = call("run", "--chapters", "1", "--split", "random")
    assert code == 0, error
    executed = nbformat.read(checkout / "build" / "chapters" / "mini" / f"{NAMES[0]}.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == "random"


@pytest.mark.parametrize(
    ("profile", "split", "message"),
    [
        ("mini", "artsit", "unknown split 'artsit' for the profile mini: choose artist, random"),
        ("gtzan-mini", "cnn", "unknown split 'cnn' for the profile gtzan-mini: choose artist, random (filtered, cnn, wav2vec"),
        ("gtzan", "window", "choose artist, random, filtered, cnn, wav2vec"),
    ],
)  # fmt: skip
def test_a_split_that_the_corpus_does_not_have_is_refused_before_any_chapter(
    checkout, monkeypatch, call, profile, split, message
):
    monkeypatch.setenv(SPLIT_VARIABLE, "")
    code, _, error = call("run", "--profile", profile, "--split", split)
    assert code == 2 and message in re.sub(r"\s+", " ", error)
    assert not (checkout / "build").exists()


def test_chapters_run_in_their_own_folder(checkout):
    write_chapter(checkout, NAMES[0], "import pathlib; print(pathlib.Path.cwd().name)")
    (made,) = book.run_chapters("mini", 0, book.all_chapters()[:1])
    assert nbformat.read(made, as_version=4).cells[-1].outputs[0].text == "chapters\n"


def test_a_failing_chapter_is_named_with_its_cell_and_kept_without_replacing_the_last_good_one(
    checkout, call
):
    good = checkout / "build" / "chapters" / "mini" / f"{NAMES[1]}.ipynb"
    good.parent.mkdir(parents=True)
    good.write_text("the last good one")
    write_chapter(checkout, NAMES[1], "print('fine')", "\nscore = 1 / 0  # here\n")
    code, _, error = call("run", "--chapters", "1,2,3")
    assert code == 1
    assert f"chapters/{NAMES[1]}.ipynb failed in cell 6 (section: Section 2)" in error
    assert "score = 1 / 0  # here" in error and "ZeroDivisionError: division by zero" in error
    assert "Traceback" not in error
    kept = good.parent / "unfinished" / f"{NAMES[1]}.ipynb"
    assert str(kept) in error.replace("\n", "") and "fine" in kept.read_text()
    assert good.read_text() == "the last good one"
    assert (good.parent / f"{NAMES[0]}.ipynb").is_file()
    assert not (good.parent / f"{NAMES[2]}.ipynb").exists()


def test_a_dead_kernel_is_reported_at_once(checkout):
    write_chapter(checkout, NAMES[0], "import os; os._exit(9)")
    began = time.monotonic()
    with pytest.raises(book.WorkFailed, match=r"(?s)failed in cell 4.*the kernel died"):
        book.run_chapters("mini", 0, book.all_chapters()[:1])
    assert time.monotonic() - began < 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
def test_an_interrupted_run_exits_130_and_takes_its_kernel_along(checkout):
    write_chapter(
        checkout,
        NAMES[0],
        "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(90)",
    )
    command = [sys.executable, "-m", "genre_utils", "run", "--chapters", "1"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may be ignoring Ctrl-C
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    pid_file = checkout / "chapters" / "pid"
    for _ in range(600):
        if pid_file.is_file() and pid_file.read_text():
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Interrupted." in said
    assert "genre_utils/" not in said, "a traceback of ours"
    for _ in range(100):
        try:
            os.kill(int(pid_file.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the kernel outlived the command")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--profile", "maxi"), "unknown profile 'maxi'"),
        (("run", "--seed", "three"), "seed must be a whole number"),
        (("run", "--chapters", "9"), "unknown chapter '9'"),
        (("build", "--profile", "maxi"), "unknown profile"),
        (("address", "ftp://nowhere"), "not a repository's address"),
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
    book.run_chapters("mini", 0, book.all_chapters()[:1])
    stored = pages.stage(checkout, tmp_path / "staged", checkout / "build" / "chapters" / "mini")
    assert stored == list(NAMES[1:])
    nb = nbformat.read(tmp_path / "staged" / "chapters" / f"{NAMES[0]}.ipynb", as_version=4)
    (injected,) = (c for c in nb.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "remove-cell" in injected.metadata.tags
    assert str(checkout) not in nbformat.writes(nb)


def test_parameters_other_than_the_defaults_stay_visible(checkout, tmp_path):
    book.run_chapters("mini", 3, book.all_chapters()[:1])
    pages.stage(checkout, tmp_path / "staged", checkout / "build" / "chapters" / "mini")
    nb = nbformat.read(tmp_path / "staged" / "chapters" / f"{NAMES[0]}.ipynb", as_version=4)
    (injected,) = (c for c in nb.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "remove-cell" not in injected.metadata.tags


def test_large_scripts_are_not_loaded_by_every_page(checkout, tmp_path):
    pages.stage(checkout, tmp_path / "staged", None)
    assert not list((tmp_path / "staged" / "_static").rglob("*.js"))
    assert (tmp_path / "staged" / "_extra" / "_static" / "plotly.min.js").stat().st_size > 1_000_000


def test_timing_page_tells_times_machine_and_slowest_section(checkout):
    write_chapter(checkout, NAMES[0], "import time; time.sleep(0.3)", "pass")
    (made,) = book.run_chapters("mini", 5, book.all_chapters()[:1])
    ran = nbformat.read(made, as_version=4)
    page = pages.timing_page(
        {NAMES[0]: ran, NAMES[1]: nbformat.read(book.all_chapters()[1].path, as_version=4)}
    )
    assert re.search(rf"\| \[{NAMES[0]}\].*\| mini \| 5 \| \d+\.\d s \| Section 1 \(0\.[3-9] s\) \|", page)
    assert "cores" in page
    assert f"not run this time: {NAMES[1]}" in page


def test_timing_page_of_stored_outputs_claims_no_time(checkout):
    stored = {c.name: nbformat.read(c.path, as_version=4) for c in book.all_chapters()}
    assert "nothing was run" in pages.timing_page(stored)


def test_figures_are_counted_where_a_reader_sees_them():
    png = {
        "output_type": "display_data",
        "data": {"image/png": "x", "text/plain": "<Figure>"},
        "metadata": {},
    }
    tag = {"output_type": "display_data", "data": {"text/html": FIGURE, "image/png": "x"}, "metadata": {}}
    cells = [
        nbformat.v4.new_code_cell("a", outputs=[png, tag]),
        nbformat.v4.new_code_cell("b", outputs=[png], metadata={"tags": ["remove-cell"]}),
    ]
    assert pages.shown_figures(nbformat.v4.new_notebook(cells=cells)) == 2


def test_a_missing_page_or_figure_is_noticed(tmp_path):
    staged, html = tmp_path / "staged", tmp_path / "html"
    (staged / "chapters").mkdir(parents=True)
    html.mkdir()
    (staged / "_toc.yml").write_text(
        "format: jb-book\nroot: start\nchapters:\n- file: chapters/one\n- file: two\n"
    )
    output = nbformat.v4.new_output("display_data", data={"image/png": "x"})
    cell = nbformat.v4.new_code_cell("a", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), staged / "chapters" / "one.ipynb")
    (html / "start.html").write_text("<img><article></article>")
    (html / "chapters").mkdir()
    (html / "chapters" / "one.html").write_text("<img src=logo><article>no figure</article>")
    problems = pages.missing_from(html, staged)
    assert problems == [
        "- chapters/one: 0 of 1 figures reached the page",
        "- no page for two (listed in _toc.yml)",
    ]


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


# --- Predicting -------------------------------------------------------------------------------------------


@pytest.fixture
def tone(tmp_path):
    import soundfile

    path = tmp_path / "a tone.wav"
    seconds = np.arange(3 * 22_050) / 22_050
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 220 * seconds), 22_050)
    return path


@pytest.fixture
def trained(checkout):
    """Untrained models, in the places where a run leaves the trained ones."""
    import torch

    from genre_utils.models.cnn import GenreCNN
    from genre_utils.models.svm import save_svm
    from genre_utils.paths import runs_dir
    from genre_utils.training import save_model

    torch.manual_seed(0)
    folder = runs_dir("mini")
    save_model(GenreCNN(), folder / "cnn")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 6)
    save_svm(folder / "svm", rng.normal(size=(60, 57)) + labels[:, None], labels, C=20.0, gamma="scale")
    return folder


def run_predict(*arguments):
    return CliRunner().invoke(cli.app, ["predict", *map(str, arguments)])


def test_before_any_run_predict_says_how_to_make_one(checkout, tone, call):
    code, _, error = call("predict", str(tone))
    assert code == 2
    assert "python -m genre_utils run --profile mini" in error


def test_predict_names_the_likeliest_genres_of_each_model(trained, tone):
    result = run_predict(tone, "--json", "--top", 4)
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)
    assert set(answer["guesses"]) == {"svm", "cnn"}
    for guesses in answer["guesses"].values():
        scores = [g["probability"] for g in guesses]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1.001
        assert {g["genre"] for g in guesses} <= set(get_profile("mini").genres)


def test_a_bad_file_is_named_and_the_others_are_still_predicted(trained, tone, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("no music")
    result = run_predict(bad, tone, tmp_path / "missing.wav", "--json")
    assert result.exit_code == 1
    first, second, third = json.loads(result.stdout)
    assert "notes.txt" in first["error"] and "guesses" in second and "missing.wav" in third["error"]


def test_a_head_of_another_backbone_is_refused(trained, tone, call):
    from genre_utils.models.wav2vec import HeadClassifier
    from genre_utils.training import save_model

    save_model(HeadClassifier(5, 384), trained / "head-only", {"backbone": "0123", "window_s": 5})
    code, _, error = call("predict", str(tone))
    assert code == 2
    assert "another backbone" in error and "--backbone" in error


def test_predict_prints_a_table(trained, tone):
    result = run_predict(tone)
    assert result.exit_code == 0 and "cnn" in result.stdout and "%" in result.stdout


def test_a_stored_svm_predicts_as_the_fitted_one(tmp_path):
    from genre_utils.models.svm import load_svm, probabilities, rbf_svm, save_svm

    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(10), 6)
    features, heard = rng.normal(size=(60, 57)) + labels[:, None], rng.normal(size=(5, 57)) + 3
    save_svm(tmp_path, features, labels, C=5.0, gamma=0.01)
    expected = probabilities(rbf_svm(5.0, 0.01), features, labels, heard)
    np.testing.assert_allclose(load_svm(tmp_path).predict_proba(heard), expected)


def test_a_damaged_svm_is_refused(tmp_path):
    from genre_utils.errors import CheckpointError
    from genre_utils.models.svm import load_svm

    with pytest.raises(CheckpointError, match="run chapter 2 again"):
        load_svm(tmp_path)


# --- The doctor -------------------------------------------------------------------------------------------


def test_doctor_reports_every_part_and_a_remedy_for_each_problem(checkout):
    result = CliRunner().invoke(cli.app, ["doctor", "--json"])
    findings = json.loads(result.stdout)
    named = {f["what"] for f in findings}
    assert {
        "Python",
        "torch / torchaudio",
        "Device",
        "Arithmetic",
        "jupyter-book",
        "Shipped backbone",
        "Free disk",
    } <= named
    assert all(f["remedy"] for f in findings if f["level"] != "ok")
    assert result.exit_code == int(any(f["level"] == "broken" for f in findings))


def test_doctor_exits_1_when_something_essential_is_broken(checkout, monkeypatch):
    from genre_utils import doctor

    monkeypatch.setattr(doctor, "_version", lambda package: "2.1.0" if package == "jupyter-book" else "1.0")
    result = CliRunner().invoke(cli.app, ["doctor", "--json"])
    (finding,) = (f for f in json.loads(result.stdout) if f["what"] == "jupyter-book")
    assert finding["level"] == "broken" and "jupyter-book<2" in finding["remedy"]
    assert result.exit_code == 1


# --- The ledger --------------------------------------------------------------------------------------------


def test_a_run_is_exported_and_judged(checkout, call, tmp_path):
    from fake_cards import make_card

    code, _, err = call("export", "--profile", "mini")
    assert code == 2 and "run it first" in err
    for approach in ("full", "head-only"):
        make_card(approach, rate=1.0 if approach == "full" else 0.3).save()
    code, out, _ = call("export", "--profile", "mini", "--out", str(tmp_path / "mine.json"))
    assert code == 0 and "pull request" in out
    code, out, _ = call("ledger", str(tmp_path / "mine.json"), "--csv")
    row = next(line for line in out.splitlines() if line.startswith("Full fine-tuning beats head-only") and ",toy," in line)
    assert code == 0 and ",holds," in row


def test_the_ledger_prints_every_claim(call):
    code, out, _ = call("ledger")
    assert code == 0 and "18 claims" in out and "quick compromise" in out

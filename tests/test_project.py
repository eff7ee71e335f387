"""The parts of the project agree with each other, and the committed notebooks are as the book needs them."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from built_book import repository_url, toc_pages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tiny_book import defaults

from genre_utils.errors import RunError
from genre_utils.evaluation import wilson
from genre_utils.publish.results import between_marks, results_markdown, write_results

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
#: What a page shows of a cell of code; without one of these it is open.
ROLES = {"hide-input", "remove-input", "remove-cell", "check", "hide-cell"}
TAGS = ROLES | {"parameters", "nbval-ignore-output"}
#: Of an open cell.
MOST_LINES, MOST_COLUMNS, MOST_OPEN = 12, 72, 12
#: Endings of files that may carry the address.
TEXT = {".md", ".yml", ".yaml", ".toml", ".cff", ".ipynb", ".py", ".sh", ""}
#: Folders of one machine, as opposed to those a reader is told to choose.
MACHINE_PATH = re.compile(r"/(?:work|root|tmp|home|Users|farm)/[\w.-]+(?:/[\w.-]+)*")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(own: bool = False) -> list[Requirement]:
    """What the package requires of others, with all of its extras; or what its extras take over from each other."""
    about = project()
    lines = about["dependencies"] + [r for extra in about["optional-dependencies"].values() for r in extra]
    return [found for found in map(Requirement, lines) if (found.name == about["name"]) == own]


def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


# --- Packages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_each_requirement_is_locked_within_its_range(requirement):
    pins = locked().get(canonicalize_name(requirement.name), [])
    assert pins, f"{requirement.name} is not in requirements.lock: run `make lock`"
    for pin in pins:
        (only,) = pin.specifier
        assert only.operator == "==", pin
        assert requirement.specifier.contains(only.version, prereleases=True), (
            f"{pin} lies outside {requirement}: `make lock`"
        )


def test_extras_take_over_only_extras_that_there_are():
    assert all(requirement.extras <= set(project()["optional-dependencies"]) for requirement in requirements(own=True))


def test_pyaudio_is_never_installed_from_the_lock():
    environments = [{"sys_platform": name} for name in ("linux", "darwin", "win32")]
    for pin in locked().get("pyaudio", []):
        assert pin.marker and not any(pin.marker.evaluate(environment) for environment in environments)


def test_conda_environment_installs_the_lock_and_this_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert project()["requires-python"] and Requirement(
        f"python{project()['requires-python']}"
    ).specifier.contains(python.removeprefix("python="))
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    # pip resolves what it is given, and tinysoundfont asks for pyaudio: conda has it ready-made.
    assert any(str(d).startswith("pyaudio") for d in environment["dependencies"])


def project_files() -> list[Path]:
    """The text files that git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [ROOT / name for name in names if name]
    return [f for f in files if f.suffix in TEXT and f.is_file()]


# --- One address ----------------------------------------------------------------------------------------


def test_every_link_to_the_repository_uses_the_one_address():
    slug = repository_url().removeprefix("https://github.com/")
    name = re.escape(slug.split("/")[1])
    ours = re.compile(
        rf"github\.com/([\w.-]+/{name})(?![\w-])"  # links and pip's git+https
        r"|colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/"
    )
    strangers = {}
    for path in project_files():
        found = ours.findall(path.read_text(encoding="utf-8", errors="ignore"))
        wrong = {one or other for one, other in found} - {slug}
        if wrong and path.name != Path(__file__).name:
            strangers[str(path.relative_to(ROOT))] = wrong
    assert not strangers


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "_config.yml", "book/run_it_yourself.md"])
def test_these_files_carry_the_address(name):
    assert repository_url() in (ROOT / name).read_text(encoding="utf-8")


def test_the_address_is_changed_everywhere_at_once(tmp_path):
    text = (ROOT / "book" / "architecture.md").read_text(encoding="utf-8")
    command = re.search(r"^git grep.*?(?=^```)", text, flags=re.DOTALL | re.MULTILINE)[0]
    names = {"README.md", "CITATION.cff", "_config.yml"}
    for name in names:
        shutil.copy2(ROOT / name, tmp_path / name)
    for line in ("git init -q", "git add .", command):
        subprocess.run(line, cwd=tmp_path, shell=True, check=True)
    old = repository_url().removeprefix("https://github.com/")
    assert repository_url(tmp_path) == "https://github.com/you/your-fork"
    assert not [name for name in names if old in (tmp_path / name).read_text(encoding="utf-8")]
    assert "github/you/your-fork/blob/main/chapters" in (tmp_path / "README.md").read_text(encoding="utf-8")


# --- Pages ----------------------------------------------------------------------------------------------


def test_every_page_and_chapter_is_in_the_table_of_contents():
    listed = set(toc_pages(ROOT))
    pages = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    chapters = {f"chapters/{path.stem}" for path in NOTEBOOKS}
    generated = {"book/timing"}
    assert (pages | chapters) <= listed
    assert listed - generated <= pages | chapters, "listed in _toc.yml, but there is no such file"


def test_six_chapters_in_the_order_of_their_numbers():
    chapters = [name for name in toc_pages(ROOT) if name.startswith("chapters/")]
    assert len(chapters) == 6
    assert chapters == sorted(chapters)


def test_intervals_on_the_first_page_are_wilsons():
    text = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| ([\d.]+) % \| ([\d.]+)–([\d.]+) % \| (\d+) \|", text)
    assert len(rows) == 3
    for accuracy, low, high, n in rows:
        interval = wilson(round(float(accuracy) * int(n) / 100), int(n))
        assert (low, high) == (f"{100 * interval.low:.1f}", f"{100 * interval.high:.1f}")


def test_every_work_in_the_bibliography_is_cited():
    keys = set(
        re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    )
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md"))
    cited = {
        key.strip() for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in group.split(",")
    }
    assert cited == keys


def test_results_in_the_readme_are_those_of_the_records():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert between_marks(readme) == results_markdown(ROOT / "book" / "results" / "mini"), "run `make results`"


def test_results_are_written_between_the_marks_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n", encoding="utf-8")
    assert write_results(page, "new")
    assert (
        page.read_text(encoding="utf-8")
        == "before\n<!-- results:begin -->\nnew\n<!-- results:end -->\nafter\n"
    )
    assert not write_results(page, "new")


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(RunError, match="must hold"):
        write_results(page, "table")


def test_no_file_names_a_folder_of_one_machine():
    found = {}
    for path in project_files():
        if path.suffix in {".md", ".yml", ".toml", ".ipynb", ".cff", ""} and path != Path(__file__):
            hits = set(MACHINE_PATH.findall(path.read_text(encoding="utf-8", errors="ignore")))
            if hits:
                found[str(path.relative_to(ROOT))] = sorted(hits)
    assert not found


# --- Notebooks ------------------------------------------------------------------------------------------


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_bootstrap_cell_is_the_same_in_every_chapter():
    first = {path.stem: code_cells(path)[0].source for path in NOTEBOOKS}
    assert len(set(first.values())) <= 1, f"these differ: {sorted(first)}"


@each_notebook
def test_bootstrap_cell_installs_from_the_one_address(path):
    assert repository_url() in code_cells(path)[0].source


@each_notebook
def test_exactly_one_cell_holds_the_parameters(path):
    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    lines = ast.parse(tagged[0].source).body
    found = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    assert found == defaults(int(path.name[:2])), "each option that the chapter knows, and what stands for the profile's own"


@each_notebook
def test_source_holds_no_injected_cell(path):
    assert not [c for c in read(path).cells if "injected-parameters" in c.metadata.get("tags", [])]


@each_notebook
def test_every_code_cell_was_run_in_order(path):
    counts = [cell.execution_count for cell in code_cells(path) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1)), "run `make refresh`"


@each_notebook
def test_no_error_and_no_stderr_is_stored(path):
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


@each_notebook
def test_cells_are_short_and_the_file_is_small(path):
    assert max(len(cell.source.splitlines()) for cell in code_cells(path)) <= 30
    assert path.stat().st_size <= 1_000_000


@each_notebook
def test_tags_are_known_ones(path):
    used = {tag for cell in read(path).cells for tag in cell.metadata.get("tags", [])}
    assert used <= TAGS


@each_notebook
def test_a_reader_sees_few_short_cells_of_code(path):
    tags = {cell.id: set(cell.metadata.get("tags", [])) for cell in code_cells(path)}
    assert all(len(found & ROLES) <= 1 for found in tags.values()), "one role a cell"
    seen = [cell for cell in code_cells(path) if not tags[cell.id] & ROLES]
    assert len(seen) <= MOST_OPEN
    for cell in seen:
        lines = cell.source.splitlines()
        assert len(lines) <= MOST_LINES and max(map(len, lines)) <= MOST_COLUMNS, cell.source
        assert not re.search(r"\bassert\b|PASS|RunCard|Markdown\(|# fmt", cell.source), f"not for the page:\n{cell.source}"
        assert "cellView" not in cell.metadata and "jupyter" not in cell.metadata


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.md")), ids=lambda path: path.stem)
def test_no_line_of_a_command_is_cut_off_on_a_page(path):
    shown = re.findall(r"^ *```(?:bash|python)\n(.*?)```", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert max((len(line) for lines in shown for line in lines.splitlines()), default=0) <= MOST_COLUMNS


@each_notebook
def test_a_folded_cell_says_what_is_in_it_and_is_collapsed_everywhere(path):
    first, *others = code_cells(path)
    for cell in others:
        tags = set(cell.metadata.get("tags", []))
        if tags & ROLES and "parameters" not in tags:
            assert re.match(r"# @title \S.{2,59}(\n|$)", cell.source), cell.source
            assert cell.metadata.get("cellView") == "form" and cell.metadata.jupyter.source_hidden, cell.source
        assert ("PASS: " in cell.source and "assert" in cell.source) or "check" not in tags, cell.source
        assert "PASS" not in cell.source or tags & {"check", "hide-cell"}, cell.source
    assert "remove-input" in first.metadata.tags


@each_notebook
def test_one_title_and_no_jump_between_heading_levels(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+)\s", text, flags=re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@each_notebook
def test_kernel_is_named_and_nothing_is_attached(path):
    nb = read(path)
    assert nb.metadata.kernelspec.name == "python3"
    assert nb.metadata.language_info.name == "python"
    assert not [cell for cell in nb.cells if cell.get("attachments")]


@each_notebook
def test_notebook_is_valid_and_free_of_run_metadata(path):
    nb = read(path)
    nbformat.validate(nb)
    assert "papermill" not in nb.metadata
    assert not [c for c in nb.cells if "papermill" in c.metadata or "execution" in c.metadata]


@each_notebook
def test_callouts_read_well_everywhere(path):
    """No MyST directive: Colab, JupyterLab and GitHub would show its source."""
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    assert not re.findall(r"^(?:```|:::)\{\w+", text, flags=re.MULTILINE)
    assert not re.findall(r"\{(?:cite|ref|doc|term)[:\w]*\}`", text)


def test_notebooks_are_json_with_a_final_newline():
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        assert text.endswith("\n")

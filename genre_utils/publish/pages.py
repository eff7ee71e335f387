"""From notebooks to pages: stage the sources, let Jupyter Book build them, check what came out.

Nothing here writes into the source tree: ``build/book-src/<run>/`` holds what Jupyter Book is given,
``build/html/<run>/`` the pages.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import nbformat
import yaml
from sphinx_external_toc.parsing import parse_toc_yaml

from genre_utils.errors import RunError, WorkFailed
from genre_utils.identity import OPTIONS, Identity
from genre_utils.paths import home, recorded_dir
from genre_utils.publish.paper import print_book
from genre_utils.publish.results import markdown_table
from genre_utils.publish.run import RUN_KEY, all_chapters, book_root, chapters_dir, sections
from genre_utils.publish.site import UNSET

#: How a folded cell begins, so that Colab shows what is in it.
TITLE = "# @title "
#: The address without a page leads to the first one.
FRONT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><meta http-equiv="refresh" content="0; url={first}"></head>
<body><p><a href="{first}">{title}</a></p></body></html>
"""
#: Where a page shows what a cell of a chapter has put out.
QUOTED = re.compile(r"<!-- output: (\S+) (\S+) -->")


def stage(source: Path, target: Path, executed: Path | None, paper: bool = False) -> list[str]:
    """Lay out in `target` what Jupyter Book builds: chapters from `executed` where that folder has them, else from the
    source tree; returns the latter, which are shown with their committed outputs."""
    if target.exists():
        shutil.rmtree(target)
    keep_out = shutil.ignore_patterns("_static", ".ipynb_checkpoints")
    shutil.copytree(source / "book", target / "book", ignore=keep_out)
    shutil.copytree(source / "book" / "_static", target / "_static")
    shutil.copy2(source / "_toc.yml", target / "_toc.yml")
    (target / "_config.yml").write_text(configured((source / "_config.yml").read_text("utf-8"), paper=paper), encoding="utf-8")

    (target / "chapters").mkdir()
    ran = {path.stem: path for path in executed.glob("*.ipynb")} if executed else {}
    paths = {chapter.name: ran.get(chapter.name, chapter.path) for chapter in all_chapters(source)}
    notebooks = {name: nbformat.read(path, as_version=4) for name, path in paths.items()}
    (target / "book" / "timing.md").write_text(timing_page(notebooks), encoding="utf-8")
    for page in (target / "book").glob("*.md"):
        page.write_text(QUOTED.sub(lambda found: quoted(notebooks, *found.groups()), page.read_text("utf-8")), encoding="utf-8")
    for name, nb in notebooks.items():
        nbformat.write(_for_the_page(nb), target / "chapters" / f"{name}.ipynb")
    return [name for name in paths if name not in ran]


def has_address() -> bool:
    """Whether somebody has said where the repository lies."""
    return UNSET not in yaml.safe_load((book_root() / "_config.yml").read_text("utf-8"))["repository"]["url"]


def configured(text: str, paper: bool = False) -> str:
    """``_config.yml`` for the pages. With the repository's address they get their own, on GitHub Pages unless ``html.baseurl``
    says otherwise, and a sitemap; as long as nobody has set it, buttons that would lead nowhere are left out."""
    settings = yaml.safe_load(text)
    shown, sphinx = settings["html"], settings["sphinx"]
    owner, name = settings["repository"]["url"].split("/")[-2:]
    if UNSET in settings["repository"]["url"]:
        settings.pop("launch_buttons")
        shown |= dict.fromkeys(("use_repository_button", "use_issues_button", "use_edit_page_button"), False)
        sphinx["config"]["notfound_urls_prefix"] = None
    else:
        home_page = shown.setdefault("baseurl", f"https://{owner.lower()}.github.io/{name}/")
        sphinx["config"] |= {"notfound_urls_prefix": urlparse(home_page).path, "ogp_site_url": home_page}
    sphinx["config"]["book_on_paper"] = paper
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def quoted(notebooks: dict, chapter: str, cell_id: str) -> str:
    """What the cell `cell_id` of a chapter has put out, as Markdown; a WorkFailed if there is no such cell."""
    found = [cell for cell in notebooks[chapter].cells if cell.id == cell_id] if chapter in notebooks else []
    if not found:
        raise WorkFailed(f"a page shows what the cell {cell_id} of {chapter} puts out, and there is no such cell")
    data = [output.get("data", {}) for output in found[0].outputs]
    return "\n\n".join(told.get("text/markdown", told.get("text/html", "")) for told in data)


def _folded(nb) -> list:
    """The cells as a page shows them: the title of a folded cell is the text of its bar, and what the checks of a section
    have printed is gathered in one line at the section's end, which unfolds."""
    cells, checked = [], []

    def gather() -> None:
        if checked:
            found = "".join(f"<li>{html.escape(told)}</li>" for told in checked)
            line = f'<details class="checked"><summary>Checked by the notebook: {len(checked)}</summary><ul>{found}</ul></details>'
            cells.append(nbformat.v4.new_markdown_cell(line, id=f"checked-{len(cells)}"))
            checked.clear()

    stands = sections(nb.cells)
    for number, cell in enumerate(nb.cells):
        tags = cell.metadata.get("tags", [])
        if number and stands[number] != stands[number - 1]:
            gather()
        if "check" in tags:
            printed = "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")
            checked += [line.removeprefix("PASS: ") for line in printed.splitlines() if line.strip()]
            continue
        if cell.cell_type == "code":
            title, _, rest = cell.source.partition("\n")
            if title.startswith(TITLE):
                cell.source, prompt = rest, title.removeprefix(TITLE)
                cell.metadata["mystnb"] = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
        cells.append(cell)
    gather()
    return cells


def _for_the_page(nb):
    """Take out what belongs to one machine, fold, hide the injected cell where it repeats the defaults, and name the run at
    the head of a page that was run with others."""
    run = nb.metadata.pop(RUN_KEY, {})
    nb.metadata.pop("papermill", None)
    for cell in nb.cells:
        for mark in ("papermill", "execution"):
            cell.metadata.pop(mark, None)
        if "injected-parameters" in cell.metadata.get("tags", []) and run.get("run") == "mini":
            cell.metadata["tags"].append("remove-cell")
    if run and run.get("run") != "mini":
        told = ", ".join(f"{part} **{run['about'][part]}**" for part in ("profile", "seed", *OPTIONS) if part in run["parameters"])
        first = next(cell for cell in nb.cells if cell.cell_type == "markdown")
        title, _, rest = first.source.partition("\n")
        first.source = f"{title}\n\n> This page was run with: {told}.\n{rest}"
    nb.cells = _folded(nb)
    return nb


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)} min {seconds % 60:04.1f} s" if seconds >= 60 else f"{seconds:.1f} s"


def chapter_times(nb) -> tuple[float, dict[str, float]]:
    """Seconds of an executed chapter, and of each of its sections, as papermill recorded them."""
    spent: dict[str, float] = {}
    for cell, section in zip(nb.cells, sections(nb.cells), strict=True):
        spent[section] = spent.get(section, 0.0) + (cell.metadata.get("papermill", {}).get("duration") or 0.0)
    return nb.metadata.get("papermill", {}).get("duration") or 0.0, spent


def timing_page(notebooks: dict) -> str:
    """Markdown page with the time of each chapter, as papermill recorded it, and with what other machines took."""
    rows, machines = {}, set()
    for name, nb in notebooks.items():
        run, (total, spent) = nb.metadata.get(RUN_KEY, {}), chapter_times(nb)
        if total:
            machines.add(run.get("machine", "not recorded"))
            slowest = ", ".join(f"{s or 'start'} ({_clock(spent[s])})" for s in sorted(spent, key=spent.get, reverse=True)[:3])
            rows[name] = f"[{name}](../chapters/{name}.ipynb)", run.get("run", "?"), _clock(total), slowest
    if rows:
        text = """Measured while these very pages were made, with two chapters side by side where there is no GPU.
The time of a chapter includes starting Python and loading its libraries, but not the clips and features that were made
ready before or that a former run left in the cache."""
        table = markdown_table(("Chapter", "Run", "Time", "Slowest sections"), rows.values(), ("Time",))
        lines = [text, "", *(f"- Machine: {name}" for name in sorted(machines)), "", *table]
        if rest := sorted(set(notebooks) - set(rows)):
            lines += ["", "Shown with their stored outputs, not run this time: " + ", ".join(rest) + "."]
    else:
        lines = ["""These pages were built from the outputs stored in the notebooks; nothing was run while building
them, so there are no times of their own to show. `make book` runs every chapter and measures it."""]
    if checked := os.environ.get("BOOK_CHECKED"):  # the published pages are told by GitHub
        lines += ["", f"The book's tests last passed {checked}."]
    return "\n".join(["# What it costs to run", "", *lines, *_notes()]) + "\n"


def _notes() -> list[str]:
    """What the benchmarks wrote for this page, each a section."""
    return ["\n" + path.read_text(encoding="utf-8") for path in sorted((recorded_dir() or Path()).glob("timing/*.md"))]


def build_book(
    run: Identity, *, committed: bool = False, paper: bool = False, out: Path | None = None, work: Path | None = None
) -> tuple[Path, list[str]]:
    """Build the HTML from the executed chapters of `run`; if `committed`, from the stored outputs of ``chapters/`` alone; with
    `paper`, print it as well.

    The pages go to `out` (``build/html/<run>``), the staged sources to `work` (``build/book-src/<run>``). Returns the
    page to open, and the chapters that are shown with their committed outputs; a WorkFailed if Jupyter Book warns or
    fails.
    """
    root, built = book_root(), home() / "build"
    if out and out.exists() and not (out / "_static").is_dir() and any(out.iterdir()):
        raise RunError(f"{out} holds something else than pages of a book, and they would take its place: name another folder")
    out = out or built / "html" / run.name()
    work = work or built / "book-src" / run.name()
    stored = stage(root, work, None if committed else chapters_dir(run), paper)
    result = work.with_name(work.name + ".out")
    shutil.rmtree(result, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(work),
               "-W", "-n", "--keep-going", "--all", "--path-output", str(result)]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    log = work.with_name(work.name + ".log")
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr + done.stdout)
    log.write_text(said, encoding="utf-8")
    pages = result / "_build" / "html"
    if done.returncode != 0:
        lines = said.splitlines()
        causes = [line for line in lines if re.search("WARNING|ERROR", line)] or lines[-15:]
        raise WorkFailed("\n".join(["Jupyter Book did not accept the sources:", *causes, f"Full log: {log}"]))
    settings = yaml.safe_load((work / "_config.yml").read_text("utf-8"))
    first, title = parse_toc_yaml(work / "_toc.yml").root.docname, settings["title"]
    (pages / "index.html").write_text(FRONT.format(title=html.escape(title), first=f"{first}.html"), encoding="utf-8")
    if paper:
        print_book(pages, work / "_toc.yml", title, settings["html"].get("baseurl", ""))
    if out.exists():  # the former pages stay until the new ones are complete
        shutil.rmtree(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(pages, out)
    shutil.rmtree(result, ignore_errors=True)
    return out / "index.html", stored

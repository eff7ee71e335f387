"""The whole book with empty caches: seconds of each part, and the memory of all of its processes together.

    python benchmarks/book.py                     # this machine as it is
    python benchmarks/book.py --ordinary          # a processor with AVX2 only (no AVX-512, no bfloat16), imitated
    python benchmarks/book.py --ordinary --write  # and keep the result for the timing page (book/results/timing/)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil

from genre_utils.provenance import hardware, origin
from genre_utils.publish.pages import chapter_times
from genre_utils.publish.results import markdown_table
from genre_utils.publish.run import all_chapters

ROOT = Path(__file__).resolve().parents[1]
ORDINARY = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def timed(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of ``python -m genre_utils`` with `words`, and the largest memory (GB) of it and all its children."""
    process = psutil.Popen([sys.executable, "-m", "genre_utils", *words], cwd=ROOT, env=os.environ | environment)
    peak, began = [0.0], time.monotonic()

    def watch() -> None:
        while process.is_running():
            total = 0
            for one in [process, *process.children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total / 1e9)
            time.sleep(1.0)

    threading.Thread(target=watch, daemon=True).start()
    if process.wait():
        sys.exit(f"genre_utils {' '.join(words)} failed")
    return time.monotonic() - began, peak[0]


def section(one: dict) -> str:
    """What the timing page says of a result: Markdown."""
    about, chapters = one["machine"], one["chapters_s"]
    seconds = {"Chapters": one["run_s"], "Pages": one["pages_s"], **{name[:2]: spent for name, spent in chapters.items()}}
    cells = [f"{int(s // 60)} min {s % 60:02.0f} s" if s >= 60 else f"{s:.0f} s" for s in seconds.values()]
    name = ", ".join(filter(None, (about["processor"], f"{about['cores']} cores", about["imitated"])))
    text = f"""The whole book (profile mini, after installation, all caches empty) took {(one['run_s'] + one['pages_s']) / 60:.1f} minutes
and up to {one['memory_gb']:.1f} GB of memory, with two chapters side by side."""
    if about["imitated"]:
        text += """ A processor with "AVX2 only" has neither AVX-512 nor bfloat16, as
many laptops and desktop computers; it was imitated by switching both off."""
    table = markdown_table(list(seconds), [cells], list(seconds))
    return "\n".join([f"## On another machine: {name}", "", text, "", *table]) + "\n"


def main() -> None:
    """Run, print a table, and keep it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ordinary", action="store_true", help="imitate a processor with AVX2 only")
    parser.add_argument("--write", action="store_true", help="keep the result in book/results/timing/")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = {"GENRE_UTILS_HOME": home} | (ORDINARY if chosen.ordinary else {})
        run_s, run_gb = timed(["run"], environment)
        build_s, build_gb = timed(["build"], environment)
        made = Path(home, "build", "chapters", "mini")
        ran = {one.name: nbformat.read(made / one.path.name, as_version=4) for one in all_chapters(ROOT)}
        chapters = {name: round(chapter_times(nb)[0], 1) for name, nb in ran.items()}
    about = {"machine": hardware() | {"imitated": "AVX2 only" if chosen.ordinary else None}, "chapters_s": chapters,
             "run_s": round(run_s, 1), "pages_s": round(build_s, 1), "memory_gb": round(max(run_gb, build_gb), 2),
             **{name: value for name, value in origin().items() if name in ("git_commit", "uncommitted", "created")}}  # fmt: skip
    print(json.dumps(about, indent=1))
    if chosen.write:
        name = re.sub(r"\W+", "-", f"{about['machine']['processor']} {about['machine']['imitated'] or 'as it is'}").strip("-").lower()
        path = ROOT / "book" / "results" / "timing" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(section(about), encoding="utf-8")


if __name__ == "__main__":
    main()

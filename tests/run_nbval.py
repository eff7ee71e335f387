"""Every notebook against its stored outputs (``pytest --nbval``), under a limit that a dead kernel cannot outlast.

A cell limit alone is not enough: after its kernel has died, nbval waits for the whole limit at *each* of the
remaining cells. So the run as a whole has a limit too, and goes with all of its kernels when it is over.

Two notebooks run at a time, with half of the cores each, because small networks use a second core badly.

Each trains in a fresh folder, whatever was run here before. With NBVAL_RUNS=FOLDER those that train take up what a run
of the book has just left in that folder instead: then its training is what must give the stored outputs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = int(os.environ.get("NBVAL_LIMIT_S", "2700"))
#: Ample for the longest training, which takes three to ten minutes on one core.
CELL_LIMIT_S = 1200
CORES = os.cpu_count() or 1
AT_ONCE = min(2, CORES)
#: Those that train longest come first, so that no worker is left alone with one at the end.
LONGEST_FIRST = ("02", "05", "04", "03")
TRAIN = ("02", "04", "05")
#: All of them hear the same clips: render them and compute their features once, on all cores, before they start.
PREPARE = """
from genre_utils.identity import identity
from genre_utils.publish.run import all_chapters, prepare
prepare(identity(), all_chapters(), progress=False)
"""


def check(notebook: Path, until: float, threads: int) -> int:
    """Exit status of pytest on one notebook, or 124 if the time was up."""
    command = [sys.executable, "-m", "pytest", "--nbval", str(notebook), "--nbval-current-env", "-q"]
    command += ["--nbval-cell-timeout", str(CELL_LIMIT_S), "-p", "no:cacheprovider"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    with tempfile.TemporaryDirectory(prefix="genre-runs-") as fresh:
        runs = os.environ.get("NBVAL_RUNS") if notebook.name[:2] in TRAIN else None
        own = {"GENRE_UTILS_RUNS": runs or fresh, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
        environment = os.environ | own
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        run = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)
        try:
            said, _ = run.communicate(timeout=max(0.0, until - time.monotonic()))
            print(f"{notebook.name}: {said.strip()}", flush=True)
            return run.returncode
        except subprocess.TimeoutExpired:
            print(
                f"\n{notebook.name} was stopped: all notebooks together have {LIMIT_S} s. A dead kernel (out of memory) "
                "is the usual cause; a slower machine needs a higher limit: NBVAL_LIMIT_S=3600 make test",
                file=sys.stderr,
            )
            return 124
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()


def main(notebooks: list[str]) -> int:
    """Highest exit status of all notebooks."""
    chosen = [Path(name) for name in notebooks] or sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
    place = {prefix: i for i, prefix in enumerate(LONGEST_FIRST)}
    chosen.sort(key=lambda notebook: place.get(notebook.name[:2], len(place)))
    subprocess.run([sys.executable, "-c", PREPARE], cwd=ROOT, check=True)
    until = time.monotonic() + LIMIT_S
    with ThreadPoolExecutor(AT_ONCE) as workers:
        results = list(workers.map(lambda notebook: check(notebook, until, max(1, CORES // AT_ONCE)), chosen))
    return max(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

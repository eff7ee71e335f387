"""Every notebook against its stored outputs (``pytest --nbval``), under a limit that a dead kernel cannot outlast.

A cell limit alone is not enough: after its kernel has died, nbval waits for the whole limit at *each* of the
remaining cells. So the run as a whole has a limit too, and goes with all of its kernels when it is over.

Two notebooks run at a time, with half of the cores each, because small networks use a second core badly; the CNN uses it
well, and has both for itself.
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
#: Ample for the longest training, which takes one to six minutes on two cores.
CELL_LIMIT_S = 900
CORES = os.cpu_count() or 1
AT_ONCE = min(2, CORES)
#: Runs alone, on all cores.
ALONE = "02"
#: Those that train longest come first, so that no worker is left alone with one at the end.
LONGEST_FIRST = ("05", "04", "03")


def check(notebook: Path, until: float, threads: int) -> int:
    """Exit status of pytest on one notebook, or 124 if the time was up."""
    command = [sys.executable, "-m", "pytest", "--nbval", str(notebook), "--nbval-current-env", "-q"]
    command += ["--nbval-cell-timeout", str(CELL_LIMIT_S), "-p", "no:cacheprovider"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    with tempfile.TemporaryDirectory(prefix="genre-runs-") as fresh:
        # A fresh folder for models and records: training really runs, whatever was run here before.
        own = {"GENRE_UTILS_RUNS": fresh, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
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
    # All of them hear the same corpus: render it once, before they start.
    render = "from genre_utils.corpora import load_corpus; from genre_utils.profiles import get_profile; "
    subprocess.run([sys.executable, "-c", render + "load_corpus(get_profile('mini'))"], cwd=ROOT, check=True)
    until = time.monotonic() + LIMIT_S
    results = [check(notebook, until, CORES) for notebook in chosen if notebook.name.startswith(ALONE)]
    others = [notebook for notebook in chosen if not notebook.name.startswith(ALONE)]
    with ThreadPoolExecutor(AT_ONCE) as workers:
        results += workers.map(lambda notebook: check(notebook, until, max(1, CORES // AT_ONCE)), others)
    return max(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

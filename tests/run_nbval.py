"""Every notebook against its stored outputs (``pytest --nbval``), under a limit that a dead kernel cannot outlast.

A cell limit alone is not enough: after its kernel has died, nbval waits for the whole limit at *each* of the
remaining cells. So the run as a whole has a limit too, and goes with all of its kernels when it is over.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = int(os.environ.get("NBVAL_LIMIT_S", "1500"))
CELL_LIMIT_S = 300


def main(notebooks: list[str]) -> int:
    """Exit status of pytest, or 124 if the limit was reached."""
    command = [sys.executable, "-m", "pytest", "--nbval", *(notebooks or ["chapters"]), "--nbval-current-env"]
    command += ["--nbval-cell-timeout", str(CELL_LIMIT_S), "-p", "no:cacheprovider"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    with tempfile.TemporaryDirectory(prefix="genre-runs-") as fresh:
        # A fresh folder for models and records: training really runs, whatever was run here before.
        environment = os.environ | {"GENRE_UTILS_RUNS": fresh, "HF_HUB_OFFLINE": "1"}
        run = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
        try:
            return run.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            print(
                f"\nThe notebooks were stopped after {LIMIT_S} s. A dead kernel (out of memory) is the usual "
                "cause; a slower machine needs a higher limit: NBVAL_LIMIT_S=3600 make test",
                file=sys.stderr,
            )
            return 124
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

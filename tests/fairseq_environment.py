"""An environment with fairseq in it, for parity tests and benchmarks alone; prints its Python's path when run.

fairseq itself does not install on Python 3.11. ``fairseq-fixed`` does, without its declared dependencies; torch and
the rest are borrowed from the environment that runs this.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "fairseq-venv"
PACKAGES = [
    "fairseq-fixed", "hydra-core", "omegaconf", "antlr4-python3-runtime==4.9.3", "bitarray", "sacrebleu",
    "portalocker", "colorama", "tabulate", "lxml",
]  # fmt: skip


class CannotInstall(Exception):
    """The packages cannot be had here; the message is the installer's."""


def fairseq_python() -> Path:
    """Python of that environment, which is made on first use."""
    python, ready = FOLDER / "bin" / "python", FOLDER / "ready"
    if not ready.is_file():
        shutil.rmtree(FOLDER, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(FOLDER)], check=True)
        (own,) = FOLDER.glob("lib/python*/site-packages")
        (own / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
        # Its compiled extras serve text and decoding, not wav2vec 2.0: left out, as fairseq does for its own manual.
        without = os.environ | {"READTHEDOCS": "1"}
        done = subprocess.run([*command, "--no-build-isolation", *PACKAGES], check=False, capture_output=True, text=True, env=without)
        if done.returncode:
            raise CannotInstall((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        ready.touch()
    return python


if __name__ == "__main__":
    print(fairseq_python())

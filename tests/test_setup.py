"""`make setup` in whatever state the environment is: absent, broken, copied from elsewhere, or behind a firewall."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Stands for Python: notes what it is asked, makes "environments" of itself, and lets uv fail if UV_FAILS.
PYTHON = r"""#!/bin/bash
echo "$*" >> "{log}"
case "$*" in
  "-m venv --clear "*) rm -rf "$4"; mkdir -p "$4/bin"; cp "{me}" "$4/bin/python"
    printf "#!/bin/sh\n'''exec' \"%s/bin/python\"\n" "$(pwd -P)/$4" > "$4/bin/pip";;
  "-m pip --version") [ -e "$(dirname "$0")/pip" ];;
  "-m uv "*) [ -z "${UV_FAILS:-}" ];;
esac
"""
BY_PIP = "-m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock"


@pytest.fixture
def setup(tmp_path):
    """`make setup` in a copy of the Makefile; returns what Python was asked."""
    if shutil.which("make") is None:
        pytest.skip("needs make")

    def run(folder: Path = tmp_path / "a checkout", **environment: str) -> list[str]:
        folder.mkdir(exist_ok=True)
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            if not (folder / name).exists():
                shutil.copy2(ROOT / name, folder / name)
        log, python = tmp_path / "log", tmp_path / "python"
        python.write_text(PYTHON.replace("{log}", str(log)).replace("{me}", str(python)))
        python.chmod(0o755)
        log.unlink(missing_ok=True)
        call = ["make", "setup", f"PYTHON={python}"]
        done = subprocess.run(call, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return log.read_text().splitlines() if log.exists() else []

    return run


def made(asked: list[str]) -> bool:
    return "-m venv --clear .venv" in asked


def test_it_is_made_once(setup, tmp_path):
    assert made(setup())
    assert (tmp_path / "a checkout" / ".venv" / ".stamp").read_text().strip() == str(tmp_path / "a checkout")
    assert setup() == []


@pytest.mark.parametrize("broken", ["no pip", "dangling python"])
def test_a_broken_environment_is_made_again(setup, tmp_path, broken):
    setup()
    place = tmp_path / "a checkout" / ".venv"
    (place / ".stamp").unlink()
    if broken == "no pip":
        (place / "bin" / "pip").unlink()
    else:
        (place / "bin" / "python").unlink()
        (place / "bin" / "python").symlink_to("/no/such/python")
    assert made(setup())


def test_an_environment_that_is_whole_is_kept(setup, tmp_path):
    setup()
    (tmp_path / "a checkout" / ".venv" / ".stamp").unlink()
    asked = setup()
    assert not made(asked) and any("uv pip sync" in one for one in asked)


def test_a_copied_checkout_gets_an_environment_of_its_own(setup, tmp_path):
    setup()
    shutil.copytree(tmp_path / "a checkout", tmp_path / "copy", symlinks=True)
    assert made(setup(tmp_path / "copy"))


def test_uv_does_it_alone_where_it_can(setup):
    assert BY_PIP not in setup()


def test_pip_takes_over_behind_a_firewall_that_uv_does_not_know(setup):
    asked = setup(UV_FAILS="1")
    assert BY_PIP in asked and "-m pip install --quiet --disable-pip-version-check --no-deps -e ." in asked

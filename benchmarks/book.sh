#!/usr/bin/env bash
# The whole book with empty caches: seconds of the run and of the build, and the largest process (GNU time).
set -euo pipefail
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export GENRE_UTILS_HOME=$home
/usr/bin/time -f "run:   %e s, largest process %M kB" .venv/bin/python -m genre_utils run --profile mini --seed 0
/usr/bin/time -f "build: %e s, largest process %M kB" .venv/bin/python -m genre_utils build --profile mini

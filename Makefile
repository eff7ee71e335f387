# make book · make test · make lab: each sets itself up first. `make help` lists everything.
PYTHON   ?= python3
PROFILE  ?= mini
SEED     ?= 0
SEEDS    ?= 1
SPLIT    ?=
BACKBONE ?=
PROTOCOL ?=
GENRES   ?=
CHAPTERS ?=
CONFIG   ?= workflow/config/small.yaml
CORES    ?= 2
CLUSTER  ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV  := .venv
BIN   := $(VENV)/bin
PY    := $(BIN)/python
STAMP := $(VENV)/.stamp
SNAKEMAKE := build/snakemake/bin/snakemake

.PHONY: help book pdf release matrix test lab setup lock refresh results clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo
	@echo "  PROFILE=mini|gtzan-mini|gtzan   SEED=0   SEEDS=1   CHAPTERS=1,2,4 (all if empty)   PYTHON=python3"
	@echo "  SPLIT=random   BACKBONE=owner/name   PROTOCOL=original   GENRES=blues,rock (the profile's own if empty)"
	@echo "  matrix: CONFIG=$(CONFIG)   CORES=2   CLUSTER=slurm|kubernetes   DRY=1 (only show the jobs)   ARGS=..."

# A checkout that was copied or renamed has the old one's paths in its environment: it is made again.
$(shell test "$$(cat $(STAMP) 2>/dev/null)" = "$$(pwd -P)" || rm -f $(STAMP))

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 14) else \
	  "Python 3.10 to 3.13 is needed, this is %d.%d: choose another with  make PYTHON=python3.11 ..." % v)'
	@if ! $(PY) -m pip --version >/dev/null 2>&1 || ! head -3 $(BIN)/pip | grep -qF "$$(pwd -P)/"; then \
	  $(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo "Installing the pinned packages into $(VENV) and compiling them (about 6 GB with torch; once)"
	@$(PY) -m pip install --quiet --disable-pip-version-check uv || true
	@if $(PY) -m uv pip sync --quiet --compile-bytecode --python $(PY) requirements.lock && \
	  $(PY) -m uv pip install --quiet --python $(PY) --no-deps -e .; then :; else \
	  echo "uv did not install them: pip, which knows its own mirrors and certificates, does it now"; \
	  $(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock; \
	  $(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi
	@echo "Compiling what librosa compiles at its first use"
	@$(PY) -c 'import numpy, genre_utils.features as f; f.clip_statistics(numpy.random.default_rng(0).normal(size=22050), 22050)'
	@pwd -P > $@

setup: $(STAMP)  ## only install the environment

RUN = --profile "$(PROFILE)" --seed "$(SEED)" --split "$(SPLIT)" --backbone "$(BACKBONE)" --protocol "$(PROTOCOL)" \
  --genres "$(GENRES)"

book: $(STAMP)  ## run the chapters and build the pages (build/html/RUN/index.html)
	@$(PY) -m genre_utils run $(RUN) --seeds "$(SEEDS)" --chapters "$(CHAPTERS)"
	@$(PY) -m genre_utils build $(RUN)

pdf: $(STAMP)  ## build the pages of the last make book again with a PDF of the whole book (needs Chromium)
	@$(PY) -m genre_utils build $(RUN) --pdf

release: book pdf  ## all that a release holds, in build/release: wheel, notebooks, PDF, pages
	@rm -rf build/release && mkdir -p build/release
	@$(PY) -m uv build --quiet --wheel --out-dir build/release
	@site=$$($(PY) -c 'from genre_utils.identity import identity; from genre_utils.paths import home; print(home() / "build" / "html" / identity("$(PROFILE)", "$(SEED)", split="$(SPLIT)", backbone="$(BACKBONE)", protocol="$(PROTOCOL)", genres="$(GENRES)").name())'); \
	  cp "$$site"/_downloads/{notebooks.zip,book.pdf} build/release/; tar -czf build/release/pages.tar.gz -C "$$site" .
	@ls -lh build/release

$(SNAKEMAKE):
	@echo "Installing Snakemake into build/snakemake (once; it needs Python 3.11 or later)"
	@$(PYTHON) -m venv --clear build/snakemake
	@build/snakemake/bin/python -m pip install --quiet --disable-pip-version-check "snakemake==9.*"

PLUGINS_slurm      := "snakemake-executor-plugin-slurm==2.*"
PLUGINS_kubernetes := "snakemake-executor-plugin-kubernetes==0.5.*" "snakemake-storage-plugin-fs==1.*"

build/snakemake/.%: $(SNAKEMAKE)  # what Snakemake needs beside itself for one kind of cluster
	@$(if $(PLUGINS_$*),build/snakemake/bin/python -m pip install --quiet --disable-pip-version-check $(PLUGINS_$*))
	@touch $@

matrix: $(if $(DRY),,$(STAMP)) $(SNAKEMAKE) $(addprefix build/snakemake/.,$(CLUSTER))  ## run approach x split x seed x backbone, as CONFIG has it (Snakemake)
	@$(SNAKEMAKE) --snakefile workflow/Snakefile --configfile "$(CONFIG)" --cores "$(CORES)" \
	  $(if $(CLUSTER),--workflow-profile workflow/profiles/$(CLUSTER)) $(if $(DRY),--dry-run --quiet rules reason host) $(ARGS)

test: $(STAMP)  ## lint, unit tests, and every notebook against its stored outputs
	@$(PY) -m ruff check .
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder
	@$(PY) tests/run_nbval.py

lab: $(STAMP)  ## open the chapters in JupyterLab
	@$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/chapters/01_dataset.ipynb

refresh: $(STAMP)  ## run the chapters (mini, seed 0; all, or CHAPTERS) and store their outputs in chapters/
	@rm -rf build/refresh
	@HF_HUB_OFFLINE=1 $(PY) -m genre_utils run --chapters "$(CHAPTERS)" --profile mini --seed 0 --out build/refresh
	@$(PY) tests/store_outputs.py build/refresh/*.ipynb

results: $(STAMP)  ## write the results table of README.md from book/results/
	@$(PY) -m genre_utils results --profile "$(PROFILE)" --write README.md

lock: $(STAMP)  ## resolve pyproject.toml again into requirements.lock
	@$(PY) -m uv pip compile pyproject.toml --all-extras -c constraints.txt --universal --python-version 3.11 \
	  --no-annotate --no-emit-package pyaudio --custom-compile-command "make lock" --quiet -o requirements.lock

clean:  ## remove what was built (keeps .venv and the cache in data/)
	rm -rf build .snakemake .pytest_cache .ruff_cache .hypothesis

# Every target sets up .venv by itself when it is missing.
PYTHON ?= python3
BIN := .venv/bin
CORES ?= $(shell nproc)
EXPERIMENT ?= demo
GPUS := $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU ')
# One training at a time on each GPU; a machine without GPUs is limited by its cores alone.
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) $(if $(filter-out 0,$(GPUS)),--resources gpu=$(GPUS))
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help env demo study test test-slurm docs figures publish restore lock wheel notes lint format bench schemas
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

env: .venv/installed  ## the environment alone (two minutes)
.venv/installed: envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' \
	  || { echo "make: Crossmodal needs Python 3.11.5 or later; set PYTHON=python3.11"; exit 1; }
	@echo "Setting up .venv (about two minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: env  ## the demo of config.yaml on the embedded phantom, to results/demo/report.html
	@[ -d data ] || $(SNAKEMAKE) -- generate_phantom
	@$(BIN)/crossmodal cohort pin data.dvc
	@$(SNAKEMAKE)
	@echo "The report is results/demo/report.html"

SEED ?= 0
study: env  ## one seed of the reference study with its controls (SEED=0, hours), added to results/reference_study
	@$(BIN)/python bench/study.py $(SEED) --cores $(CORES)

test: env  ## all tests but those that need a Slurm
	@$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not slurm"

test-slurm: env  ## the workflow on a one-node Slurm of its own: in CI, or with CROSSMODAL_TEST_SLURM=1
	@$(BIN)/python tests/slurm/prepare.py
	@$(BIN)/python -m pytest tests/slurm -m slurm

docs: env  ## the site of docs/, to build/docs/index.html; a broken link is an error
	@$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees docs build/docs
	@echo "The site is build/docs/index.html"

figures: env  ## tables and figures of results/reference again, without training
	@[ -f results/reference/tables/per_case.csv ] || $(BIN)/crossmodal merge results/reference
	@$(BIN)/crossmodal tables results/reference
	@$(BIN)/crossmodal figures results/reference
	@$(BIN)/crossmodal report results/reference

publish: env  ## models, predictions and scores of EXPERIMENT=… to REMOTE=… (folder, s3://…, ssh://…, a DVC remote)
	@$(BIN)/crossmodal publish "results/$(EXPERIMENT)" $(if $(REMOTE),--remote "$(REMOTE)") \
	  $(if $(PREPROCESSED),--preprocessed)

restore: env  ## what was published of EXPERIMENT=…, every hash checked, so that snakemake has nothing to do
	@$(BIN)/crossmodal restore "results/$(EXPERIMENT)"

bench: env  ## measure speed beside stock nnU-Net (up to 40 minutes), to src/crossmodal/data/step_times.json
	@$(BIN)/python bench/run.py

schemas: env  ## JSON schemas and the table of losses again, from the classes
	@$(BIN)/crossmodal schemas src/crossmodal/data/schemas --docs docs/methods.md

# From the package index torch brings the CUDA packages that it was built with, so they are not pinned here; argparse is
# part of Python.
LOCK ?= envs/requirements.lock
lock:  ## the newest versions that fit together, to envs/requirements.lock (or LOCK=…)
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/pip install --quiet --disable-pip-version-check uv
	@build/uv/bin/uv pip compile --quiet pyproject.toml --all-extras --group dev --no-header --no-annotate \
	  --python-version 3.11.5 --python-platform x86_64-manylinux_2_28 --output-file build/resolved.lock --upgrade
	@grep '^#' envs/requirements.lock >build/requirements.lock
	@grep -vE '^(argparse==|cuda-|nvidia-|triton==)' build/resolved.lock >>build/requirements.lock
	@mv build/requirements.lock "$(LOCK)"

wheel: env  ## the library as a wheel, to build/wheel
	@$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .

notes:  ## what CHANGELOG.md says of VERSION=…, for a release
	@awk -v version="$(VERSION)" '/^## / { on = $$2 == version; next } on { print; found = 1 } END { exit !found }' CHANGELOG.md \
	  || { echo "make: CHANGELOG.md has no section '$(VERSION)'" >&2; exit 1; }

lint: env  ## ruff, snakefmt, snakemake --lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

format: env  ## rewrite the code as lint wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile workflow

#!/usr/bin/env bash
# Snakemake runs this once in the new environment, from the folder in which it was started.
set -euo pipefail
pip install -r envs/requirements.lock
pip install --no-deps --no-build-isolation -e .

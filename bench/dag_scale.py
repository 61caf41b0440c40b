"""How Snakemake's dry run scales with the experiment, beside a bare workflow with as many jobs. Prints one table.

    python bench/dag_scale.py [--rounds 3] [--jobs 100 1000 10000]

The experiment: 14 methods × 15 subsets × folds × seeds, cut to about the given number of jobs. The bare workflow has
the same chains (train, predict, score, collect), file names, logs and fixed resources, without a config, a teacher, a
parameter, a message or a function. Times are processor seconds, which depend less on a machine's load than elapsed
time does. Both take turns, and the median of the rounds is shown.
"""

import argparse
import statistics
import tempfile
from dataclasses import astuple
from pathlib import Path

from dataset import REPOSITORY
from measure import Usage, markdown_row, markdown_table, run_command

from crossmodal.experiment import layout

METHODS = [
    *("teacher", "student", "choi2023", "choi2023_two_stage", "rahimpour2022", "dong2025", "dong2025_crossmodal"),
    *("hinton2015", "romero2015", "zagoruyko2017", "hu2020", "wang2023"),
    *("modality_dropout", "modality_dropout_distilled"),
]
NETWORK = f"{layout.NETWORK}/{layout.FOLD}"
BARE = f"""\
rule all:
    input: "table.csv"
rule dataset:
    output: directory("nnunet/preprocessed"), "nnunet/manifest.json", "cases.csv"
    shell: "dataset {{output}}"
rule train:
    input: rules.dataset.output
    output: "{layout.CHECKPOINT}", "{layout.MANIFEST}"
    log: "logs/train/{NETWORK}.log"
    resources: gpu=1, mem_mb=4000, runtime=240
    shell: "train {{wildcards.method}} {{wildcards.modalities}} {{wildcards.fold}} {{input}} {{output}} > {{log}}"
rule predict:
    input: "{layout.MANIFEST}", "cases.csv"
    output: directory("{layout.PREDICTIONS}")
    log: "logs/predict/{{cohort}}/{NETWORK}.log"
    resources: gpu=1, mem_mb=4000, runtime=240
    shell: "predict {{wildcards.method}} {{wildcards.modalities}} {{wildcards.fold}} {{input}} {{output}} > {{log}}"
rule score:
    input: "{layout.PREDICTIONS}", "cases.csv"
    output: "{layout.SCORES}"
    log: "logs/score/{{cohort}}/{NETWORK}.log"
    resources: gpu=1, mem_mb=4000, runtime=240
    shell: "score {{wildcards.method}} {{wildcards.modalities}} {{wildcards.fold}} {{input}} {{output}} > {{log}}"
rule collect:
    input: expand("scores/test/{NETWORK}.csv", method="m", modalities="s", seed=0, fold=range(@number@))
    output: "table.csv"
    shell: "collect {{input}} > {{output}}"
"""


def dry_run(folder: Path, snakefile: Path, *options: str) -> tuple[int, Usage]:
    """Dry-run a workflow in a folder that holds no results; the number of jobs, and what it used."""
    command = ["snakemake", "-n", "--quiet", "rules", "--snakefile", str(snakefile), "--directory", str(folder)]
    log = folder / "dry-run.log"
    used = run_command([*command, *options], log)
    total = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("total"))
    return int(total.split()[1]), used


def experiment_of(jobs: int) -> str:
    """A config whose graph has about this number of jobs: each fold and seed of all methods and subsets adds 550."""
    subsets = "every" if jobs >= 550 else "[t1, t2, t1+t2]"
    parts = max(1, round(jobs / (550 if subsets == "every" else 112)))
    folds, seeds = (parts, 1) if parts < 5 else (5, max(1, round(parts / 5)))
    return (
        f"methods: [{', '.join(METHODS)}]\nsubsets: {subsets}\nbudget: smoke\n"
        f"folds: {list(range(folds))}\nseeds: {list(range(seeds))}\n"
    )


def measure(jobs: int, rounds: int) -> tuple[int, Usage, Usage]:
    """The number of jobs of an experiment with about `jobs`, and medians of it and of a bare workflow with as many."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "experiment.yaml").write_text(experiment_of(jobs))
        profile = REPOSITORY / "profiles" / "default"
        options = ["--configfile", str(folder / "experiment.yaml"), "--workflow-profile", str(profile)]
        number, used = dry_run(folder, REPOSITORY / "Snakefile", *options)
        (folder / "Snakefile").write_text(BARE.replace("@number@", str(round((number - 3) / 3))))
        ours, bare = [used], []
        while len(bare) < rounds:
            bare.append(dry_run(folder, folder / "Snakefile", "--workflow-profile", "none")[1])
            if len(ours) < rounds:
                ours.append(dry_run(folder, REPOSITORY / "Snakefile", *options)[1])
    return number, median(ours), median(bare)


def median(runs: list[Usage]) -> Usage:
    """Median of each value."""
    return Usage(*map(statistics.median, zip(*map(astuple, runs), strict=True)))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    header = ("jobs", "ours, s", "bare, s", "ratio", "ours, MB", "bare, MB", "ours, ms a job")
    print(markdown_table(header), flush=True)
    for jobs in options.jobs:
        number, ours, bare = measure(jobs, options.rounds)
        cells = (f"{number:,}", f"{ours.cpu_s:.1f}", f"{bare.cpu_s:.1f}", f"{ours.cpu_s / bare.cpu_s:.2f}")
        memory = (f"{ours.peak_mb:.0f}", f"{bare.peak_mb:.0f}")
        print(markdown_row((*cells, *memory, f"{1000 * ours.cpu_s / number:.2f}")), flush=True)


if __name__ == "__main__":
    main()

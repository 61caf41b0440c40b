"""How Snakemake's dry run scales with the experiment, beside a bare workflow with as many jobs. Prints one table.

    python bench/dag_scale.py [--rounds 3] [--jobs 100,1000,10000]

The experiment: 14 methods × 15 subsets × folds × seeds, cut to about the given number of jobs. The bare workflow has
the same chains (train, predict, score, collect), file names, logs and fixed resources, without a config, a teacher, a
parameter, a message or a function. Times are processor seconds, which depend less on a machine's load than elapsed
time does. Both take turns, and the median of the rounds is shown.
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import typer
from measure import REPOSITORY, Usage, markdown_row, markdown_table, run_command, take_turns

from crossmodal.experiment import layout
from crossmodal.experiment.validation import read_yaml

METHODS = read_yaml(REPOSITORY / "bench" / "methods.yaml")["methods"]
HEADER = ("jobs", "ours, s", "bare, s", "ratio", "ours, MB", "bare, MB", "ours, ms a job")
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


def dry_run(folder: Path, snakefile: Path, *options: str) -> Usage:
    """Dry-run a workflow in a folder that holds no results; `value` is the number of jobs."""
    command = ["snakemake", "-n", "--quiet", "rules", "--snakefile", str(snakefile), "--directory", str(folder)]
    log = folder / "dry-run.log"
    used = run_command([*command, *options], log)
    total = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("total"))
    return replace(used, value=int(total.split()[1]))


def experiment_of(jobs: int) -> str:
    """A config whose graph has about this number of jobs: each fold and seed of all methods and subsets adds 550."""
    subsets = "every" if jobs >= 550 else "[t1, t2, t1+t2]"
    parts = max(1, round(jobs / (550 if subsets == "every" else 112)))
    folds, seeds = (parts, 1) if parts < 5 else (5, max(1, round(parts / 5)))
    return (
        f"methods: [{', '.join(METHODS)}]\nsubsets: {subsets}\nbudget: smoke\n"
        f"folds: {list(range(folds))}\nseeds: {list(range(seeds))}\n"
    )


def measure(jobs: int, rounds: int) -> tuple[str, ...]:
    """Row of the table for an experiment with about this number of jobs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config, bare = folder / "experiment.yaml", folder / "Snakefile"
        config.write_text(experiment_of(jobs))
        options = ["--configfile", str(config), "--workflow-profile", str(REPOSITORY / "profiles" / "default")]
        number = dry_run(folder, REPOSITORY / "Snakefile", *options).value
        bare.write_text(BARE.replace("@number@", str(round((number - 3) / 3))))
        sides = {
            "ours": lambda: dry_run(folder, REPOSITORY / "Snakefile", *options),
            "bare": lambda: dry_run(folder, bare, "--workflow-profile", "none"),
        }
        found = take_turns(sides, rounds).values()
    ours_s, bare_s = (statistics.median(run.cpu_s for run in runs) for runs in found)
    ours_mb, bare_mb = (statistics.median(run.peak_mb for run in runs) for runs in found)
    times = (f"{ours_s:.1f}", f"{bare_s:.1f}", f"{ours_s / bare_s:.2f}")
    return f"{number:,}", *times, f"{ours_mb:.0f}", f"{bare_mb:.0f}", f"{1000 * ours_s / number:.2f}"


def main(jobs: str = "100,300,1000,3000,10000", rounds: int = 3) -> None:
    """How Snakemake's dry run scales with the experiment."""
    print(markdown_table(HEADER), flush=True)
    for number in map(int, jobs.split(",")):
        print(markdown_row(measure(number, rounds)), flush=True)


if __name__ == "__main__":
    typer.run(main)

"""How Snakemake's dry run grows with the experiment, beside a bare workflow of as many jobs. Prints one table.

    python bench/dag_scale.py [--rounds 3] [--jobs 100 1000 10000]

The experiment: 14 methods × 15 subsets × folds × seeds, cut to about so many jobs; the bare workflow has the same
chains (train, predict, score, collect), file names, logs and fixed resources, without a config, a teacher, a
parameter, a message or a function. Times are processor seconds, which a busy machine stretches less than the clock's;
both take turns, and the median of the rounds is shown.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
METHODS = [
    *("teacher", "student", "choi2023", "choi2023_two_stage", "rahimpour2022", "dong2025", "dong2025_crossmodal"),
    *("hinton2015", "romero2015", "zagoruyko2017", "hu2020", "wang2023"),
    *("modality_dropout", "modality_dropout_distilled"),
]
NETWORK = "{method}/{modalities}/seed{seed}/fold_{fold}"
BARE = f"""\
rule all:
    input: "table.csv"
rule dataset:
    output: directory("nnunet/preprocessed"), "nnunet/manifest.json", "cases.csv"
    shell: "dataset {{output}}"
rule train:
    input: rules.dataset.output
    output: "models/{NETWORK}/checkpoint_final.pth", "models/{NETWORK}/manifest.json"
    log: "logs/train/{NETWORK}.log"
    resources: gpu=1, mem_mb=4000, runtime=240
    shell: "train {{wildcards.method}} {{wildcards.modalities}} {{wildcards.fold}} {{input}} {{output}} > {{log}}"
rule predict:
    input: "models/{NETWORK}/manifest.json", "cases.csv"
    output: directory("predictions/{{cohort}}/{NETWORK}")
    log: "logs/predict/{{cohort}}/{NETWORK}.log"
    resources: gpu=1, mem_mb=4000, runtime=240
    shell: "predict {{wildcards.method}} {{wildcards.modalities}} {{wildcards.fold}} {{input}} {{output}} > {{log}}"
rule score:
    input: "predictions/{{cohort}}/{NETWORK}", "cases.csv"
    output: "scores/{{cohort}}/{NETWORK}.csv"
    log: "logs/score/{{cohort}}/{NETWORK}.log"
    resources: gpu=1, mem_mb=4000, runtime=240
    shell: "score {{wildcards.method}} {{wildcards.modalities}} {{wildcards.fold}} {{input}} {{output}} > {{log}}"
rule collect:
    input: expand("scores/test/{NETWORK}.csv", method="m", modalities="s", seed=0, fold=range(@number@))
    output: "table.csv"
    shell: "collect {{input}} > {{output}}"
"""


@dataclass
class Run:
    """One dry run: its jobs, processor seconds and peak memory in MB."""

    jobs: int
    seconds: float
    megabytes: float


def dry_run(folder: Path, *options: str) -> Run:
    """Dry-run a workflow in an empty folder."""
    command = [str(Path(sys.executable).parent / "snakemake"), "-n", "--quiet", "rules", "--directory", str(folder)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status  # it was waited for here
        output.seek(0)
        text = output.read()
    if status != 0:
        raise SystemExit(f"the dry run failed:\n{text[-2000:]}")
    total = next(line for line in text.splitlines() if line.startswith("total"))
    return Run(int(total.split()[1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def experiment_of(jobs: int) -> str:
    """A config whose graph has about so many jobs: each fold and seed of all methods and subsets makes 550."""
    subsets = "every" if jobs >= 550 else "[t1, t2, t1+t2]"
    parts = max(1, round(jobs / (550 if subsets == "every" else 112)))
    folds, seeds = (parts, 1) if parts < 5 else (5, max(1, round(parts / 5)))
    return (
        f"methods: [{', '.join(METHODS)}]\nsubsets: {subsets}\nbudget: smoke\n"
        f"folds: {list(range(folds))}\nseeds: {list(range(seeds))}\n"
    )


def measure(jobs: int, rounds: int) -> tuple[Run, Run]:
    """Ours and the bare workflow with exactly as many jobs, each the median of the rounds."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "experiment.yaml").write_text(experiment_of(jobs))
        ours_options = ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", str(folder / "experiment.yaml")]
        profile = ["--workflow-profile", str(REPOSITORY / "profiles" / "default")]
        ours = [dry_run(folder, *ours_options, *profile)]
        (folder / "Snakefile").write_text(BARE.replace("@number@", str(round((ours[0].jobs - 3) / 3))))
        bare = []
        while len(bare) < rounds:
            bare.append(dry_run(folder, "--workflow-profile", "none"))
            if len(ours) < rounds:
                ours.append(dry_run(folder, *ours_options, *profile))
    return median(ours), median(bare)


def median(runs: list[Run]) -> Run:
    """Median time and memory."""
    seconds, megabytes = (
        statistics.median(values) for values in zip(*((r.seconds, r.megabytes) for r in runs), strict=True)
    )
    return Run(runs[0].jobs, seconds, megabytes)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| jobs | ours, s | bare, s | ratio | ours, MB | bare, MB | ours, ms a job |", flush=True)
    print("|---|---|---|---|---|---|---|")
    for jobs in options.jobs:
        ours, bare = measure(jobs, options.rounds)
        print(
            f"| {ours.jobs:,} | {ours.seconds:.1f} | {bare.seconds:.1f} | {ours.seconds / bare.seconds:.2f} "
            f"| {ours.megabytes:.0f} | {bare.megabytes:.0f} | {1000 * ours.seconds / ours.jobs:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

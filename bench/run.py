"""Speed compared with stock nnU-Net and other tools: what `make bench` runs. Prints a table and writes it as JSON.

    python bench/run.py [--only student_vs_stock,…] [--out FILE] [--readme bench/README.md] [--tiny]

Each ratio is from one run: ours and the peer on the same plans, data, patch and threads, in turn. A result that is
not equal to the peer's, bit for bit, stops the run. `crossmodal cost` reads the JSON from the library's data.
"""

import datetime
import json
import sys
from dataclasses import replace
from pathlib import Path

from measure import DEMO, TINY, Worker, entry, markdown_table, take_turns

from crossmodal.data import STEP_TIMES
from crossmodal.files import replace_between, write_json

# Packages that are large are imported where they are used: every process of a `Worker` imports this file.
SUBSET = "t1ce+flair"
TARGETS = {
    "student_vs_stock": 1.00,
    "fast_vs_stock": 0.80,
    "joint_vs_sum": 0.95,
    "frozen_vs_student": 1.30,
    "together_per_student": 0.70,
    "preprocess_vs_nnunet": 0.33,
    "predict_vs_nnunet": 1.00,
}
VARIANTS = {
    "bf16_vs_stock": {"precision": "bf16"},
    "channels_last_3d_vs_stock": {"memory_format": "channels_last_3d"},
    "bf16_channels_last_3d_vs_stock": {"precision": "bf16", "memory_format": "channels_last_3d"},
}
# For each comparison of training steps the names of our trainer and of its peers.
STEPS = {
    "student_vs_stock": ("plain", "stock"),
    "fast_vs_stock": ("teacher", "stock"),
    **{name: (name, "stock") for name in VARIANTS},
    "joint_vs_sum": ("joint", "teacher", "student"),
    "frozen_vs_student": ("frozen", "student"),
}
TOGETHER = "together_per_student"
EVERY = (*STEPS, TOGETHER, "preprocess_vs_nnunet", "predict_vs_nnunet", "score_vs_surface_distance")
HEADER = ("", "ratio", "target", "ours, ms", "peer, ms", "n", "spread", "peak memory, MB: ours, peer")


def compare_steps(dataset: Path, budget: str, scratch: Path, warm_up: int, rounds: int, only: set) -> dict[str, dict]:
    """Training steps, loading and augmentation included: an entry for each of `STEPS` in `only`."""
    from processes import STOCK_OPTIONS, Setup, budget_of, steps

    plain, demo = budget_of(budget, "cpu", **STOCK_OPTIONS), budget_of(budget, "cpu")
    fast = demo if budget == "demo" else plain.replaced(precision="bf16")
    setups = {
        "stock": Setup(dataset, plain),
        "plain": Setup(dataset, plain, "teacher"),
        "teacher": Setup(dataset, fast, "teacher"),
        "student": Setup(dataset, fast, "student", SUBSET),
        "joint": Setup(dataset, fast, "choi2023", SUBSET),
        "frozen": Setup(dataset, fast, "choi2023_two_stage", SUBSET),
        **{name: Setup(dataset, plain.replaced(**options), "teacher") for name, options in VARIANTS.items()},
    }
    compared = {name: trainers for name, trainers in STEPS.items() if name in only}
    wanted = {trainer for trainers in compared.values() for trainer in trainers}
    workers = {name: Worker(steps, setup, scratch / name) for name, setup in setups.items() if name in wanted}
    runs = take_turns(workers, warm_up + rounds)
    losses = {name: [run.value for run in used] for name, used in runs.items()}
    if "student_vs_stock" in only and losses["plain"] != losses["stock"]:
        raise SystemExit("student_vs_stock: the losses are not stock nnU-Net's to the last bit: nothing was measured")
    found = {}
    for name, trainers in compared.items():
        options = setups[trainers[0]].budget.model_dump(include={"precision", "memory_format", "threads"})
        found[name] = entry(*(runs[trainer][warm_up:] for trainer in trainers), **options)
    return found


def compare_together(dataset: Path, budget: str, scratch: Path, warm_up: int, rounds: int) -> dict:
    """A step of a student among 15 that are taught by one teacher, a subset each, beside a step of one by itself.

    The one by itself has two modalities; on average the 15 have 2.1.
    """
    from processes import Setup, budget_of, steps, steps_together

    from crossmodal.domain import all_subsets

    setup = Setup(dataset, budget_of(budget, "cpu"), "choi2023_two_stage", SUBSET)
    workers = {
        "together": Worker(steps_together, setup, scratch / "together"),
        "alone": Worker(steps, setup, scratch / "alone"),
    }
    runs = take_turns(workers, warm_up + rounds)
    students = len(all_subsets())
    shared = [replace(run, ms=run.ms / students) for run in runs["together"][warm_up:]]
    return entry(shared, runs["alone"][warm_up:], students=students)


def table(entries: dict[str, dict]) -> str:
    """The entries as a Markdown table."""
    rows = [
        (
            *(f"`{name}`", f"{row['ratio']:.2f}", f"≤ {TARGETS[name]:.2f}" if name in TARGETS else ""),
            *(f"{row['ours_ms']:,.0f}", f"{row['peer_ms']:,.0f}", row["n"], f"±{100 * row['spread']:.0f}%"),
            f"{row['ours_peak_mb']:,}, {row['peer_peak_mb']:,}",
        )
        for name, row in entries.items()
    ]
    return markdown_table(HEADER, rows)


def write_readme(readme: Path, entries: dict[str, dict]) -> None:
    """Put the table, with date and device, between the README's markers."""
    days, devices = (sorted({row[key] for row in entries.values()}) for key in ("measured", "device"))
    heading = f"Measured {' and '.join(days)} by `make bench` on: {'; '.join(devices)}."
    replace_between(readme, "measured", f"{heading}\n\n{table(entries)}")


def measure(only: set[str], rounds: int, tiny: bool) -> dict[str, dict]:
    """An entry for each of `EVERY` in `only`; `rounds` training steps of each trainer count."""
    from commands import predict, preprocess, score
    from processes import budget_of

    entries: dict[str, dict] = {}
    with (TINY if tiny else DEMO).built() as (folder, cases, budget):
        dataset = folder / "nnunet"
        if only & set(STEPS):
            warm_up, rounds = (1, 2) if tiny else (6, rounds)
            entries |= compare_steps(dataset, budget, folder / "steps", warm_up, rounds, only)
        if TOGETHER in only:
            turns = (1, 2) if tiny else (3, max(rounds // 4, 10))
            entries[TOGETHER] = compare_together(dataset, budget, folder / "together", *turns)
        if "preprocess_vs_nnunet" in only:
            entries["preprocess_vs_nnunet"] = preprocess(cases, dataset, budget, folder / "preprocess", tiny)
        if "predict_vs_nnunet" in only:
            settings = budget_of(budget, "cpu", epochs=1 if tiny else 4)
            entries["predict_vs_nnunet"] = predict(cases, dataset, SUBSET, settings, folder / "predict", tiny)
        if "score_vs_surface_distance" in only:
            spacing, times = (6.0, 2) if tiny else (1.0, 10)
            entries["score_vs_surface_distance"] = score(folder / "score", spacing, times)
    today = datetime.date.today().isoformat()
    return {name: entries[name] | {"budget": budget, "measured": today} for name in EVERY if name in entries}


def main(
    only: str = ",".join(EVERY),
    out: Path = STEP_TIMES,
    readme: Path | None = None,
    rounds: int = 60,
    tiny: bool = False,
) -> None:
    """Speed compared with stock nnU-Net and other tools.

    --only: comma-separated names. --out: JSON to update. --readme: also put the table between this file's markers.
    --rounds: training steps of each trainer that count. --tiny: a minute, to see that it runs; the times mean nothing.
    """
    wanted = set(only.split(","))
    if unknown := wanted - set(EVERY):
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(EVERY)}", file=sys.stderr)
        sys.exit(2)
    entries = measure(wanted, rounds, tiny)
    print(table(entries))
    before = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    entries = {name: row for name in EVERY if (row := (before | entries).get(name))}
    write_json(out, entries)
    if readme:
        write_readme(readme, entries)
    missed = [name for name, row in entries.items() if name in TARGETS and row["ratio"] > TARGETS[name]]
    if missed:
        print(f"above target: {', '.join(missed)}", file=sys.stderr)


if __name__ == "__main__":
    import typer

    typer.run(main)

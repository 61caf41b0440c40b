"""Speed compared with stock nnU-Net and other tools: what `make bench` runs. Prints a table and writes it as JSON.

    python bench/run.py [--only student_vs_stock,…] [--out FILE] [--readme bench/README.md] [--tiny]

Each ratio is from one run: ours and the peer on the same plans, data, patch and threads, in turn. A result that is
not equal to the peer's, bit for bit, stops the run. `crossmodal cost` reads the JSON from the library's data.
"""

import argparse
import datetime
import json
import sys
import tempfile
from pathlib import Path

from commands import predict, preprocess, score
from dataset import demo_data
from measure import entry, markdown_table, take_turns
from processes import STOCK_OPTIONS, Setup, budget_of

from crossmodal.data import STEP_TIMES
from crossmodal.domain import ALL
from crossmodal.experiment.budget import Budget
from crossmodal.files import replace_between, write_json

SUBSET = "t1ce+flair"
TARGETS = {
    "student_vs_stock": 1.00,
    "fast_vs_stock": 0.80,
    "joint_vs_sum": 0.95,
    "frozen_vs_student": 1.30,
    "preprocess_vs_nnunet": 0.33,
    "predict_vs_nnunet": 1.00,
}
VARIANTS = {
    "bf16_vs_stock": {"precision": "bf16"},
    "channels_last_3d_vs_stock": {"memory_format": "channels_last_3d"},
    "bf16_channels_last_3d_vs_stock": {"precision": "bf16", "memory_format": "channels_last_3d"},
}
STEPS = ("student_vs_stock", "fast_vs_stock", *VARIANTS, "joint_vs_sum", "frozen_vs_student")
EVERY = (*STEPS, "preprocess_vs_nnunet", "predict_vs_nnunet", "score_vs_surface_distance")
HEADER = ("", "ratio", "target", "ours, ms", "peer, ms", "n", "spread", "peak memory, MB: ours, peer")


def steps(dataset: Path, budget: str, scratch: Path, warm_up: int, rounds: int, only: set[str]) -> dict[str, dict]:
    """Training steps, loading and augmentation included: an entry for each of `STEPS` in `only`."""
    plain, demo = budget_of(budget, "cpu", **STOCK_OPTIONS), budget_of(budget, "cpu")
    fast = demo if budget == "demo" else plain.replaced(precision="bf16")

    def network(method: str | None, subset: str, settings: Budget) -> Setup:
        return Setup(dataset=str(dataset), method=method, subset=subset, budget=settings)

    setups = {"stock": network(None, ALL, plain), "plain": network("teacher", ALL, plain)}
    setups |= {"teacher": network("teacher", ALL, fast), "student": network("student", SUBSET, fast)}
    setups |= {"joint": network("choi2023", SUBSET, fast), "frozen": network("choi2023_two_stage", SUBSET, fast)}
    setups |= {name: network("teacher", ALL, plain.replaced(**options)) for name, options in VARIANTS.items()}
    compared = {"student_vs_stock": ("plain", "stock"), "fast_vs_stock": ("teacher", "stock")}
    compared |= {name: (name, "stock") for name in VARIANTS}
    compared |= {"joint_vs_sum": ("joint", "teacher", "student"), "frozen_vs_student": ("frozen", "student")}
    compared = {name: trainers for name, trainers in compared.items() if name in only}
    wanted = {trainer for trainers in compared.values() for trainer in trainers}
    processes = {name: setups[name].process(name, scratch) for name in setups if name in wanted}
    take_turns(list(processes.values()), warm_up, rounds)
    if "student_vs_stock" in only and processes["plain"].values != processes["stock"].values:
        raise SystemExit("student_vs_stock: the losses are not stock nnU-Net's to the last bit: nothing was measured")
    found = {}
    for name, (ours, *peers) in compared.items():
        sums = [sum(times) for times in zip(*(processes[peer].times for peer in peers), strict=True)]
        peak = max(processes[peer].peak_mb for peer in peers)
        more = {"ours_peak_mb": round(processes[ours].peak_mb), "peer_peak_mb": round(peak)}
        more |= setups[ours].budget.model_dump(include={"precision", "memory_format", "threads"})
        found[name] = entry(processes[ours].times, sums, **more)
    return found


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


def measure(only: set[str], folder: Path, rounds: int, tiny: bool) -> dict[str, dict]:
    """An entry for each of `EVERY` in `only`; `rounds` training steps of each trainer count."""
    entries: dict[str, dict] = {}
    cases, budget = demo_data(folder, tiny)
    dataset, repeats = folder / "nnunet", 1 if tiny else 3
    if only & set(STEPS):
        warm_up, rounds = (1, 2) if tiny else (6, rounds)
        entries |= steps(dataset, budget, folder / "steps", warm_up, rounds, only)
    if "preprocess_vs_nnunet" in only:
        entries["preprocess_vs_nnunet"] = preprocess(cases, dataset, budget, folder / "preprocess", repeats)
    if "predict_vs_nnunet" in only:
        settings = budget_of(budget, "cpu", epochs=1 if tiny else 4)
        entries["predict_vs_nnunet"] = predict(cases, dataset, SUBSET, settings, folder / "predict", repeats)
    if "score_vs_surface_distance" in only:
        entries["score_vs_surface_distance"] = score(folder / "score", 4.0 if tiny else 1.0, 10)
    today = datetime.date.today().isoformat()
    return {name: entries[name] | {"budget": budget, "measured": today} for name in EVERY if name in entries}


def main() -> None:
    """Measure what is asked for, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(EVERY), help="comma-separated: " + ", ".join(EVERY))
    parser.add_argument("--out", type=Path, default=STEP_TIMES, help="JSON to update; the library's data by default")
    parser.add_argument("--readme", type=Path, help="also put the table between this file's markers")
    parser.add_argument("--rounds", type=int, default=60, help="training steps of each trainer that count")
    parser.add_argument("--tiny", action="store_true", help="seconds, to see that it runs; the times mean nothing")
    given = parser.parse_args()
    only = set(given.only.split(","))
    if only - set(EVERY):
        parser.error(f"unknown: {', '.join(sorted(only - set(EVERY)))}; there are {', '.join(EVERY)}")
    with tempfile.TemporaryDirectory(prefix="crossmodal-bench-") as folder:
        entries = measure(only, Path(folder), given.rounds, given.tiny)
    print(table(entries))
    before = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    entries = {name: row for name in EVERY if (row := (before | entries).get(name))}
    write_json(given.out, entries)
    if given.readme:
        write_readme(given.readme, entries)
    missed = [name for name, row in entries.items() if name in TARGETS and row["ratio"] > TARGETS[name]]
    if missed:
        print(f"above target: {', '.join(missed)}", file=sys.stderr)


if __name__ == "__main__":
    main()

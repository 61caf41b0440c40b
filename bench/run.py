"""Speed beside its peers: what `make bench` runs. Prints a table and writes bench/latest.json.

    python bench/run.py [--only student_vs_stock,…] [--out bench/latest.json] [--readme bench/README.md] [--tiny]

Every line is a ratio within one run: ours and the peer on the same plans, data, patch and threads, in turn. A
result that is not the peer's own, bit for bit, stops the run.
"""

import argparse
import datetime
import json
import sys
import tempfile
from pathlib import Path

from commands import predict, preprocess, score
from crossmodal.evaluate.score import read_cases
from crossmodal.files import write_json, write_text
from crossmodal.domain import ALL
from measure import Party, entry, run_command, take_turns
from parties import STOCK_OPTIONS, budget_of

REPOSITORY = Path(__file__).resolve().parents[1]
SUBSET = "t1ce+flair"
TARGETS = {
    "student_vs_stock": 1.00,
    "fast_vs_stock": 0.80,
    "joint_vs_sum": 0.95,
    "frozen_vs_student": 1.30,
    "preprocess_vs_nnunet": 0.33,
    "predict_vs_nnunet": 1.00,
    "score_vs_surface_distance": None,
}
VARIANTS = {
    "bf16_vs_stock": {"precision": "bf16"},
    "channels_last_3d_vs_stock": {"memory_format": "channels_last_3d"},
    "bf16_channels_last_3d_vs_stock": {"precision": "bf16", "memory_format": "channels_last_3d"},
}
STEPS = ("student_vs_stock", "fast_vs_stock", *VARIANTS, "joint_vs_sum", "frozen_vs_student")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def demo_data(folder: Path, tiny: bool) -> tuple[Path, str]:
    """cases.csv and dataset of the demo's cohort and budget, made by the commands that the workflow runs."""
    cohort, budget = REPOSITORY / "data", "demo"
    make = ["--cases", "40", "--spacing", "3", "--seed", "2023", "--site", "A"]
    if tiny:
        cohort, budget, make = folder / "phantoms", "smoke", ["--cases", "5", "--spacing", "5", "--workers", "1"]
    if not cohort.is_dir():
        cohort = folder / "phantoms"
        run_command(["crossmodal", "cohort", "phantom", str(cohort), *make], {}, folder / "phantom.log")
    check = ["crossmodal", "cohort", "check", str(cohort), "--out", str(folder / "cohort"), "--name", "bench"]
    check += ["--test-fraction", "0.3", "--folds", "2" if tiny else "5"]
    run_command(check, {}, folder / "check.log")
    build = ["crossmodal", "dataset", "--cases", str(folder / "cohort" / "cases.csv"), "--out", str(folder / "nnunet")]
    run_command([*build, "--budget", budget], {}, folder / "dataset.log")
    return folder / "cohort" / "cases.csv", budget


def steps(dataset: Path, budget: str, scratch: Path, warm_up: int, rounds: int, only: set[str]) -> dict[str, dict]:
    """Training steps, loading and augmentation included: ours against stock, joint against its parts, and so on."""
    plain, demo = budget_of(budget, "cpu", **STOCK_OPTIONS), budget_of(budget, "cpu")
    fast = demo if budget == "demo" else plain | {"precision": "bf16"}
    common = {"dataset": str(dataset), "device": "cpu"}

    def network(method: str, subset: str, settings: dict) -> dict:
        return common | {"kind": "ours", "method": method, "subset": subset, "budget": settings}

    settings = {"stock": common | {"kind": "stock", "budget": plain}, "plain": network("teacher", ALL, plain)}
    settings |= {"teacher": network("teacher", ALL, fast), "student": network("student", SUBSET, fast)}
    settings |= {"joint": network("choi2023", SUBSET, fast), "frozen": network("choi2023_two_stage", SUBSET, fast)}
    settings |= {name: network("teacher", ALL, plain | options) for name, options in VARIANTS.items()}
    uses = {"student_vs_stock": ("plain", "stock"), "fast_vs_stock": ("teacher", "stock")}
    uses |= {name: (name, "stock") for name in VARIANTS}
    uses |= {"joint_vs_sum": ("joint", "teacher", "student"), "frozen_vs_student": ("frozen", "student")}
    wanted = {party for name, parties in uses.items() if name in only for party in parties}
    parties = {name: Party(name, "parties.py", settings[name], scratch) for name in settings if name in wanted}
    take_turns(list(parties.values()), warm_up, rounds)
    found = {}
    for name, (ours, *peers) in uses.items():
        if name not in only:
            continue
        beside = [sum(times) for times in zip(*(parties[peer].times for peer in peers), strict=True)]
        options = {key: settings[ours]["budget"][key] for key in ("precision", "memory_format", "threads")}
        peaks = {"peer_peak_mb": round(max(parties[peer].peak_mb for peer in peers))}
        found[name] = entry(parties[ours].times, beside, ours_peak_mb=round(parties[ours].peak_mb), **peaks, **options)
    for party in parties.values():
        party.end()
    if "student_vs_stock" in only and parties["plain"].values != parties["stock"].values:
        raise SystemExit("student_vs_stock: the losses are not stock nnU-Net's to the last bit: nothing was measured")
    return found


def table(entries: dict[str, dict]) -> str:
    """The entries as a Markdown table."""
    lines = ["| | ratio | target | ours, ms | peer, ms | n | spread | peak memory, MB: ours, peer |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name, row in entries.items():
        target = f"≤ {TARGETS[name]:.2f}" if TARGETS.get(name) else ""
        lines.append(
            f"| `{name}` | {row['ratio']:.2f} | {target} | {row['ours_ms']:,.0f} | {row['peer_ms']:,.0f} | {row['n']} "
            f"| ±{100 * row['spread']:.0f}% | {row['ours_peak_mb']:,}, {row['peer_peak_mb']:,} |"
        )
    return "\n".join(lines)


def write_readme(readme: Path, entries: dict[str, dict]) -> None:
    """Put the table between the README's markers, with date and device."""
    days = sorted({row["measured"] for row in entries.values()})
    devices = sorted({row["device"] for row in entries.values()})
    text = readme.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    heading = f"Measured {' and '.join(days)} by `make bench` on: {'; '.join(devices)}."
    write_text(readme, f"{before}{BEGIN}\n{heading}\n\n{table(entries)}\n{END}{after}")


def main() -> None:
    """Measure what is asked for, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = [*STEPS, "preprocess_vs_nnunet", "predict_vs_nnunet", "score_vs_surface_distance"]
    parser.add_argument("--only", default=",".join(every), help="comma-separated: " + ", ".join(every))
    parser.add_argument("--out", type=Path, default=REPOSITORY / "bench" / "latest.json")
    parser.add_argument("--readme", type=Path, help="also put the table between this file's markers")
    parser.add_argument("--rounds", type=int, default=60, help="training steps of each party that count")
    parser.add_argument("--tiny", action="store_true", help="seconds: to see that it runs; its figures mean nothing")
    given = parser.parse_args()
    only = set(given.only.split(","))
    if only - set(every):
        parser.error(f"unknown: {', '.join(sorted(only - set(every)))}; there are {', '.join(every)}")
    entries: dict[str, dict] = {}
    with tempfile.TemporaryDirectory(prefix="crossmodal-bench-") as name:
        folder = Path(name)
        cases, budget = demo_data(folder, given.tiny)
        dataset = folder / "nnunet"
        if only & set(STEPS):
            warm_up, rounds = (1, 2) if given.tiny else (6, given.rounds)
            entries |= steps(dataset, budget, folder / "steps", warm_up, rounds, only)
        repeats = 1 if given.tiny else 3
        if "preprocess_vs_nnunet" in only:
            entries["preprocess_vs_nnunet"] = preprocess(cases, dataset, budget, folder / "preprocess", repeats)
        if "predict_vs_nnunet" in only:
            rows = read_cases(cases)
            epochs = 1 if given.tiny else 4
            entries["predict_vs_nnunet"] = predict(rows, cases, dataset, SUBSET, budget, folder, epochs, repeats)
        if "score_vs_surface_distance" in only:
            entries["score_vs_surface_distance"] = score(folder / "score", 4.0 if given.tiny else 1.0, 10)
    today = datetime.date.today().isoformat()
    entries = {name: entries[name] | {"budget": budget, "measured": today} for name in every if name in entries}
    print(table(entries))
    before = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    entries = {name: row for name in every if (row := (before | entries).get(name))}
    write_json(given.out, entries)
    if given.readme:
        write_readme(given.readme, entries)
    missed = [name for name, row in entries.items() if TARGETS.get(name) and row["ratio"] > TARGETS[name]]
    if missed:
        print(f"above target: {', '.join(missed)}", file=sys.stderr)


if __name__ == "__main__":
    main()

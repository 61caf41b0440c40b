"""One seed of the reference study, a few methods at a time: the results of each part are kept as soon as it is done.

    python bench/study.py 0 [--cores 2] [--parts 1,2] [--no-tables]

Seeds 0 to 2 train every method and the controls, seeds 3 to 9 those of the primary comparisons, on their two subsets
(docs/study.md). Each part is a run of workflow/reference_study.yaml with some of its methods, then a shard in
results/reference_study; a part whose shard is there is not run. What is stopped goes on from its last saved state, and
on another machine at the last finished part. In the end the tables of all shards are made, and the page's, unless
--no-tables leaves that to `crossmodal merge` and the next call. Parts that are joined (--parts 1+2) are one run.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer
import yaml
from measure import REPOSITORY, with_scripts
from study_controls import CONTROLS, INTO, SUBSETS
from study_primary import CLAIMS
from study_weights import STUDY, run

# The first part has the networks that the controls need.
PARTS = (
    ("teacher", "student", "choi2023", "student_again"),
    ("choi2023_two_stage", "rahimpour2022"),
    ("dong2025", "rahimpour2022_same", "choi2023_two_stage_same"),
    ("dong2025_crossmodal", "hinton2015", "romero2015"),
    ("zagoruyko2017", "hu2020", "wang2023"),
    ("modality_dropout", "modality_dropout_distilled"),
    ("choi2023_own", "rahimpour2022_own", "dong2025_own"),
)
OWN_WEIGHTS = len(PARTS)  # the part of the methods with their recipes' weights, on the claims' subsets
CLAIMED = {method for claim in CLAIMS for method in (claim.method, claim.baseline)}
EVERY_METHOD, MORE = range(3), range(3, 10)  # seeds
RESULTS = ("tables/per_case.csv", "figure_data/curves.csv")


def part_config(seed: int, *numbers: int) -> dict:
    """The study's config for some parts of a seed, which is a run of its own; no methods when the seed has none.

    Args:
        seed: of all trainings.
        numbers: of the parts, from 1.
    """
    study = yaml.safe_load(STUDY.read_text())
    of_parts = [method for number in numbers for method in PARTS[number - 1]]
    methods = [method for method in of_parts if seed in EVERY_METHOD or method in CLAIMED]
    if seed in MORE or numbers == (OWN_WEIGHTS,):
        study["subsets"] = list(SUBSETS)
    overrides = {name: one for name, one in study.pop("overrides", {}).items() if name in methods}
    return study | {"experiment": f"seed{seed}", "seeds": [seed], "methods": methods, "overrides": overrides}


def controls_config(seed: int) -> dict:
    """The config of the networks of a seed's first part that its controls need; none of them has an override."""
    return part_config(seed, 1) | {"methods": ["teacher", "student", "student_again"], "overrides": {}}


def train_part(seed: int, numbers: tuple[int, ...], cores: int) -> None:
    """Train and score some parts, as far as they are not there; keep them as a shard with a table of real patients."""
    config, name = part_config(seed, *numbers), f"seed{seed}-{'+'.join(map(str, numbers))}"
    if not config["methods"] or (REPOSITORY / INTO / "shards" / name).is_dir():
        return
    place = f"results/{config['experiment']}"
    if run(config, cores, *(f"{place}/{file}" for file in RESULTS)):
        raise SystemExit(f"{name}: see above; the same command goes on")
    call("study_controls.py", "patients", place, "--into", str(INTO), "--name", name)
    command("crossmodal", "shard", place, "--into", str(INTO), "--name", name)


def train_controls(seed: int, cores: int) -> None:
    """Train and score the controls of a seed that are not there, from networks of its first part."""
    missing = [one for one in CONTROLS if not (REPOSITORY / INTO / "controls" / f"seed{seed}-{one}.csv.gz").is_file()]
    if not missing:
        return
    config = controls_config(seed)
    place = f"results/{config['experiment']}"
    if run(config, cores, f"{place}/tables/per_case.csv"):  # on another machine these are trained again
        raise SystemExit("see above; the same command goes on")
    arguments = ("study_controls.py", "train", place, "--into", str(INTO), "--only")
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda control: call(*arguments, control), missing))


def make_site_b() -> None:
    """The external cohort of the study, as far as it is not there."""
    if not (REPOSITORY / ".cache/phantom-b").is_dir():
        given = ("--cases", "60", "--spacing", "3", "--seed", "2024", "--site", "B")
        command("crossmodal", "cohort", "phantom", ".cache/phantom-b", *given)


def gather() -> None:
    """Make all tables from the shards and controls that are there."""
    command("crossmodal", "merge", str(INTO))
    command("crossmodal", "tables", str(INTO))
    call("study_primary.py", str(INTO))
    call("study_page.py", str(INTO))


def call(script: str, *arguments: str) -> None:
    """Run a script beside this one."""
    command(sys.executable, str(Path(__file__).with_name(script)), *arguments)


def command(*words: str) -> None:
    """Run a command from the repository's root; what it says is its own."""
    if subprocess.run(words, cwd=REPOSITORY, env=with_scripts()).returncode:
        raise SystemExit(f"{' '.join(words)}: see above; the same command goes on")


def main(seed: int, cores: int = 2, parts: str = "", tables: bool = True) -> None:
    """Run a seed's parts, or some of them, and make the tables."""
    if seed not in (*EVERY_METHOD, *MORE):
        raise SystemExit(f"seed {seed}: the study has seeds 0 to {MORE[-1]}")
    make_site_b()
    for group in parts.split(",") if parts else map(str, range(1, len(PARTS) + 1)):
        numbers = tuple(map(int, group.split("+")))
        train_part(seed, numbers, cores)
        if 1 in numbers and seed in EVERY_METHOD:
            train_controls(seed, cores)
    if tables:
        gather()


if __name__ == "__main__":
    typer.run(main)

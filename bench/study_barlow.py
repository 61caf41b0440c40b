"""Barlow Twins, one choice at a time: weight, tap (and so the number of samples), gradient into the teacher.

    python bench/study_barlow.py 0 [--cores 2] [--only bt,bt-frozen]

Each variant of `choi2023` differs from its recipe in one choice. It is trained with seeds 0, 1 and 2 on T1ce + FLAIR,
with the study's budget and the phantoms of study_weights.py, and compared with `student` on the 30 that are held out.
One call makes the trainings of one seed that are not in results/study_barlow yet, and adds them as a shard; the last
one writes study_barlow.csv and the table in docs/study.md.
"""

import json
from pathlib import Path

import pandas as pd
import typer
from measure import REPOSITORY, markdown_table
from study import RESULTS, command
from study_weights import PAGE, TRIALS, run

from crossmodal.evaluate.shards import ABOUT, SHARDS
from crossmodal.experiment.recipe import load
from crossmodal.files import atomic_path, replace_between, write_yaml
from crossmodal.wording import estimate

OUT = Path(__file__).with_suffix(".csv")
PLACE, INTO = Path(".cache/study_barlow"), Path("results/study_barlow")
SUBSET, SEEDS = "t1ce+flair", [0, 1, 2]
# By name: what is changed (None: it is another recipe, the two-stage control), and how the table calls it.
VARIANTS = {
    "bt": ({}, "as the recipe is: bottleneck, 300 samples of 64 channels"),
    "bt-weight-0.01": ({"distill.0.weight": 0.01}, "weight 0.01"),
    "bt-weight-0.1": ({"distill.0.weight": 0.1}, "weight 0.1"),
    "bt-weight-10": ({"distill.0.weight": 10}, "weight 10"),
    "bt-encoder.2": ({"distill.0.at": "encoder.2"}, "encoder.2, 2,400 samples of 32 channels"),
    "bt-penultimate": ({"distill.0.at": "penultimate"}, "penultimate, 153,600 samples of 8 channels"),
    "bt-stop-gradient": ({"stop_gradient": "teacher"}, "no gradient into the teacher"),
    "bt-frozen": (None, "a teacher trained beforehand (`choi2023_two_stage`)"),
}
METHODS = ["student", *VARIANTS]
KEPT = ["method", "region", "n", "n_trainings", "dice_gain", "trainings_ci_low", "trainings_ci_high", "finding"]


def recipes() -> dict[str, dict]:
    """The variants' recipes. Weights are those of the library, whatever the study gives to its methods."""
    plain = {}
    for name, (overrides, title) in VARIANTS.items():
        recipe = load("choi2023_two_stage") if overrides is None else load("choi2023", overrides=overrides)
        plain[name] = recipe.plain() | {"title": title}
    return plain


def table(found: pd.DataFrame) -> str:
    """The Markdown table: variants × regions, gain over the student with its interval over patients and trainings."""
    regions, rows = list(dict.fromkeys(found["region"])), []
    for name, (_, title) in VARIANTS.items():
        of_variant = found[found["method"] == name].set_index("region")
        cells = [
            estimate(*of_variant.loc[region, ["dice_gain", "trainings_ci_low", "trainings_ci_high"]], sign=True)
            for region in regions
        ]
        rows.append([title, *cells])
    return markdown_table(["Barlow Twins", *(f"{region}, gain over `student`" for region in regions)], rows)


def there() -> set[tuple[str, int]]:
    """Methods and seeds that the shards score."""
    files = (REPOSITORY / INTO / SHARDS).glob(f"*/{ABOUT}")
    configs = [json.loads(file.read_text())["config"] for file in files]
    return {(method, seed) for config in configs for method in config["methods"] for seed in config["seeds"]}


def config_of(seed: int, names: list[str]) -> dict:
    """The config that trains some variants with a seed; their recipes are written for it."""
    for name, recipe in recipes().items():
        write_yaml(REPOSITORY / PLACE / "methods" / f"{name}.yaml", recipe)
    methods = {"methods": names, "methods_folder": str(PLACE / "methods")}
    return TRIALS | methods | {"experiment": f"barlow{seed}", "subsets": [SUBSET], "seeds": [seed]}


def train(seed: int, names: list[str], cores: int) -> None:
    """Train and score some variants, and add them as a shard."""
    config = config_of(seed, names)
    place = f"results/{config['experiment']}"
    if run(config, cores, *(f"{place}/{file}" for file in RESULTS)):
        raise SystemExit("see above; the same command goes on")
    number = 1 + len(list((REPOSITORY / INTO / SHARDS).glob(f"seed{seed}-*")))
    command("crossmodal", "shard", place, "--into", str(INTO), "--name", f"seed{seed}-{number}")


def main(seed: int, cores: int = 2, only: str = "") -> None:
    """Train the variants of a seed, as far as they are not there; write the table when all seeds are."""
    wanted = only.split(",") if only else METHODS
    if seed not in SEEDS or not set(wanted) <= set(METHODS):
        raise SystemExit(f"seed {seed}, {only}: seeds are {SEEDS}, methods {', '.join(METHODS)}")
    missing = [name for name in wanted if (name, seed) not in there()]
    if missing:
        train(seed, missing, cores)
    if not {(name, one) for name in METHODS for one in SEEDS} <= there():
        return
    command("crossmodal", "merge", str(INTO))
    command("crossmodal", "tables", str(INTO))
    found = pd.read_csv(REPOSITORY / INTO / "tables" / "comparisons.csv")
    found = found[found["baseline"] == METHODS[0]]
    with atomic_path(OUT) as temporary:
        found[KEPT].to_csv(temporary, index=False, float_format="%.4f")
    replace_between(PAGE, "barlow", table(found))


if __name__ == "__main__":
    typer.run(main)

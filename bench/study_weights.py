"""The weights of the reference study: every method gets the same few, on phantoms that the study never uses.

    python bench/study_weights.py [--methods hinton2015,romero2015] [--cores 2] [--at-once]

The protocol is in docs/study.md. Each method is trained with its distillation terms multiplied by 0.01, 0.1, 1 and 10,
with the study's steps, on T1 and on T1ce + FLAIR. Dice in 30 held-out phantoms goes into study_weights.csv, method by
method, or with --at-once of all methods in one run; a trial that is there already is not made again. In the end the
table goes into docs/study.md, and what workflow/reference_study.yaml should override is printed where it does not.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import typer
import yaml
from measure import REPOSITORY, markdown_table, with_scripts

from crossmodal.experiment.recipe import load
from crossmodal.files import atomic_path, replace_between, write_yaml
from crossmodal.wording import number

OUT = Path(__file__).with_suffix(".csv")
STUDY = REPOSITORY / "workflow" / "reference_study.yaml"
PAGE = REPOSITORY / "docs" / "study.md"
FACTORS = (0.01, 0.1, 1, 10)
SUBSETS = ["t1", "t1ce+flair"]
BETTER = 0.01  # of Dice: by so much must another factor be better than 1
PLACE = Path(".cache/study_weights")  # from the repository's root, where Snakemake runs
TABLE = "results/study_weights/tables/summary.csv"
# What all trials have in common; their phantoms are not those of the study.
TRIALS = {
    "phantom": {"cases": 130, "spacing": 3, "seed": 2031, "site": "A"},
    "split": {"folds": 10, "test_fraction": 0.2308},
    "budget": "study_phantom",
    "deterministic": True,
}
FINISHED = "fold_0/checkpoint_final.pth"


def variant(method: str, factor: float) -> str:
    """Name of a method with its terms multiplied by a factor."""
    return f"{method}-x{factor:g}"


def weighted(method: str, factor: float) -> dict:
    """The overrides that multiply the weight of each term of a method, as many digits as it has."""
    terms = load(method).distill
    return {f"distill.{place}.weight": float(f"{term.weight * factor:.6g}") for place, term in enumerate(terms)}


def methods() -> list[str]:
    """The study's methods that have a distillation term; a control has the weights of the method that it is for."""
    study = yaml.safe_load(STUDY.read_text())
    controls = {path.stem for path in (REPOSITORY / study["methods_folder"]).glob("*.yaml")}
    return [method for method in study["methods"] if method not in controls and load(method).distill]


def overrides(choice: dict[str, float]) -> dict[str, dict]:
    """What the study's config says of the methods, and of their controls, whose factor is not 1."""
    names = yaml.safe_load(STUDY.read_text())["methods"]
    changed = {method: weighted(method, factor) for method, factor in choice.items() if factor != 1}
    return {name: changed[name.removesuffix("_same")] for name in names if name.removesuffix("_same") in changed}


def trials(wanted: list[tuple[str, float]], cores: int) -> pd.DataFrame:
    """Train methods with factors; a row for each of them, subset and region with its mean Dice."""
    folder = REPOSITORY / PLACE
    names = {variant(method, factor): (method, factor) for method, factor in wanted}
    for name, (method, factor) in names.items():
        recipe = load(method, overrides=weighted(method, factor)).plain()
        write_yaml(folder / "methods" / f"{name}.yaml", recipe | {"title": name})
    config = TRIALS | {
        "experiment": "study_weights",
        "methods": list(names),
        "methods_folder": str(PLACE / "methods"),
        "subsets": SUBSETS,
        "students": "together",
    }
    if run(config, cores, TABLE):  # a training whose loss is no longer a number stops: its factor has no Dice
        models = REPOSITORY / "results" / config["experiment"] / "models"
        config["methods"] = [name for name in names if len(list(models.glob(f"{name}/*/seed0/{FINISHED}"))) > 0]
        if config["methods"] == list(names) or run(config, cores, TABLE):
            raise SystemExit(f"{', '.join(names)}: see above; the same command goes on")
    summary, cost = (pd.read_csv((REPOSITORY / TABLE).with_name(name)) for name in ("summary.csv", "cost.csv"))
    summary = summary[summary["method"].isin(names)].rename(columns={"dice_mean": "dice"}).astype({"n": int})
    summary["device"] = summary["method"].map(cost.groupby("method")["device"].first())
    summary[["method", "factor"]] = [names[name] for name in summary["method"]]
    shutil.rmtree(folder / "methods")
    lost = [one for name, one in names.items() if name not in config["methods"]]
    rows = [summary, pd.DataFrame(lost, columns=["method", "factor"]).assign(n=0)] if lost else [summary]
    return pd.concat(rows)[["method", "factor", "modalities", "region", "n", "dice", "device"]]


def run(config: dict, cores: int, *targets: str) -> int:
    """Run the workflow up to some targets; its exit code."""
    file = f".cache/{config['experiment']}/config.yaml"
    write_yaml(REPOSITORY / file, config)
    command = ["snakemake", "--cores", str(cores), "--configfile", file, "--", *targets]
    return subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, env=with_scripts()).returncode


def chosen(found: pd.DataFrame) -> dict[str, float]:
    """The factor of each method: 1, unless another one's mean over subsets and regions is more than `BETTER` higher."""
    means = found.groupby(["method", "factor"], sort=False)["dice"].mean().unstack()
    best = means.idxmax(axis=1)
    return {m: best[m] if means.loc[m, best[m]] - means.loc[m, 1.0] > BETTER else 1.0 for m in means.index}


def table(found: pd.DataFrame, choice: dict[str, float]) -> str:
    """The Markdown table: methods × factors, mean Dice, the chosen one in bold; then that of each subset."""
    means = found.groupby(["method", "factor"], sort=False)["dice"].mean().unstack()
    rows = []
    for method in means.index:
        cells = [number(means.loc[method, factor]) for factor in FACTORS]
        at = FACTORS.index(choice[method])
        cells[at] = f"**{cells[at]}**"
        weights = ", ".join(f"{value:g}" for value in weighted(method, choice[method]).values())
        rows.append([method, *cells, weights])
    return markdown_table(["method", *(f"× {factor:g}" for factor in FACTORS), "weights in the study"], rows)


def main(only: str = typer.Option("", "--methods"), cores: int = 2, at_once: bool = False) -> None:
    """Run the trials that are not in study_weights.csv yet; write the choice into the study's config and page."""
    found = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame(columns=["method", "factor"])
    there = set(found[["method", "factor"]].itertuples(index=False, name=None))
    names = only.split(",") if only else methods()
    for group in [names] if at_once else [[name] for name in names]:
        missing = [(name, factor) for name in group for factor in FACTORS if (name, factor) not in there]
        if missing:
            found = pd.concat([found, trials(missing, cores)])
            with atomic_path(OUT) as temporary:
                text = found.assign(factor=found["factor"].map("{:g}".format))
                text.to_csv(temporary, index=False, float_format="%.4f")
    found = pd.read_csv(OUT)
    choice = chosen(found)
    text = table(found, choice)
    print(text)
    if set(choice) == set(methods()) and len(found.groupby(["method", "factor"])) == len(choice) * len(FACTORS):
        replace_between(PAGE, "weights", text)
        changed = overrides(choice)
        if yaml.safe_load(STUDY.read_text()).get("overrides", {}) != changed:
            raise SystemExit(f"{STUDY}: should hold these overrides:\n{yaml.safe_dump({'overrides': changed})}")


if __name__ == "__main__":
    typer.run(main)

# The resolved config and every helper function of the workflow.
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

from snakemake.exceptions import WorkflowError

from crossmodal.experiment import config as experiments
from crossmodal.cohort import lock as locks
from crossmodal.cohort.inputs import files_read
from crossmodal.experiment import recipe as recipes
from crossmodal.errors import UserError
from crossmodal.figures import FIGURES
from crossmodal.files import sha256_of, write_json, write_yaml
from crossmodal.domain import ALL, all_subsets
from crossmodal.train.signals import pass_on_warnings

try:
    EXPERIMENT = experiments.resolve(dict(config), Path(workflow.basedir) / "workflow", results=Path("results"))
    experiments.refuse_mixture(EXPERIMENT, Path("results") / EXPERIMENT["experiment"])
    if workflow.is_main_process:
        locks.require_locked(EXPERIMENT, Path(".cache", "hashes"), only_known=True)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{EXPERIMENT['experiment']}"
LOGS = f"logs/{EXPERIMENT['experiment']}"
BENCHMARKS = f"{RESULTS}/benchmarks"
BUDGET = EXPERIMENT["budget_settings"]
RECIPE_HASHES = {method: sha256_of(recipes.essence(recipe)) for method, recipe in EXPERIMENT["recipes"].items()}
COHORTS = EXPERIMENT["cohorts"]
SEEDS = EXPERIMENT["seeds"]
FOLDS = EXPERIMENT["folds"]
# Jobs on one machine share its GPUs through --resources gpu=N (docs/cluster.md).
GPUS_PER_JOB = 0 if EXPERIMENT["device"] == "cpu" else 1
DEVICE_OPTIONS = ["--device", EXPERIMENT["device"]] + ["--deterministic"] * EXPERIMENT["deterministic"]
# A network is named by {method}/{modalities}/seed{seed}, and one of its trainings by fold_{fold}.
MODEL = f"{RESULTS}/models/{{method}}/{{modalities}}/seed{{seed}}"
MANIFEST = f"{MODEL}/fold_{{fold}}/manifest.json"
PREDICTIONS = f"{RESULTS}/predictions/{{cohort}}/{{method}}/{{modalities}}/seed{{seed}}/fold_{{fold}}"
SCORES = f"{RESULTS}/scores/{{cohort}}/{{method}}/{{modalities}}/seed{{seed}}/fold_{{fold}}.csv"
# The one environment of all rules, for --sdm conda on a cluster without a shared .venv.
CONDA = Path(workflow.basedir, "envs", "conda.yaml")


def any_of(names):
    """A wildcard constraint; the + of a subset is an operator of regular expressions."""
    import re

    return "|".join(map(re.escape, names))


wildcard_constraints:
    method=any_of(EXPERIMENT["recipes"]),
    modalities=any_of(all_subsets()),
    cohort=any_of(COHORTS),
    seed=r"\d+",
    fold=r"\d+",


if "SLURM_JOB_ID" in os.environ:
    # In a cluster's job: the shell and tee outlive Slurm's signals, and the training hears them.
    shell.prefix("set -euo pipefail; trap '' TERM USR1; ")
    pass_on_warnings()


def phantom_folder():
    """Where the embedded cohort lies: data/ for the demo's, which data.dvc pins."""
    phantom = EXPERIMENT["phantom"]
    name = f"{phantom['site']}-{phantom['cases']}-{phantom['spacing']:g}mm-{phantom['seed']}"
    return phantom["folder"] or f".cache/phantom-{name}"


def cohort_inputs(wildcards):
    """Every file of the user's cohorts and split, so that a changed one is seen; or the embedded cohort as a whole.

    A file whose time alone has moved is compared by content (max-checksum-file-size in the profiles).
    """
    given = [item["path"] for item in EXPERIMENT["external"]]
    given += [path for path in (EXPERIMENT["brats"], EXPERIMENT["split"]["file"]) if path is not None]
    embedded = [ancient(phantom_folder())] if EXPERIMENT["brats"] is None else []
    return embedded + [file for path in given for file in files_read(path)]


def external_options():
    """--external NAME=PATH[:release] for each cohort that is only tested on."""
    return [
        option
        for item in EXPERIMENT["external"]
        for option in (
            "--external",
            f"{item['name']}={item['path']}" + ("" if item["release"] == "auto" else f":{item['release']}"),
        )
    ]


def split_options():
    """Options of `crossmodal cohort check` for the split."""
    split = EXPERIMENT["split"]
    options = ["--folds", split["folds"], "--test-fraction", split["test_fraction"]]
    options += ["--split-seed", split["seed"]]
    if split["file"] is not None:
        options += ["--split-file", split["file"]]
    if EXPERIMENT["predict_unlabelled"]:
        options += ["--predict-unlabelled"]
    return options


def teacher_manifest(wildcards):
    """The manifest of a teacher that must be trained first: it changes only when the teacher's weights do."""
    needed = recipes.teacher_of(EXPERIMENT["recipes"][wildcards.method], wildcards.modalities)
    if needed is None:
        return []
    method, modalities = needed
    return MANIFEST.format(method=method, modalities=modalities, seed=wildcards.seed, fold=wildcards.fold)


def recipe_options(wildcards, input):
    """--teacher MODEL_DIR for a recipe that needs one, and --set key=value for each override of it."""
    options = ["--teacher", Path(input.teacher).parents[1]] if input.teacher else []
    changes = EXPERIMENT["overrides"].get(wildcards.method, {})
    options += [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    if EXPERIMENT["methods_folder"]:
        options += ["--methods-folder", EXPERIMENT["methods_folder"]]
    return options


def recipe_hash(wildcards):
    """Changes when the resolved recipe does, and not when a comment, its title or its citation does."""
    return RECIPE_HASHES[wildcards.method]


def networks_trained(wildcards):
    """How many networks are in a training's memory: a teacher beside the student costs more."""
    return 2 if EXPERIMENT["recipes"][wildcards.method]["teacher"] else 1


def training_memory(wildcards, attempt):
    """MB of main memory; grows with each attempt."""
    share = 1 + 0.25 * (networks_trained(wildcards) - 1)
    return int(1000 * BUDGET["memory_gb"] * share * attempt)


def training_minutes(wildcards, attempt):
    """Minutes; a joint or taught training asks for more, and each attempt for more again."""
    return max(5, int(60 * BUDGET["runtime_hours"] * networks_trained(wildcards) * attempt))


def trained_model(wildcards):
    """Manifest of the network that serves a prediction."""
    modalities = experiments.model_subset(EXPERIMENT, wildcards.method, wildcards.modalities)
    return MANIFEST.format(method=wildcards.method, modalities=modalities, seed=wildcards.seed, fold=wildcards.fold)


def all_of(pattern):
    """A file pattern expanded over all that is scored.

    Rules ask for it through a function: Snakemake hashes a plain list of n files n times.
    """
    return [
        path
        for method in EXPERIMENT["methods"]
        for path in expand(
            pattern,
            cohort=COHORTS,
            method=method,
            modalities=experiments.scored_subsets(EXPERIMENT, method),
            seed=SEEDS,
            fold=FOLDS,
        )
    ]


def versions_used(path):
    """Versions that made an experiment: this environment's, after others that earlier runs of it used."""
    used = json.loads(path.read_text()) if path.exists() else {}
    now = {name: version(name) for name in ("crossmodal", "nnunetv2", "torch", "snakemake", "numpy")}
    for name, value in {"python": platform.python_version(), **now}.items():
        earlier = used[name].split(", ") if name in used else []
        used[name] = ", ".join(dict.fromkeys([*earlier, value]))
    return used


def figures_of():
    """Whose figures `snakemake figures` draws: the experiment's when it has tables, else the reference's."""
    has_tables = Path(RESULTS, "tables", "per_case.csv").exists()
    return RESULTS if has_tables else "results/reference"


onstart:
    try:
        locks.require_locked(EXPERIMENT, Path(".cache", "hashes"))
    except UserError as error:
        raise WorkflowError(str(error)) from None
    write_yaml(f"{RESULTS}/config.yaml", EXPERIMENT)
    write_json(f"{RESULTS}/versions.json", versions_used(Path(RESULTS, "versions.json")))

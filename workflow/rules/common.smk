# The resolved config and every helper function of the workflow.
import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake_logger_plugin_crossmodal import shows_steps_alone

from crossmodal.cohort import lock as locks
from crossmodal.cohort.inputs import files_read
from crossmodal.cost.network import student_bytes
from crossmodal.cost.step_times import together
from crossmodal.domain import all_subsets
from crossmodal.errors import UserError
from crossmodal.experiment import config as experiments
from crossmodal.experiment import layout, runs
from crossmodal.experiment.initial import hash_of_initial
from crossmodal.experiment.recorded import refuse_mixture
from crossmodal.figures import FIGURES
from crossmodal.files import sha256_of, write_json, write_yaml
from crossmodal.train.signals import pass_on_warnings

try:
    EXPERIMENT = experiments.resolve(dict(config), results=Path("results"))
    refuse_mixture(EXPERIMENT, Path("results", EXPERIMENT.experiment))
    LOCK = (EXPERIMENT.brats, EXPERIMENT.brats_lock, Path(".cache", "hashes"))
    if workflow.is_main_process:
        locks.require_locked(*LOCK, only_known=True)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{EXPERIMENT.experiment}"
LOGS = f"logs/{EXPERIMENT.experiment}"
BENCHMARKS = f"{RESULTS}/benchmarks"
BUDGET = EXPERIMENT.budget_settings
# Jobs on one machine share its GPUs through --resources gpu=N (docs/cluster.md).
GPUS_PER_JOB = 0 if EXPERIMENT.device == "cpu" else 1
DEVICE_OPTIONS = ["--device", EXPERIMENT.device] + ["--deterministic"] * EXPERIMENT.deterministic
CASES = f"{RESULTS}/{layout.CASES}"
DATASET = f"{RESULTS}/{layout.DATASET}"
MODEL = f"{RESULTS}/{layout.MODEL}"
MANIFEST = f"{RESULTS}/{layout.MANIFEST}"
PREDICTIONS = f"{RESULTS}/{layout.PREDICTIONS}"
SCORES = f"{RESULTS}/{layout.SCORES}"
# A log of one network's job: train/… or predict/<cohort>/… and score/<cohort>/….
OF_TRAINING = f"{layout.NETWORK}/{layout.FOLD}"
OF_PREDICTION = f"{{cohort}}/{OF_TRAINING}"
# (method, number, subsets) of each job that trains several students.
JOINT_JOBS = [
    (method, number, subsets)
    for method, jobs in runs.students_of_jobs(EXPERIMENT).items()
    for number, subsets in enumerate(jobs)
    if any(len(job) > 1 for job in jobs)
]
TOGETHER = {method for method, _, _ in JOINT_JOBS}
# The one environment of all rules, for --sdm conda on a cluster without a shared .venv.
CONDA = "../../envs/conda.yaml"


def any_of(names):
    """A wildcard constraint, which of no names matches nothing; the + of a subset is an operator of regular expressions."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    method=any_of(EXPERIMENT.recipes),
    modalities=any_of(all_subsets()),
    cohort=any_of(EXPERIMENT.cohorts),
    seed=r"\d+",
    fold=r"\d+",


PREFIXES = []
if shows_steps_alone(workflow.output_settings):
    # On a terminal with a line a step: what tee repeats of a step goes to its log alone.
    PREFIXES.append("exec >/dev/null; ")
if "SLURM_JOB_ID" in os.environ:
    # In a cluster's job: the shell and tee outlive Slurm's signals, and the training hears them.
    PREFIXES.append("trap '' TERM USR1; ")
    pass_on_warnings()
if PREFIXES:
    shell.prefix("set -euo pipefail; " + "".join(PREFIXES))


def cohort_inputs(wildcards):
    """Every file of the user's cohorts and split, so that a changed one is seen; or the embedded cohort as a whole.

    A file whose time alone has moved is compared by content (max-checksum-file-size in the profiles).
    """
    given = [item.path for item in EXPERIMENT.external]
    given += [path for path in (EXPERIMENT.brats, EXPERIMENT.split.file) if path is not None]
    embedded = [ancient(EXPERIMENT.phantom.place)] if EXPERIMENT.is_phantom else []
    return embedded + [file for path in given for file in files_read(path)]


def external_options():
    """--external NAME=PATH[:release] for each cohort that is only tested on."""
    options = []
    for item in EXPERIMENT.external:
        release = "" if item.release == "auto" else f":{item.release}"
        options += ["--external", f"{item.name}={item.path}{release}"]
    return options


def split_options():
    """Options of `crossmodal cohort check` for the split."""
    split = EXPERIMENT.split
    options = ["--folds", split.folds, "--test-fraction", split.test_fraction, "--split-seed", split.seed]
    if split.file is not None:
        options += ["--split-file", split.file]
    if EXPERIMENT.predict_unlabelled:
        options += ["--predict-unlabelled"]
    return options


def teacher_manifest(wildcards):
    """The manifest of a teacher that must be trained first: it changes only when the teacher's weights do."""
    needed = EXPERIMENT.recipes[wildcards.method].teacher_before(wildcards.modalities)
    if needed is None:
        return []
    method, modalities = needed
    return MANIFEST.format(method=method, modalities=modalities, seed=wildcards.seed, fold=wildcards.fold)


def recipe_options(wildcards, input):
    """--teacher MODEL_DIR for a recipe that needs one, and --set key=value for each override of it."""
    options = ["--teacher", Path(input.teacher).parents[1]] if input.teacher else []
    return options + changes_of(wildcards.method)


def changes_of(method):
    """--set key=value for each override of a recipe, and where recipes of one's own lie."""
    options = []
    for key, value in EXPERIMENT.overrides.get(method, {}).items():
        options += ["--set", f"{key}={'null' if value is None else value}"]
    if EXPERIMENT.methods_folder:
        options += ["--methods-folder", EXPERIMENT.methods_folder]
    return options


def teachers_of(method, subsets):
    """As `teacher_manifest`, of all students of a job."""
    return lambda wildcards: sorted(
        {
            MANIFEST.format(method=needed[0], modalities=needed[1], **wildcards)
            for needed in map(EXPERIMENT.recipes[method].teacher_before, subsets)
            if needed
        }
    )


def options_together(method, subsets):
    """As `recipe_options`; a teacher that sees what its student sees has the subset in its folder's name."""
    needed = EXPERIMENT.recipes[method].teacher_before(subsets[0])

    def options(wildcards):
        if needed is None:
            return changes_of(method)
        same = needed[1] == subsets[0] and len(subsets) > 1
        modalities = "{modalities}" if same else needed[1]
        return ["--teacher", MODEL.format(method=needed[0], modalities=modalities, **wildcards), *changes_of(method)]

    return options


def model_of_student(method):
    """The model folder, with {modalities} where `crossmodal train` puts the subset of each student."""
    return lambda wildcards: MODEL.format(method=method, modalities="{modalities}", **wildcards)


def memory_together(method, subsets):
    """As `training_memory`, and what each further student adds."""
    recipe = EXPERIMENT.recipes[method]
    more = (len(subsets) - 1) * student_bytes(BUDGET, EXPERIMENT.backbone, recipe) / 1e6
    one = 1000 * BUDGET.memory_gb * (1 + 0.25 * (recipe.networks_in_memory - 1))
    return lambda wildcards, attempt: int((one + more) * attempt)


def minutes_together(method, subsets):
    """As `training_minutes`, for all students of a job."""
    recipe = EXPERIMENT.recipes[method]
    one = 60 * BUDGET.runtime_hours * recipe.networks_in_memory
    all_of_them = one * len(subsets) * together(recipe.training_kind, len(subsets))
    return lambda wildcards, attempt: max(5, int(all_of_them * attempt))


def recipe_hash(wildcards):
    """Changes when the resolved recipe does, and not when a comment, its title or its citation does."""
    return recipe_hash_of(wildcards.method, wildcards.modalities)(wildcards)


def recipe_hash_of(method, modalities):
    """As `recipe_hash`; weights that the training starts from count by their content, wherever they lie."""
    recipe = EXPERIMENT.recipes[method]

    def of_training(wildcards):
        fields = recipe.training_fields()
        if recipe.init_from is not None:
            try:
                fields["init_sha256"] = hash_of_initial(recipe.init_from, int(wildcards.fold))
            except UserError:  # not there: what was trained from it knows its hash, and a training says what is wrong
                model = {"method": method, "modalities": modalities, "seed": wildcards.seed, "fold": wildcards.fold}
                trained = Path(MANIFEST.format(**model))
                fields["init_sha256"] = json.loads(trained.read_text()).get("init_sha256") if trained.exists() else None
        return sha256_of(fields)

    return of_training


def training_memory(wildcards, attempt):
    """MB of main memory; more with a teacher beside the student, and more with each attempt."""
    networks = EXPERIMENT.recipes[wildcards.method].networks_in_memory
    return int(1000 * BUDGET.memory_gb * (1 + 0.25 * (networks - 1)) * attempt)


def training_minutes(wildcards, attempt):
    """Minutes; more with a teacher beside the student, and more with each attempt."""
    return max(5, int(60 * BUDGET.runtime_hours * EXPERIMENT.recipes[wildcards.method].networks_in_memory * attempt))


def trained_model(wildcards):
    """Manifest of the network that serves a prediction."""
    modalities = EXPERIMENT.recipes[wildcards.method].trained_modalities(wildcards.modalities)
    return MANIFEST.format(method=wildcards.method, modalities=modalities, seed=wildcards.seed, fold=wildcards.fold)


def all_of(pattern):
    """A file pattern for every prediction of the experiment.

    Rules ask for it through a function: Snakemake hashes a plain list of n files n times.
    """
    return [pattern.format(**vars(prediction)) for prediction in runs.predictions(EXPERIMENT)]


def versions_used(path):
    """Versions that made an experiment: this environment's, after others that earlier runs of it used."""
    used = json.loads(path.read_text()) if path.exists() else {}
    now = {name: version(name) for name in ("crossmodal", "nnunetv2", "torch", "snakemake", "numpy")}
    for name, value in {"python": platform.python_version(), **now}.items():
        earlier = used[name].split(", ") if name in used else []
        used[name] = ", ".join(dict.fromkeys([*earlier, value]))
    return used


def record_run():
    """Verify the locked data, and write the resolved config and the versions."""
    try:
        locks.require_locked(*LOCK)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    write_yaml(f"{RESULTS}/config.yaml", EXPERIMENT.plain())
    write_json(f"{RESULTS}/versions.json", versions_used(Path(RESULTS, "versions.json")))


onstart:
    record_run()


# Snakemake runs onstart of the main workflow alone, and not of a module.
if not workflow.modifier.is_main_snakefile() and workflow.is_main_process and not workflow.output_settings.dryrun:
    record_run()

"""The experiment's config: keys, defaults, checks, and what follows from them."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from crossmodal.cohort.lock import read_lock
from crossmodal.domain import RELEASES, all_subsets, parse_subset, subset_name
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget, load_budget
from crossmodal.experiment.initial import model_and_fold
from crossmodal.experiment.layout import CASES
from crossmodal.experiment.recipe import Recipe, load_all
from crossmodal.experiment.validation import Model, read_yaml


def _items(value: Any) -> Any:
    """A list, also from the text that the command line gives: "a,b"."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    return value if isinstance(value, list) else [value]


def _none(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in ("null", "none") else value


def _subsets(names: list[str]) -> list[str]:
    """Subsets as they are written everywhere, "every" as all 15."""
    return all_subsets() if names == ["every"] else [subset_name(parse_subset(name)) for name in names]


def _unique(values: list) -> list:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"repeats {', '.join(repeated)}: name each once")
    return values


Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Number = Annotated[int, Field(ge=0)]
Items = BeforeValidator(_items)
Unique = AfterValidator(_unique)
Null = BeforeValidator(_none)
Subsets = Annotated[list[str], Items, AfterValidator(_subsets), Unique, Field(min_length=1)]


class Given(Model):
    """Base of what users write: text from the command line gets the type of its key."""

    model_config = ConfigDict(strict=False, coerce_numbers_to_str=True)


class Phantom(Given):
    """The embedded cohort that is made when brats is null."""

    cases: int = Field(12, ge=3)
    """Number of subjects."""
    spacing: int | float = Field(4, ge=0.5, le=6)
    """Voxel size in mm."""
    seed: Number = 2023
    """Seed of the cohort."""
    site: Literal["A", "B", "R"] = "A"
    """Scanner A or B, or R: everything is drawn anew for each case."""
    width: int | float = Field(1, ge=0, le=2)
    """How wide site R draws: 1 is its ranges, 0.5 half of them."""
    folder: Annotated[str | None, Null] = None
    """Where it is written; null for .cache/phantom-<settings>. The demo's lies in data/, which data.dvc pins."""

    @property
    def place(self) -> str:
        """The folder, as given or named after the settings."""
        width = "" if self.width == 1 else f"-{self.width:g}wide"
        return self.folder or f".cache/phantom-{self.site}-{self.cases}-{self.spacing:g}mm-{self.seed}{width}"

    @model_validator(mode="after")
    def _width_is_of_site_r(self) -> Self:
        if self.width != 1 and self.site != "R":
            raise ValueError(f"'width' {self.width:g} is for site R, and this is site {self.site}")
        return self

    @model_serializer(mode="wrap")
    def _as_before_there_was_a_width(self, write: SerializerFunctionWrapHandler) -> dict:
        """Without a width of 1: version 0.1 did not record it."""
        return {key: value for key, value in write(self).items() if key != "width" or value != 1}


class External(Given):
    """A cohort that is only tested on."""

    name: Name
    """Name in tables."""
    path: str
    """Folder or table of cases."""
    release: str = "auto"
    """As 'release'."""


class Split(Given):
    """How patients are split: the same for every method, saved in cases.csv."""

    folds: int = Field(5, ge=1)
    """Number of folds of the cross-validation."""
    test_fraction: int | float = Field(0.2, ge=0, le=0.9)
    """Share of patients that are held out; 0: each fold is judged on its validation cases."""
    seed: Number = 0
    """Seed of the split."""
    file: Annotated[str | None, Null] = None
    """A split of one's own: CSV (case,split,fold) or a folder of lists (docs/data.md)."""


class Config(Given):
    """Which cohort, modalities, methods and budget. Defaults come from here alone."""

    experiment: Annotated[Name | None, Null] = None
    """Name of the folder under results/; null for <paper>-<budget>[-phantom]."""
    paper: Annotated[Name | None, Null] = None
    """Name of the paper that is reproduced, set by the files in workflow/papers."""
    title: Annotated[str | None, Null] = None
    """The question that the report answers."""
    brats: Annotated[str | None, Null] = None
    """Folder of a BraTS release, or a cases.csv of one's own; null for the embedded phantom."""
    brats_lock: Annotated[str | None, Null] = None
    """cohorts/<name>.dvc that locks the data; a cohort that no longer matches stops the run."""
    cohort: Annotated[Name | None, Null] = None
    """Name of the training cohort in tables; null for brats or phantom-<site>."""
    release: Literal["auto", *RELEASES] = "auto"
    """Which release the data are, when names and layout do not tell."""
    on_problem: Literal["stop", "skip"] = "stop"
    """What to do with cases that have errors: stop the run, or leave them out and say so."""
    predict_unlabelled: bool = False
    """Predict cases without a segmentation too."""
    phantom: Phantom = Phantom()
    external: list[External] = Field([])
    """Cohorts that are only tested on."""
    split: Split = Split()
    """By patient, the same for every method, saved in cases.csv."""
    methods: Annotated[list[str], Items, Unique] = Field(["teacher", "student", "choi2023"], min_length=1)
    """Methods to compare (`crossmodal methods` lists them)."""
    methods_folder: Annotated[str | None, Null] = None
    """A folder with recipes of one's own."""
    overrides: dict[str, dict[str, Any]] = Field({})
    """Changes to recipes: {method: {distill.0.weight: 2}}."""
    subsets: Subsets = Field(["t1ce+flair"])
    """Modality subsets of the students, or 'every' for all 15."""
    any_subsets: Annotated[Subsets | None, Null] = None
    """Subsets on which networks for any subset are scored, or 'every'; null: on those of 'subsets'."""
    seeds: Annotated[list[Number], Items, Unique] = Field([0], min_length=1)
    """Seeds of the trainings."""
    folds: Annotated[list[Number], Items, Unique] = Field([0], min_length=1)
    """Folds that are trained."""
    budget: str = "full"
    """How much training, and which network: a name (`crossmodal budgets` lists them), or a YAML file."""
    backbone: Literal["plain", "resenc_m", "resenc_l"] = "plain"
    """nnU-Net's plain U-Net or a residual-encoder preset."""
    margin: float = Field(0.01, gt=0, lt=1)
    """The largest difference in Dice that makes no difference: for the test of equivalence."""
    students: Literal["separate", "together"] | Annotated[int, Field(ge=1)] = "separate"
    """Students of one method, fold and seed: a job for each; or one job for all, which loads each batch and asks a
    finished teacher once; or a number: at most so many a job. The weights are the same."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run."""
    deterministic: bool = False
    """Bit-identical training on a GPU too, at a cost in time (docs/reproducibility.md)."""
    publish_preprocessed: bool = False
    """Publish the preprocessed data as well."""
    publish_remote: Annotated[str | None, Null] = None
    """Where `snakemake publish` sends files: a DVC remote, folder or URL; null: the default (docs/publishing.md)."""

    @property
    def is_phantom(self) -> bool:
        """Whether the training cohort is the embedded one."""
        return self.brats is None


class Resolved(Config):
    """A config with all that follows from it: results/<experiment>/config.yaml."""

    model_config = ConfigDict(extra="ignore")  # what another version recorded may hold other keys and lack some

    cohort_lock: dict[str, Any] | None = None
    budget_settings: Budget = Budget(title="")
    recipes: dict[str, Recipe] = Field({})
    cohorts: list[str] = Field([])


def resolve(
    given: dict[str, Any], where: str = "config", results: Path | None = None, check_paths: bool = True
) -> Resolved:
    """The resolved config of an experiment, from what config files and the command line gave.

    Args:
        given: keys and values, command-line ones still as text.
        where: named in messages.
        results: the folder of experiments. The images need not be there for an experiment in it whose cohort was
            read already: one that was restored on another machine.
        check_paths: whether the data must be there at all.

    Raises:
        UserError: an unknown key, method, modality or budget, a wrong type, a missing path.
    """
    config = Config.parse(given, where)
    _check_paper(config)
    budget = load_budget(config.budget)
    folders = [Path(config.methods_folder)] if config.methods_folder else []
    recipes = load_all(config.methods, folders, config.overrides)
    for method, recipe in recipes.items():
        recipe.check_taps(budget.number_of_stages, f"method '{method}'")
        if method in config.methods and recipe.uses_ground_truth:
            raise UserError(
                f"'{method}' reads the ground truth, so it is a teacher and never a method of its own: "
                f"take it out of 'methods' (it is trained for the methods that name it)"
            )
    for fold in config.folds:
        if fold >= config.split.folds:
            raise UserError(f"'folds' asks for fold {fold}, but the split has {config.split.folds} folds, from 0")
    embedded = f"phantom-{config.phantom.site.lower()}" if config.is_phantom else "brats"
    cohorts = [config.cohort or embedded, *(item.name for item in config.external)]
    if len(set(cohorts)) < len(cohorts):
        raise UserError(f"two cohorts have the same name: {', '.join(cohorts)}: give 'external' others")
    suffix = "-phantom" if config.is_phantom else ""
    name = config.experiment or f"{config.paper or 'experiment'}-{Path(config.budget).stem}{suffix}"
    if check_paths and not (results and (results / name / CASES).exists()):
        _check_paths(config, recipes)
    return Resolved.model_construct(
        **dict(config) | {"experiment": name},
        cohort_lock=read_lock(Path(config.brats_lock)).summary() if config.brats_lock else None,
        budget_settings=budget,
        recipes=recipes,
        cohorts=cohorts,
    )


def read_resolved(path: Path) -> Resolved:
    """A recorded config.yaml; keys that it lacks have their defaults. Raises UserError when it is missing or wrong."""
    if not path.is_file():
        raise UserError(f"{path}: not found: give the folder of an experiment (results/<experiment>)")
    return Resolved.parse(read_yaml(path), str(path))


def _check_paths(config: Config, recipes: dict[str, Recipe]) -> None:
    for method, recipe in recipes.items():
        if recipe.init_from is not None:
            try:
                for fold in config.folds:
                    model_and_fold(recipe.init_from, fold)
            except UserError as error:
                raise UserError(f"method '{method}': {error}") from None
    given = {"'brats'": config.brats, "'split.file'": config.split.file}
    given |= {f"'external' {item.name}": item.path for item in config.external}
    for key, path in given.items():
        if path is not None and not Path(path).exists():
            raise UserError(f"{key}: there is no {path}: check the path")


def _check_paper(config: Config) -> None:
    if config.paper and config.brats is None and config.budget != "smoke":
        raise UserError(
            f"the paper '{config.paper}' needs its data: add --config brats=PATH, the folder of the BraTS cases; "
            f"or try it on the phantom: --config budget=smoke"
        )
    if config.brats_lock is not None and config.brats is None:
        raise UserError(f"'brats_lock' is {config.brats_lock}, but no 'brats' is given: the lock is of its files")

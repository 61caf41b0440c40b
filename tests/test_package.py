"""The library as a wheel: what it holds, what it declares, and that it works outside the checkout."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY, TINY_BUDGET

SOURCES = REPOSITORY / "src" / "crossmodal"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OF_EXTRAS = {"dvc": "publish", "rocrate": "publish", "snakemake": "workflow"}


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports, whole paths."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def test_everything_imported_is_declared() -> None:
    declared = {normalised(name) for name in PROJECT["dependencies"]}
    extras = {name: set(map(normalised, names)) for name, names in PROJECT["optional-dependencies"].items()}
    distributions = packages_distributions()
    used = set()
    for path in SOURCES.rglob("*.py"):
        for top in {name.partition(".")[0] for name in imported(path)} - set(sys.stdlib_module_names) - {"crossmodal"}:
            names = {normalised(name) for name in distributions[top]}
            wanted = extras[OF_EXTRAS[top]] if top in OF_EXTRAS else declared
            assert names & wanted, f"{path} imports {top} ({names}), which pyproject.toml does not declare"
            used |= names
    assert declared - used == set(), "declared and never imported"


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("crossmodal.")}


def test_rooms_import_one_way_and_no_module_imports_itself_in_a_circle() -> None:
    """Arrows of the library, those inside functions too: by room, then by module."""
    modules = {
        ".".join(("crossmodal", *p.relative_to(SOURCES).with_suffix("").parts)): p for p in SOURCES.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    arrows = {
        name: {_module_of(one, modules) for one in imported(path)} - {None, name} for name, path in modules.items()
    }
    settled: list[str] = []
    while pending := [name for name in arrows if name not in settled]:
        free = [name for name in pending if arrows[name] <= {*settled}]
        assert free, f"modules in a circle: {pending}"
        settled += free
    rooms = {name: rooms_of({name}) for name in arrows}
    for name, targets in arrows.items():
        for room in rooms_of(targets) - rooms[name]:
            back = [other for other in arrows if room in rooms[other] and rooms[name] & rooms_of(arrows[other])]
            assert not back, f"{name} imports the room {room}, and {back} import back"


def _module_of(name: str, modules: dict[str, Path]) -> str | None:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name if name and name != "crossmodal" else None


@pytest.mark.parametrize("room", ["evaluate", "figures", "report", "publishing", "experiment", "cohort", "domain"])
def test_rooms_that_read_tables_know_no_torch(room: str) -> None:
    files = [SOURCES / f"{room}.py"] if (SOURCES / f"{room}.py").is_file() else (SOURCES / room).rglob("*.py")
    heavy = {"torch", "nnunetv2", "crossmodal.train", "crossmodal.nnunet", "crossmodal.distill", "crossmodal.cli"}
    for path in files:
        for name in imported(path):
            assert not any(name == one or name.startswith(f"{one}.") for one in heavy), f"{path} imports {name}"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the checkout with the installed wheel in site/, which is found before the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", folder / "site"]
    subprocess.run([sys.executable, "-m", *install, REPOSITORY], check=True)
    return folder


def run(folder: Path, program: Path, *arguments: str | Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def crossmodal(folder: Path, command: str, *paths: Path) -> str:
    """Run a command, words separated by spaces, with paths after it."""
    return run(folder, folder / "site" / "bin" / "crossmodal", *command.split(), *paths)


@pytest.mark.slow
def test_the_wheel_trains_and_predicts_outside_the_checkout(elsewhere: Path, tiny_cases: Path) -> None:
    (elsewhere / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))
    phantoms = tiny_cases.parent / "phantoms"
    crossmodal(elsewhere, "cohort check --out cohort --folds 2 --test-fraction 0.2", phantoms)
    crossmodal(elsewhere, "dataset --cases cohort/cases.csv --out nnunet --budget tiny.yaml")
    settings = "--modalities t1ce+flair --dataset nnunet --out model --budget tiny.yaml --device cpu"
    crossmodal(elsewhere, f"train --method choi2023 {settings}")
    case = sorted(path for path in phantoms.iterdir() if path.is_dir())[0]
    images = [part for name in ("t1ce", "flair") for part in (f"--{name}", case / f"{case.name}_{name}.nii")]
    crossmodal(elsewhere, "predict --models model --out seg.nii.gz --device cpu", *images)
    crossmodal(elsewhere, "predict --out shipped.nii.gz --device cpu", *images)  # by the network in the wheel
    assert (elsewhere / "seg.nii.gz").stat().st_size > 0
    assert "network that comes with Crossmodal" in (elsewhere / "shipped.json").read_text()


def test_the_wheel_lists_its_recipes_and_lends_its_losses(elsewhere: Path) -> None:
    listing = crossmodal(elsewhere, "methods")
    for line in ("choi2023", "teacher: trained jointly, sees all", "term: barlow_twins at bottleneck", "doi:10.1016"):
        assert line in listing
    assert "smoke" in crossmodal(elsewhere, "budgets")
    assert "--set" in crossmodal(elsewhere, "train --help")
    code = (
        "import crossmodal.distill as d, torch; print(d.__file__, float(d.SoftTargets()(*torch.randn(2, 1, 2, 8, 4))))"
    )
    place, value = run(elsewhere, Path(sys.executable), "-c", code).split()
    assert place.startswith(str(elsewhere / "site")) and float(value) > 0

"""The library as a wheel: what it holds, what it declares, and that it works outside the checkout."""

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY, TINY_BUDGET

SOURCES = REPOSITORY / "src" / "crossmodal"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OF_EXTRAS = {"dvc": "publish", "snakemake": "workflow"}


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
    """An environment outside the checkout with the wheel in it; other packages are those of the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, REPOSITORY]
    subprocess.run([sys.executable, "-m", *build], check=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("crossmodal-*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # A plain path: the editable install of these tests lies in a .pth file there, which is not followed.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        [folder / "venv" / "bin" / command[0], *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_trains_and_predicts_outside_the_checkout(elsewhere: Path, tiny_cases: Path) -> None:
    place = run(elsewhere, "python", "-c", "import crossmodal; print(crossmodal.__file__)")
    assert place.startswith(str(elsewhere))
    (elsewhere / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))
    phantoms = tiny_cases.parent / "phantoms"
    run(
        elsewhere,
        "crossmodal",
        "cohort",
        "check",
        phantoms,
        "--out",
        "cohort",
        "--folds",
        "2",
        "--test-fraction",
        "0.2",
    )
    run(elsewhere, "crossmodal", "dataset", "--cases", "cohort/cases.csv", "--out", "nnunet", "--budget", "tiny.yaml")
    train = ["--modalities", "t1ce+flair", "--dataset", "nnunet", "--out", "model", "--budget", "tiny.yaml"]
    run(elsewhere, "crossmodal", "train", "--method", "choi2023", *train, "--device", "cpu")
    case = sorted(path for path in phantoms.iterdir() if path.is_dir())[0]
    images = [part for name in ("t1ce", "flair") for part in (f"--{name}", case / f"{case.name}_{name}.nii")]
    run(elsewhere, "crossmodal", "predict", "--models", "model", "--out", "seg.nii.gz", *images, "--device", "cpu")
    assert (elsewhere / "seg.nii.gz").stat().st_size > 0


def test_the_wheel_lists_its_recipes_and_lends_its_losses(elsewhere: Path) -> None:
    listing = run(elsewhere, "crossmodal", "methods")
    for line in ("choi2023", "teacher: trained jointly, sees all", "term: barlow_twins at bottleneck", "doi:10.1016"):
        assert line in listing
    assert "smoke" in run(elsewhere, "crossmodal", "budgets")
    assert "--set" in run(elsewhere, "crossmodal", "train", "--help")
    code = "from crossmodal.distill import BarlowTwins, SoftTargets; import torch; x = torch.randn(2, 8, 4, 4); "
    assert float(run(elsewhere, "python", "-c", code + "print(float(SoftTargets()(x, x)))")) == 0

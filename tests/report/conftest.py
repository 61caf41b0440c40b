"""The made-up experiment of tests/figures, drawn once, and a page of it."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """An experiment with its figures; one of them is a note. Never write into it: `experiment` is a copy."""
    import synthetic

    from crossmodal.evaluate.comparisons import compare
    from crossmodal.evaluate.results import Results
    from crossmodal.figures import draw_figures

    methods = ("teacher", "student", "choi2023", "hinton2015", "big_teacher")
    folder = synthetic.build(tmp_path_factory.mktemp("report") / "made-up", methods=methods, seeds=(0, 1, 2))
    results = Results(folder)
    compare(results.scores, 99, results.roles).to_csv(folder / "tables" / "comparisons.csv", index=False)
    draw_figures(folder, folder / "figures")
    return folder


@pytest.fixture
def experiment(drawn, tmp_path) -> Path:
    """A copy of the drawn experiment, to change."""
    return Path(shutil.copytree(drawn, tmp_path / "made-up"))

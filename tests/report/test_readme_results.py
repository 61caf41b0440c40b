"""The README's picture and table come from the tables, by `crossmodal readme`."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from crossmodal import figures
from crossmodal.cli import app
from crossmodal.errors import UserError
from crossmodal.evaluate.results import Results
from crossmodal.report.readme import write_readme
from crossmodal.wording import estimate


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Title\n\n<!-- results:start -->\nold words\n<!-- results:end -->\n\nThe end.\n")
    return path


def test_what_stands_between_the_markers_is_replaced(drawn, readme):
    picture = readme.parent / "docs" / "img" / "reference.png"
    write_readme(drawn, readme, picture)
    text, image = readme.read_text(), picture.read_bytes()
    assert text.startswith("# Title\n") and text.endswith("\nThe end.\n") and "old words" not in text
    assert "](docs/img/reference.png)" in text and image.startswith(b"\x89PNG")
    assert "**Phantom run: simulated images, no patients.**" in text
    summary = pd.read_csv(drawn / "tables" / "summary.csv").set_index(["cohort", "method", "region"])
    row = summary.loc[("phantom-a", "choi2023", "WT")]
    assert estimate(row.dice_mean, row.trainings_ci_low, row.trainings_ci_high) in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [9] * 7
    names = [line.split(" | ")[0] for line in lines[2:]]
    assert names == ["| Student alone", "| Choi 2023", "| Hinton 2015", "| Big teacher", "| Teacher"]
    gain = pd.read_csv(drawn / "tables" / "comparisons.csv").set_index(["cohort", "method", "region"])
    row = gain.loc["phantom-a", "big_teacher", "ET"]
    shown = estimate(row.dice_gain, row.trainings_ci_low, row.trainings_ci_high, sign=True)
    assert lines[5].endswith(f" {shown} |"), "with its gain"
    assert "no gain is claimed" not in text
    write_readme(drawn, readme, picture)
    assert (readme.read_text(), picture.read_bytes()) == (text, image), "again changes nothing"


def test_methods_can_be_chosen(drawn, readme):
    write_readme(drawn, readme, readme.parent / "picture.png", ["teacher", "hinton2015", "student"])
    text = readme.read_text()
    names = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert names[2:] == ["| Student alone", "| Hinton 2015", "| Teacher"]
    assert "Shown are 3 of 5 methods." in text and "Choi 2023" not in text


@pytest.mark.parametrize("methods", [["student", "choi"], ["choi"]])
def test_a_method_that_is_not_there_is_refused(drawn, readme, methods):
    before = readme.read_text()
    with pytest.raises(UserError, match=r"no scores of choi; .* are student, choi2023, hinton2015, big_teacher and"):
        write_readme(drawn, readme, readme.parent / "picture.png", methods)
    assert readme.read_text() == before and not (readme.parent / "picture.png").exists()


def test_seeds_are_counted_where_methods_have_not_the_same(experiment, readme):
    write_readme(experiment, readme, readme.parent / "picture.png")
    count = len(Results(experiment).config.seeds)
    assert f"; {count} seeds, " in readme.read_text()
    path = experiment / "tables" / "per_case.csv"
    scores = pd.read_csv(path)
    scores[(scores.method != "hinton2015") | (scores.seed == scores.seed.min())].to_csv(path, index=False)
    write_readme(experiment, readme, readme.parent / "picture.png")
    assert f"; 1 to {count} seeds of a method, " in readme.read_text()


def test_a_readme_without_markers_is_left_alone(drawn, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Title\n")
    with pytest.raises(UserError, match="results:start"):
        write_readme(drawn, path, tmp_path / "picture.png")
    assert path.read_text() == "# Title\n" and not (tmp_path / "picture.png").exists()


def test_the_commands(drawn, tmp_path, readme, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", ("gain_over_student",))  # the others are drawn elsewhere
    runner = CliRunner()
    for arguments in (
        ["figures", drawn, "--out", tmp_path / "figures"],
        ["report", drawn, "--out", tmp_path / "report.html"],
        ["readme", drawn, "--readme", readme, "--picture", tmp_path / "picture.png"],
    ):
        result = runner.invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "figures" / "index.json").is_file() and (tmp_path / "report.html").is_file()

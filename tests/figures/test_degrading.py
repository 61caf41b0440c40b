"""What is missing or damaged becomes a note in the figure's place, never a crash."""

import json

import pandas as pd
import pytest
import synthetic

from crossmodal import figures
from crossmodal.errors import UserError
from crossmodal.figures import style


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Few dots and no PDF, since nobody looks and most of the time goes there; test_drawing.py looks at both."""
    monkeypatch.setattr(style, "save", lambda figure, stem: figure.savefig(stem.with_suffix(".png"), dpi=30))


def notes(folder):
    index = figures.draw_figures(folder, folder / "figures")
    for entry in index:
        assert (folder / "figures" / f"{entry['name']}.png").is_file()
    found = {e["name"]: e["note"] for e in index if e["note"]}
    assert not any("as expected" in note for note in found.values()), found
    return found


@pytest.mark.parametrize(
    ("built", "absent"),
    [
        (
            {"methods": ("student",), "cohorts": ("phantom-a",)},
            {"gain_over_student", "subset_matrix", "cross_correlation", "intra_vs_cross_dataset", "cost_vs_gain"},
        ),
        (
            {"cases": 1, "seeds": (0,), "cohorts": ("phantom-a",)},
            {"subset_matrix", "intra_vs_cross_dataset", "volume_agreement"},
        ),
        ({"scored": ("teacher", "choi2023")}, {"gain_over_student", "subset_matrix", "cost_vs_gain"}),
    ],
    ids=["one method", "one case", "a failed student"],
)
def test_what_an_experiment_lacks_is_noted(built, absent, tmp_path):
    found = notes(synthetic.build(tmp_path / "x", **built))
    assert set(found) == absent
    assert "two cases" in found.get("volume_agreement", "two cases")


def test_a_region_empty_everywhere(tmp_path):
    folder = synthetic.build(tmp_path / "x", cohorts=("phantom-a",))
    path = folder / "tables" / "per_case.csv"
    table = pd.read_csv(path)
    empty = table.region == "ET"
    table.loc[empty, ["dice_present", "lesion_dice", "hd95_mm"]] = float("nan")
    table.loc[empty, ["volume_ref_ml", "volume_pred_ml"]] = 0.0
    table.to_csv(path, index=False)
    for name in ("summary", "comparisons"):
        path = folder / "tables" / f"{name}.csv"
        table = pd.read_csv(path)
        numbers = [c for c in table.select_dtypes("number") if c != "n"]
        table.loc[table.region == "ET", numbers] = float("nan")
        table.to_csv(path, index=False)
    assert set(notes(folder)) == {"subset_matrix", "intra_vs_cross_dataset"}


def test_a_failed_method_is_named(tmp_path):
    folder = synthetic.build(tmp_path / "x", scored=("teacher", "student", "hinton2015"))
    found = notes(folder)
    assert "choi2023" not in found and "cross_correlation" in found
    index = json.loads((folder / "figures" / "index.json").read_text())
    assert "Without scores: Choi 2023." in index[0]["caption"]


def test_nothing_but_a_config(tmp_path):
    folder = synthetic.build(tmp_path / "x", figure_data=False)
    for path in (folder / "tables").iterdir():
        path.unlink()
    found = notes(folder)
    assert set(found) == set(figures.FIGURES)
    assert "tables/summary.csv is not there" in found["dice_by_method"]


def test_empty_and_damaged_files(tmp_path):
    folder = synthetic.build(tmp_path / "x")
    (folder / "tables" / "cost.csv").write_text("")
    (folder / "figure_data" / "curves.csv").write_text("method,modalities,seed,fold,epoch,step,term,value\n")
    (folder / "figure_data" / "panels.npz").write_bytes(b"PK damaged")
    found = notes(folder)
    assert "has no row" in found["cost_vs_gain"] and "has no row" in found["training_curves"]
    assert "cannot be read" in found["qualitative"]


def test_a_column_that_is_not_there_costs_one_figure(tmp_path, capsys):
    folder = synthetic.build(tmp_path / "x", subsets=("t1ce+flair", "t2"))
    path = folder / "tables" / "cost.csv"
    pd.read_csv(path).drop(columns="train_s").to_csv(path, index=False)
    index = figures.draw_figures(folder, folder / "figures")
    assert [e["name"] for e in index if e["note"]] == ["cost_vs_gain"]
    assert "cost_vs_gain" in capsys.readouterr().err


def test_a_folder_that_is_no_experiment_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.yaml: not found"):
        figures.draw_figures(tmp_path, tmp_path / "figures")
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        figures.draw_figures(tmp_path, tmp_path / "figures")

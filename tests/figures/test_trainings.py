"""Figures show each training, and claim nothing that holds for these networks only."""

import json

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from crossmodal import figures
from crossmodal.evaluate.comparisons import EQUIVALENT, GAIN, LOSS, NOT_SHOWN, TOO_FEW
from crossmodal.evaluate.results import MissingDataError, OneNumberError, Results
from crossmodal.evaluate.trainings import crossed
from crossmodal.figures import (
    cost_vs_gain,
    dice_by_method,
    gain_over_student,
    intra_vs_cross_dataset,
    style,
    volume_agreement,
)
from crossmodal.wording import number

SUBSET = "t1ce+flair"
METHODS = ("teacher", "student", "choi2023", "hinton2015", "hu2020", "wang2023", "romero2015")
SMALL = {"cohorts": ("brats2021", "hospital"), "cases": 6, "brats": "/data/BraTS2021", "figure_data": False}


def build(folder, **other):
    return synthetic.build(folder / "made-up", **SMALL | {"methods": METHODS, "seeds": (0, 1, 2)} | other)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three trainings of each method."""
    return Results(build(tmp_path_factory.mktemp("three")))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two trainings of each method."""
    return Results(build(tmp_path_factory.mktemp("two"), methods=METHODS[:4], seeds=(0, 1)))


@pytest.fixture(autouse=True)
def settings():
    with style.settings():
        yield


def changed(results, tmp_path, name, change):
    """The experiment with one table changed, in another folder."""
    folder = tmp_path / "changed"
    (folder / "tables").mkdir(parents=True)
    for path in [results.folder / "config.yaml", *(results.folder / "tables").iterdir()]:
        (folder / path.relative_to(results.folder)).write_bytes(path.read_bytes())
    path = folder / "tables" / f"{name}.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)
    return Results(folder)


def by_seed(results):
    """Mean Dice of each training, from per_case.csv with pandas alone: (region, method) × seeds."""
    cases = pd.read_csv(results.folder / "tables" / "per_case.csv").query("cohort == 'brats2021'")
    return cases.pivot_table(index=["region", "method"], columns="seed", values="dice", aggfunc="mean")


def ticks(axes):
    return [line for line in axes.lines if line.get_gid() == "trainings"]


def test_each_training_is_a_tick_at_its_mean_dice(three):
    expected = by_seed(three)
    for axes, region in zip(dice_by_method.draw(three).figure.axes, synthetic.REGIONS, strict=True):
        drawn = np.array([line.get_xdata() for line in ticks(axes)])
        assert drawn.shape == (len(METHODS), 3)
        np.testing.assert_allclose(drawn, [expected.loc[region, method] for method in three.methods], atol=1e-5)


def test_each_training_is_a_tick_at_its_gain_over_the_mean_of_the_students(three):
    means, table = by_seed(three), three.gains().set_index(["region", "method"])
    for axes, region in zip(gain_over_student.draw(three).figure.axes, synthetic.REGIONS, strict=True):
        compared = three.methods[1:-1]
        assert len(ticks(axes)) == len(compared)
        for line, method in zip(ticks(axes), compared, strict=True):
            expected = means.loc[region, method] - means.loc[region, "student"].mean()
            np.testing.assert_allclose(line.get_xdata(), expected, atol=1e-5)
            assert line.get_xdata().mean() == pytest.approx(table.dice_gain[region, method], abs=1e-5)


def test_beyond_three_subsets_a_tick_is_a_trainings_mean_over_them(tmp_path):
    results = Results(build(tmp_path, methods=METHODS[:3], subsets=("t1", "t2", "flair", SUBSET)))
    line = ticks(gain_over_student.draw(results).figure.axes[0])[0]
    means = by_seed(results)  # over all subsets
    np.testing.assert_allclose(
        line.get_xdata(), means.loc["WT", "choi2023"] - means.loc["WT", "student"].mean(), atol=1e-5
    )


def test_beyond_three_subsets_a_seed_that_lacks_one_has_no_tick(tmp_path):
    results = Results(build(tmp_path, methods=METHODS[:3], subsets=("t1", "t2", "flair", SUBSET)))
    fewer = changed(results, tmp_path, "per_case", lambda t: t.query("seed < 2 or modalities != 't1'"))
    drawn, kept = (ticks(gain_over_student.draw(one).figure.axes[0])[0].get_xdata() for one in (results, fewer))
    assert len(drawn) == 3 and len(kept) == 2, "a mean over fewer subsets is no mean over them"


def test_folds_are_compared_on_their_own_patients(tmp_path):
    """Patient A is easy and in fold 0, B is hard and in fold 1: a gain of 0.1 and 0.2, whatever the other's Dice."""
    folder = build(tmp_path, methods=("student", "choi2023"), seeds=(0,))
    path = folder / "tables" / "per_case.csv"
    rows = pd.read_csv(path).query("cohort == 'brats2021' and region == 'WT'").groupby("method").head(2)
    rows = rows.assign(case=["A", "B"] * 2, fold=[0, 1] * 2, split="train")
    rows["dice"] = np.where(rows.method == "student", [0.8, 0.2] * 2, [0.9, 0.4] * 2)
    rows.to_csv(path, index=False)
    assert Results(folder).gains_of_trainings("choi2023", SUBSET).tolist() == pytest.approx([0.1, 0.2])


def bars(axes, y):
    """The interval that is drawn at a height: its ends and whether its line is full."""
    found = [line for line in axes.lines if len(line.get_xdata()) == 2 and list(line.get_ydata()) == [y, y]]
    return [(*line.get_xdata(), line.get_linestyle() == "-") for line in found if line.get_gid() is None]


def test_the_interval_is_over_trainings_where_there_are_three_and_dotted_where_not(three, two):
    for results, prefix, full in ((three, "trainings_ci", True), (two, "dice_ci", False)):
        axes = dice_by_method.draw(results).figure.axes[0]
        row = results.summary_of().query("method == 'student' and region == 'WT'").iloc[0]
        expected = (row[f"{prefix}_low"], row[f"{prefix}_high"], full)
        assert bars(axes, dice_by_method.BELOW) == [pytest.approx(expected)]
        axes = gain_over_student.draw(results).figure.axes[0]
        row = results.gains("choi2023").query("region == 'WT'").iloc[0]
        prefix = prefix.removeprefix("dice_")
        assert bars(axes, 0) == [pytest.approx((row[f"{prefix}_low"], row[f"{prefix}_high"], full))]


def test_captions_claim_nothing_from_two_trainings(three, two):
    for module in (dice_by_method, gain_over_student, intra_vs_cross_dataset, cost_vs_gain):
        said = module.draw(two).caption
        assert "these networks only" in said and "Nothing is claimed from fewer than 3 trainings" in said
        assert "these networks only" not in module.draw(three).caption
    assert "p < 0.05" not in gain_over_student.draw(two).caption


def test_a_marker_is_full_for_a_finding_alone(three, tmp_path):
    findings = dict(zip(three.methods[1:-1], (GAIN, LOSS, EQUIVALENT, NOT_SHOWN, TOO_FEW), strict=True))
    claimed = changed(three, tmp_path, "comparisons", lambda t: t.assign(p_holm=0.0001, finding=t.method.map(findings)))
    drawing = gain_over_student.draw(claimed)
    styles = {}
    for method in findings:
        colour, shape = style.look(method)
        for line in drawing.figure.axes[0].lines:
            if line.get_marker() == shape and line.get_color() == colour:
                inside = "full" if to_rgb(line.get_markerfacecolor()) == to_rgb(colour) else "open"
                styles[findings[method]] = inside if line.get_fillstyle() == "full" else "half"
    assert styles == {GAIN: "full", LOSS: "full", EQUIVALENT: "half", NOT_SHOWN: "open", TOO_FEW: "open"}
    shown = {text.get_text() for text in drawing.figure.legends[0].get_texts()}
    assert {"gain or loss", "equivalent within ±0.01", "not shown, or fewer than 3 trainings"} <= shown


def test_what_a_row_may_claim_stands_beside_it(two):
    texts = [text.get_text() for text in gain_over_student.draw(two).figure.axes[0].texts]
    gains = two.gains().query("region == 'WT'").set_index("method").dice_gain
    assert texts == [f"{number(gains[method], sign=True)}\ntoo few trainings" for method in ("choi2023", "hinton2015")]


def test_the_band_is_the_margin(three, tmp_path):
    results = changed(three, tmp_path, "comparisons", lambda table: table.assign(margin=0.02))
    for axes in gain_over_student.draw(results).figure.axes:
        band = next(patch for patch in axes.patches if patch.get_gid() == "margin")
        assert isinstance(band, Rectangle)
        assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.02, 0.02))


def test_the_bar_of_cost_against_gain_is_the_interval_of_the_mean_over_regions(three, two):
    cases = pd.read_csv(three.folder / "tables" / "per_case.csv").query("cohort == 'brats2021'")
    dice = cases.groupby(["method", "case", "seed"]).dice.mean().unstack()
    expected = crossed(dice.loc["choi2023"].to_numpy(), dice.loc["student"].to_numpy())
    point = cost_vs_gain.collect_points(three).set_index("method").loc["choi2023"]
    assert point.gain == pytest.approx(expected.value, abs=1e-5)
    assert point.interval == pytest.approx((*expected.interval(), True), abs=1e-5)
    low, high, over_trainings = cost_vs_gain.collect_points(two).set_index("method").interval["choi2023"]
    assert low < high and not over_trainings


def test_times_of_shards_are_said_to_be_of_several_runs(two, tmp_path):
    assert cost_vs_gain.draw(two).caption.count("cpu in this run.") == 1
    merged = changed(two, tmp_path, "cost", lambda table: table)
    (merged.folder / "shards").mkdir()
    assert "cpu in several runs, which may have been on different machines." in cost_vs_gain.draw(merged).caption


def test_one_point_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", ("cost_vs_gain",))
    folder = build(tmp_path, methods=METHODS[:3])
    figures.draw_figures(folder, folder / "figures")
    (entry,) = json.loads((folder / "figures" / "index.json").read_text())
    assert entry["note"].startswith("Choi 2023 trains 2.1 times as long as the student alone")
    assert entry["caption"] == entry["note"] and entry["note"] in entry["alt"]
    point = cost_vs_gain.collect_points(Results(folder)).iloc[0]
    gain = f"{number(point.gain, sign=True)} ({number(point.interval[0], sign=True)} to "
    assert gain in entry["note"] and entry["note"].endswith("One method is no figure.")


def test_one_point_of_two_trainings_claims_nothing(tmp_path):
    results = Results(build(tmp_path, methods=("student", "hinton2015"), seeds=(0, 1)))
    with pytest.raises(OneNumberError, match=r"Nothing is claimed") as error:
        cost_vs_gain.draw(results)
    assert " to " not in str(error.value), "no interval"


def test_one_method_on_two_cohorts_is_a_sentence(tmp_path):
    results = Results(build(tmp_path, methods=("student",)))
    with pytest.raises(OneNumberError, match=r"^Dice within and across cohorts: Student alone on hospital: WT 0\."):
        intra_vs_cross_dataset.draw(results)


@pytest.mark.parametrize(
    ("table", "columns", "modules"),
    [
        ("summary", ["trainings_ci_low", "trainings_ci_high"], (dice_by_method, intra_vs_cross_dataset)),
        ("comparisons", ["finding", "margin", "trainings_ci_low", "p_trainings"], (gain_over_student, cost_vs_gain)),
    ],
)
def test_tables_of_an_earlier_version_are_named(three, tmp_path, table, columns, modules):
    old = changed(three, tmp_path, table, lambda rows: rows.drop(columns=columns))
    said = rf"tables/{table}\.csv is of an earlier version.*run `crossmodal tables` again"
    for module in modules:
        with pytest.raises(MissingDataError, match=said):
            module.draw(old)
    assert volume_agreement.draw(old).caption

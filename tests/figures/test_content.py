"""The numbers that figures show are those of the tables."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.domain import all_subsets
from crossmodal.evaluate.per_case import read_per_case
from crossmodal.evaluate.results import Results
from crossmodal.evaluate.summary import summarise
from crossmodal.figures import (
    cost_vs_gain,
    cross_correlation,
    intra_vs_cross_dataset,
    style,
    subset_matrix,
    training_curves,
    volume_agreement,
)
from crossmodal.wording import (
    enumerate_words,
    estimate,
    interval,
    method_label,
    modalities_label,
    number,
    p_value,
    percent,
    subset_order,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    subsets = ("t2", "t1ce+flair")
    return Results(synthetic.build(tmp_path_factory.mktemp("content") / "made-up", subsets=subsets))


def test_methods_stand_between_their_bounds(results):
    assert results.methods == ["student", "choi2023", "hinton2015", "teacher"]
    assert results.cohort == "phantom-a" and results.externals == ["phantom-b"]
    assert results.focus_subset == "t1ce+flair" and results.focus_method == "choi2023"


def test_the_papers_own_method_is_in_focus(results):
    other = Results(results.folder)
    other.config = other.config.replaced(paper="hinton2015")
    assert other.focus_method == "hinton2015"


def test_the_teacher_stands_beside_every_subset(results):
    rows = results.at(results.table("summary"), "teacher", "t2")
    assert set(rows.modalities) == {synthetic.ALL}
    assert results.at(results.table("summary"), "student", "t1").empty


def test_no_patient_counts_twice(results):
    cases = results.per_case
    assert not cases.duplicated(["cohort", "patient", "method", "modalities", "region"]).any()
    student = cases[(cases.cohort == "phantom-a") & (cases.method == "student")]
    means = student.groupby(["modalities", "region"]).dice.mean()
    summary = results.table("summary")
    summary = summary[(summary.cohort == "phantom-a") & (summary.method == "student")]
    expected = summary.set_index(["modalities", "region"]).dice_mean
    np.testing.assert_allclose(means.sort_index(), expected.sort_index(), atol=1e-5)


def test_each_visit_counts_once(tmp_path):
    """Visit A with two seeds at 0.8 and visit B with one at 0.2: 0.5 in figures and tables, not 0.6."""
    folder = synthetic.build(tmp_path / "x", methods=("student",), cohorts=("c",), figure_data=False)
    path = folder / "tables" / "per_case.csv"
    rows = pd.read_csv(path).iloc[:3].assign(patient="p", region="WT", case=["A", "A", "B"], seed=[0, 1, 0])
    rows.assign(dice=[0.8, 0.8, 0.2]).to_csv(path, index=False)
    assert Results(folder).per_case.dice.tolist() == pytest.approx([0.5])
    assert summarise(read_per_case(path), resamples=0).dice_mean.tolist() == pytest.approx([0.5])


def test_validation_cases_are_left_out_where_there_is_a_test_set(results, tmp_path):
    folder = synthetic.build(tmp_path / "x", cases=4)
    table = pd.read_csv(folder / "tables" / "per_case.csv")
    table["split"] = np.where(table.cohort == "phantom-a", "test", "external")
    table.loc[table.case == "BraTS20_Training_003", "split"] = "train"
    table.to_csv(folder / "tables" / "per_case.csv", index=False)
    found = Results(folder)
    assert found.count("phantom-a") == 3 and found.count("phantom-b") == 4


def test_matrix_holds_the_summary(results):
    summary = results.table("summary")
    rows = summary[(summary.cohort == "phantom-a") & (summary.region == "WT")]
    table = subset_matrix.matrix(rows, ["student", "teacher"], ["t2", "t1ce+flair"])
    student = rows[rows.method == "student"].set_index("modalities").dice_mean
    assert table.loc["student", "t2"] == student["t2"]
    assert table.loc["student", "mean"] == pytest.approx(student.mean())
    assert np.isnan(table.loc["teacher", "mean"]), "no mean over subsets where some are missing"
    assert list(table.columns) == ["t2", "t1ce+flair", synthetic.ALL, "mean"]


def test_gains_are_those_over_the_student(results, tmp_path):
    folder = synthetic.build(tmp_path / "x")
    path = folder / "tables" / "comparisons.csv"
    table = pd.read_csv(path)
    pd.concat([table, table.assign(baseline="choi2023_two_stage", dice_gain=9.0)]).to_csv(path, index=False)
    assert Results(folder).gains().dice_gain.max() < 1


def test_a_teacher_trained_beforehand_adds_its_time(results):
    points = cost_vs_gain.collect_points(results).set_index("method")
    assert points.own["choi2023"] == pytest.approx(2.1) and points.with_teacher["choi2023"] == pytest.approx(2.1)
    assert points.own["hinton2015"] == pytest.approx(1.4)
    assert points.with_teacher["hinton2015"] == pytest.approx(1.4 + 1.1)


def test_the_cheapest_method_is_first_and_its_row_has_its_cost_and_gain(results):
    points = cost_vs_gain.collect_points(results).set_index("method")
    with style.settings():
        cost, gain = cost_vs_gain.draw(results).figure.axes
    rows = [label.get_text() for label in cost.get_yticklabels()]
    assert rows == ["Choi 2023", "Hinton 2015"]  # 2.1 and, with its teacher, 2.5 times the student's
    for y, method in enumerate(("choi2023", "hinton2015")):
        drawn = {
            axes: {float(line.get_xdata()[0]) for line in axes.lines if list(line.get_ydata()) == [y]}
            for axes in (cost, gain)
        }
        assert drawn[cost] == {points.own[method], *({points.with_teacher[method]} - {points.own[method]})}
        assert drawn[gain] == {points.gain[method]}


def test_each_cohort_has_its_own_marker_in_a_methods_row(results):
    with style.settings():
        figure = intra_vs_cross_dataset.draw(results).figure
    summary = results.table("summary").set_index(["cohort", "method", "modalities", "region"]).dice_mean
    fills = {"full": "phantom-a", "none": "phantom-b"}
    for axes, region in zip(figure.axes, ("WT", "TC", "ET"), strict=True):
        drawn = [line for line in axes.lines if line.get_marker() == style.look("choi2023")[1]]
        values = {fills[line.get_fillstyle()]: line.get_xdata()[0] for line in drawn}
        assert values == {cohort: summary[cohort, "choi2023", "t1ce+flair", region] for cohort in fills.values()}
        ours, other = (next(line for line in drawn if line.get_fillstyle() == fill).get_ydata()[0] for fill in fills)
        assert 0.5 < ours < 1 < other < 1.5, "both in the method's row, the cohort that was trained on above"


def test_many_methods_are_drawn_in_groups(tmp_path):
    names = tuple(style.LOOKS)[2:11]
    found = Results(synthetic.build(tmp_path / "x", methods=("student", *names), seeds=(0,), cases=1, subsets=("t2",)))
    with style.settings():
        drawing = training_curves.draw(found)
    panels = [axes for axes in drawing.figure.axes if axes.lines]
    counts = [len({(line.get_color(), line.get_marker()) for line in axes.lines}) for axes in panels[:4]]
    assert counts == [3, 3, 2, 2] and "the legend's column" in drawing.caption
    (legend,) = drawing.figure.legends
    assert legend._ncols == 4 and legend.get_texts()[0].get_text() == "Student alone"


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=3, max_size=20))
def test_limits_of_agreement(pairs):
    reference, predicted = np.array(pairs).T
    cases = pd.DataFrame({"region": "WT", "volume_ref_ml": reference, "volume_pred_ml": predicted})
    bias, low, high = volume_agreement.limits(volume_agreement.agreement(cases, "WT"))
    difference = predicted - reference
    np.testing.assert_allclose(bias, difference.mean(), atol=1e-9)
    np.testing.assert_allclose([low, high], bias + np.array([-1.96, 1.96]) * np.std(difference, ddof=1), atol=1e-9)


def test_volumes_empty_in_both_are_left_out():
    cases = pd.DataFrame({"region": ["ET"] * 3, "volume_ref_ml": [0, 0, 2.0], "volume_pred_ml": [0, 1.0, 2.0]})
    assert volume_agreement.agreement(cases, "ET").difference.tolist() == [1.0, 0.0]


def test_diagonal_and_the_rest():
    matrix = np.array([[1.0, -0.5], [0.5, 0.8]])
    assert cross_correlation.diagonal(matrix) == (pytest.approx(0.9), pytest.approx(0.5))
    assert cross_correlation.diagonal(np.ones((1, 1))) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "terms"),
    {
        "student": ["seg_student", "loss_seg_student", "seg_student[t1ce+flair]"],
        "teacher": ["seg_teacher"],
        "distillation": ["barlow_twins@bottleneck", "distill_0_mse@penultimate"],
        "gradient": ["gradient_ratio:barlow_twins@bottleneck"],
        "validation": ["val_dice_WT"],
        None: ["val_loss", "lr", "loss"],
    }.items(),
)
def test_terms_find_their_panel(kind, terms):
    assert {training_curves.kind_of(term, {term, "seg_student"}) for term in terms} == {kind}
    assert training_curves.kind_of("loss", {"loss", "lr"}) == "student", "a lone loss is the segmentation loss"


def test_distillation_terms_start_at_one(results):
    lines = training_curves.collect_lines(results.data("curves").query("modalities == 't2'"))
    distillation = [line for line in lines if line["kind"] == "distillation"]
    assert {line["method"] for line in distillation} == {"choi2023", "hinton2015"}
    for line in distillation:
        assert (line["table"].iloc[0] == 1).all() and line["table"].shape[1] == 2


def test_methods_and_subsets_are_called_and_ordered():
    labels = {"student": "Student alone", "teacher": "Teacher", "choi2023": "Choi 2023", "my-own": "My-own"}
    labels |= {"choi2023_two_stage": "Choi 2023, two stage", "modality_dropout": "Modality dropout"}
    assert {method: method_label(method) for method in labels} == labels
    assert modalities_label("t1ce+flair") == "T1ce + FLAIR"
    assert modalities_label(synthetic.ALL) == "all four sequences"
    assert sorted(reversed(all_subsets()), key=subset_order) == all_subsets()


def test_numbers_and_lists_in_words():
    assert [number(v, sign=True) for v in (0.0314, -0.0314, 0.0001, -0.0001)] == ["+0.031", "−0.031", "0.000", "0.000"]
    assert [number(v) for v in (0.8526, float("nan"))] == ["0.853", "–"]
    assert estimate(0.8526, 0.8124, 0.8886) == "0.853 (0.812 to 0.889)"
    assert estimate(0.02, -0.01, 0.05, 2, sign=True) == "+0.02 (−0.01 to +0.05)"
    assert estimate(0.5, float("nan"), float("nan")) == "0.500" and interval(float("nan"), 1) == ""
    assert [p_value(p) for p in (0.0002, 0.0234, float("nan"))] == ["<0.001", "0.023", "–"]
    assert [percent(share) for share in (0.126, -0.31)] == ["13%", "−31%"]
    assert [enumerate_words(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]

"""`crossmodal power`: from per_case.csv, or from what was measured on phantoms, to the patients that a gain takes."""

import sys

import numpy as np
import pandas as pd
import pytest
from per_case_maker import ALL, rows, stack
from typer.testing import CliRunner

from crossmodal.cli import app, main
from crossmodal.data import DICE_SPREAD
from crossmodal.domain import REGIONS
from crossmodal.errors import UserError
from crossmodal.evaluate import render
from crossmodal.evaluate.power import Spread
from crossmodal.evaluate.study_size import GAINS, POWER, SEEDS, default_spread, measured_spread, printed, study_sizes
from tests.conftest import REPOSITORY

REFERENCE = REPOSITORY / "results" / "reference"


def experiment(folder, methods=("student", "choi2023"), seeds=range(4), patients=30, fold=lambda seed: 0, **more):
    """per_case.csv of methods whose trainings differ with an SD of 0.02, the patients' gains with 0.04."""
    draw = np.random.default_rng(0)
    tables = []
    for region in REGIONS:
        case = draw.normal(0.7, 0.1, patients)
        for method in methods:
            of_method = draw.normal(0, 0.04 / 2**0.5, patients)
            for seed in seeds:
                dice = case + of_method + draw.normal(0, 0.02) + draw.normal(0, 0.03, patients)
                tables.append(rows(dice, method=method, seed=seed, region=region, fold=fold(seed), **more))
    folder.mkdir(exist_ok=True)
    stack(*tables).to_csv(folder / "per_case.csv", index=False)
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, ["power", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_spread_of_an_experiment_is_found(tmp_path):
    found = measured_spread(experiment(tmp_path, seeds=range(30), patients=80))
    assert list(found["region"]) == list(REGIONS)
    assert set(found["compared"]) == {"choi2023 against student with t1"}
    assert set(found["patients"]) == {80} and set(found["trainings"]) == {30} and set(found["df"]) == {58}
    assert found["sd_trainings"].to_numpy() == pytest.approx(0.02, rel=0.3)
    assert (found["sd_trainings_low"] < 0.02).all() and (found["sd_trainings_high"] > 0.02).all()
    assert found["sd_patients"].to_numpy() == pytest.approx(0.04, rel=0.3)
    assert found["sd_residual"].to_numpy() == pytest.approx(0.03, rel=0.05)
    assert set(found["budget"]) == {"not recorded"} and set(found["data"]) == {"not recorded"}


def test_the_interval_of_the_sd_between_trainings_holds_it(tmp_path):
    draw, held = np.random.default_rng(2), []
    for _ in range(20):
        tables = [
            rows(0.7 + draw.normal(0, 0.02) + draw.normal(0, 0.03, 15), method=method, seed=seed, region=region)
            for region in REGIONS
            for method in ("student", "choi2023")
            for seed in range(3)
        ]
        stack(*tables).to_csv(tmp_path / "per_case.csv", index=False)
        found = measured_spread(tmp_path)
        held += list((found["sd_trainings_low"] <= 0.02) & (found["sd_trainings_high"] >= 0.02))
    assert np.mean(held) > 0.85


def test_methods_are_pooled_or_chosen(tmp_path):
    experiment(tmp_path, ["student", "choi2023", "dong2025"])
    pooled, one, other = (measured_spread(tmp_path, method=name) for name in (None, "choi2023", "dong2025"))
    assert set(pooled["compared"]) == {"choi2023, dong2025 against student with t1"}
    assert set(pooled["df"]) == {9} and set(one["df"]) == {6}  # the student's trainings count once
    mean = (one["sd_residual"] ** 2 + other["sd_residual"] ** 2) / 2
    assert pooled["sd_residual"].to_numpy() ** 2 == pytest.approx(mean.to_numpy())
    turned = measured_spread(tmp_path, method="student", baseline="choi2023")
    assert turned["sd_patients"].to_numpy() == pytest.approx(one["sd_patients"].to_numpy())


def test_a_method_that_sees_all_four_is_compared_on_each_subset(tmp_path):
    draw = np.random.default_rng(3)
    tables = [
        rows(draw.normal(0.7, 0.1, 8), method=method, modalities=subset, seed=seed)
        for method, subset in (("student", "t1"), ("student", "t2"), ("teacher", ALL))
        for seed in (0, 1)
    ]
    stack(*tables).to_csv(tmp_path / "per_case.csv", index=False)
    assert set(measured_spread(tmp_path, method="teacher")["compared"]) == {"teacher against student with t1, t2"}
    assert set(measured_spread(tmp_path, method="teacher", modalities="t2")["df"]) == {2}
    with pytest.raises(UserError, match="'student' and a compared method are not both scored"):
        measured_spread(tmp_path)  # the teacher is a bound


WRONG = {
    "one training": (dict(seeds=[0]), {}, "cannot be known from one training.*train more seeds.*give no folder"),
    "one patient": (dict(patients=1), {}, "nor that between patients from one patient: it takes two or more"),
    "an unknown method": ({}, dict(method="choi"), "method 'choi' is not scored here: did you mean 'choi2023'"),
    "an unknown baseline": ({}, dict(baseline="x"), "method 'x' is not scored here: known: choi2023, student"),
    "a subset that was not run": ({}, dict(modalities="t2"), "a compared method are not both scored with t2"),
    "an unknown cohort": ({}, dict(cohort="sight"), "no cohort 'sight': did you mean 'site'"),
    "no student": (dict(methods=["choi2023"]), {}, "method 'student' is not scored here"),
}


@pytest.mark.parametrize(("made", "asked", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_planned_from_is_refused(tmp_path, made, asked, message):
    with pytest.raises(UserError, match=message):
        measured_spread(experiment(tmp_path, **made), **asked)


def test_folds_that_score_patients_of_their_own_are_refused(tmp_path):
    draw, tables = np.random.default_rng(0), []
    for method in ("student", "choi2023"):
        for fold in range(5):
            table = rows(draw.normal(0.7, 0.1, 6), method=method, fold=fold, split="train")
            tables.append(table.assign(case=f"fold{fold}-" + table["case"], patient=f"fold{fold}-" + table["patient"]))
    stack(*tables).to_csv(tmp_path / "per_case.csv", index=False)
    with pytest.raises(UserError, match=r"each fold scores patients of its own.*held-out test set"):
        measured_spread(tmp_path)


def test_more_seeds_and_a_larger_gain_take_fewer_patients():
    sizes = study_sizes(default_spread(), GAINS, SEEDS, POWER)
    assert len(sizes) == len(REGIONS) * len(GAINS) * len(SEEDS)
    none = sizes.assign(patients=sizes["patients"].fillna(np.inf))
    for by, moving in ((["region", "gain"], "seeds"), (["region", "seeds"], "gain")):
        for _, group in none.groupby(by):
            assert group.sort_values(moving)["patients"].is_monotonic_decreasing


def test_the_power_of_so_many_patients():
    found = default_spread()
    sizes = study_sizes(found, [0.05], [3], POWER, patients=25)
    first = found.iloc[0]
    one = Spread(first["sd_trainings"], first["sd_patients"], first["sd_residual"])
    assert sizes["power"].iloc[0] == one.power(0.05, 3, 25)
    assert printed(found, sizes, 25)[0].rows[0][2].endswith("%")


def test_the_defaults_are_what_the_script_measures_in_the_reference():
    cohorts = pd.read_csv(DICE_SPREAD)["cohort"].unique()
    measured = pd.concat([measured_spread(REFERENCE, cohort) for cohort in cohorts], ignore_index=True)
    pd.testing.assert_frame_equal(pd.read_csv(DICE_SPREAD), measured, rtol=1e-3, atol=1e-4, check_dtype=False)
    assert set(measured["data"]) == {"phantoms"}


def test_the_page_shows_what_the_command_prints():
    page = (REPOSITORY / "docs" / "study.md").read_text()
    shown = page.partition("<!-- power:start -->\n")[2].partition("\n<!-- power:end -->")[0]
    found = default_spread()
    assert shown == render.markdown(printed(found, study_sizes(found, GAINS, SEEDS, POWER))).rstrip()


def test_the_command_prints_and_writes(tmp_path):
    out = tmp_path / "sizes.csv"
    text = run("--gain", 0.02, "--seeds", 10, "--out", out)
    assert "Patients needed to find a gain in Dice with a power of 80%" in text and "phantoms" in text
    assert "20 seeds" not in text
    table = pd.read_csv(out)
    assert list(table.columns) == ["cohort", "region", "sd_trainings", "gain", "seeds", "patients", "power"]
    assert len(table) == 3
    run("--gain", 0.02, "--seeds", 10, "--out", out, "--sd-trainings", 0.002)
    surer = pd.read_csv(out)
    assert (surer["sd_trainings"] == 0.002).all() and (surer["patients"] <= table["patients"]).all()
    own = run(experiment(tmp_path / "own"), "--patients", 40, "--power", 0.9)
    assert "with 40 patients" in own and "choi2023 against student with t1; 4 trainings of each" in own
    assert "cohort site (not recorded)" in own


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: has neither tables/per_case.csv nor per_case.csv"),
        (["--method", "choi2023"], 1, "choose from an experiment: give its folder"),
        (["--seeds", "2"], 2, "Invalid value for '--seeds': Input should be greater than or equal to 3"),
        (["--gain", "0"], 2, "Invalid value for '--gain': Input should be greater than or equal to 0.001"),
        (["--gain", "much"], 2, "Invalid value for '--gain'"),
        (["--power", "1"], 2, "Invalid value for '--power': Input should be less than or equal to 0.99"),
        (["--cohort", "phantom-c"], 1, "has no cohort 'phantom-c': did you mean"),
    ],
)
def test_mistakes_on_the_command_line(monkeypatch, capsys, arguments, code, message):
    monkeypatch.setattr(sys, "argv", ["crossmodal", "power", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == code and message in " ".join(capsys.readouterr().err.split())

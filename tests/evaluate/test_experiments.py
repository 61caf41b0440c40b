"""`crossmodal compare`: what differs between two experiments, and their Dice in the same patients."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from per_case_maker import rows, stack

from crossmodal.cli import main
from crossmodal.evaluate.experiments import ALONE, BOTH, compare_dice, data, environment, read_experiment, settings
from crossmodal.evaluate.trainings import crossed
from tests.conftest import REPOSITORY

REFERENCE = REPOSITORY / "results" / "reference"


def write(folder, table, versions=None, device=None, **config):
    """An experiment's small files: config.yaml, versions.json and tables/."""
    (folder / "tables").mkdir(parents=True)
    given = {"cohort": "site", "methods": ["student"], "seeds": [0, 1, 2], "cohorts": ["site"]} | config
    (folder / "config.yaml").write_text(yaml.safe_dump(given))
    table.to_csv(folder / "tables" / "per_case.csv", index=False)
    if versions:
        (folder / "versions.json").write_text(json.dumps(versions))
    if device:
        pd.DataFrame({"method": ["student"], "device": [device]}).to_csv(folder / "tables" / "cost.csv", index=False)
    return folder


def dice(seeds=range(4), shift=0.0, draw=0, patients=20, **more):
    """Rows of trainings with an SD of 0.01 in patients whose Dice is the same for every `draw`."""
    case = np.random.default_rng(9).normal(0.7, 0.1, patients)
    noise = np.random.default_rng(draw)
    return stack(
        *(
            rows(case + shift + noise.normal(0, 0.01) + noise.normal(0, 0.02, patients), seed=seed, **more)
            for seed in seeds
        )
    )


def compared(folder_a, folder_b):
    return compare_dice(read_experiment(folder_a), read_experiment(folder_b))


def test_the_difference_is_paired_and_over_trainings(tmp_path):
    tables = dice(draw=1), dice(range(5, 10), shift=0.1, draw=2)
    table, notes = compared(write(tmp_path / "a", tables[0]), write(tmp_path / "b", tables[1]))
    (row,) = table.itertuples()
    a, b = (table.pivot(index="case", columns="seed", values="dice").to_numpy() for table in tables)
    low, high = crossed(b, a).interval()
    assert notes == [] and row.interval_over == BOTH and row.note == ""
    assert (row.n, row.n_trainings_a, row.n_trainings_b) == (20, 4, 5)
    assert (row.dice_a, row.dice_b) == pytest.approx((a.mean(), b.mean()))
    assert (row.difference, row.ci_low, row.ci_high) == pytest.approx((b.mean() - a.mean(), low, high))
    assert row.ci_low < 0.1 < row.ci_high
    assert row.sd_trainings_a == pytest.approx(a.mean(axis=0).std(ddof=1))


def test_with_two_trainings_the_interval_holds_for_these_networks(tmp_path):
    tables = dice(draw=1), dice(range(2), shift=0.1, draw=2)
    (row,) = compared(write(tmp_path / "a", tables[0]), write(tmp_path / "b", tables[1]))[0].itertuples()
    assert row.interval_over == ALONE and row.ci_low < row.difference < row.ci_high
    turned = compared(tmp_path / "b", tmp_path / "a")[0].iloc[0]
    assert turned["difference"] == -row.difference and turned["n_trainings_a"] == 2


def test_cases_are_matched_by_name_whatever_their_patients_are_called(tmp_path):
    a = dice(draw=1, visits=2)
    b = dice(draw=1).assign(patient="x" + a["case"]).query("case not in ['case003', 'case007']")
    (row,) = compared(write(tmp_path / "a", a), write(tmp_path / "b", b))[0].itertuples()
    assert row.n == 10 and row.difference == 0  # ten patients of two visits, two of them with one in both
    assert data(*map(read_experiment, (tmp_path / "a", tmp_path / "b")))[-1] == (
        "site: 18 cases of 10 patients scored in both, 2 in A alone, 0 in B alone"
    )


def test_folds_of_a_cross_validation(tmp_path):
    def fold(number, shift, names, draw):
        found = rows(np.random.default_rng(draw).normal(0.7 + shift, 0.02, 4), fold=number, split="train")
        return found.assign(case=[f"c{k}" for k in names], patient=[f"p{k}" for k in names])

    order = np.arange(16).reshape(4, 4)
    same = [stack(*(fold(k, shift, order[k], k) for k in range(4))) for shift in (0, 0.1)]
    other = stack(*(fold(k, 0.1, order[:, k], k) for k in range(4)))
    write(tmp_path / "a", same[0]), write(tmp_path / "b", same[1]), write(tmp_path / "c", other)
    (row,) = compared(tmp_path / "a", tmp_path / "b")[0].itertuples()
    assert (row.n, row.n_trainings_a, row.interval_over) == (16, 4, BOTH)
    assert row.difference == pytest.approx(0.1)
    (row,) = compared(tmp_path / "a", tmp_path / "c")[0].itertuples()
    assert (row.n, row.n_trainings_b, row.interval_over) == (16, 4, ALONE)
    assert "did not score the same patients fold by fold" in row.note


def test_other_references_are_not_paired(tmp_path):
    a, b = dice(), dice()
    b.loc[b["case"] == "case004", "volume_ref_ml"] = 21.0
    table, notes = compared(write(tmp_path / "a", a), write(tmp_path / "b", b))
    assert table.empty
    assert notes == [
        "site: not paired, since the references of 1 of 20 cases differ in volume: these are other segmentations: "
        "case004"
    ]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"cohort": "elsewhere"}, "no cohort of this name is scored in both"),
        ({"case": "other"}, "site: no case is scored in both"),
        ({"method": "choi2023"}, "site: no method is scored in both with the same modalities"),
        ({"modalities": "t2"}, "site: no method is scored in both with the same modalities"),
    ],
)
def test_nothing_in_common_is_a_note(tmp_path, change, note):
    a = dice(seeds=[0], patients=1)
    table, notes = compared(write(tmp_path / "a", a), write(tmp_path / "b", a.assign(**change)))
    assert table.empty and len(notes) == 1 and notes[0].startswith(note)


def test_settings_are_compared_without_words_and_names(tmp_path):
    recipes = [{"student": {"title": title, "source": "x", "seg_weight": w}} for title, w in (("A", 1), ("B", 2))]
    recipes[1]["choi2023"] = {"title": "", "source": ""}
    more = {"experiment": "one", "title": "why", "budget": "demo"}
    write(tmp_path / "a", dice(), recipes=recipes[0], **more)
    write(tmp_path / "b", dice(), recipes=recipes[1], experiment="two", budget="full", methods=["student", "choi2023"])
    a, b = map(read_experiment, (tmp_path / "a", tmp_path / "b"))
    assert settings(a, b) == [
        'methods: ["student"] in A, ["student", "choi2023"] in B',
        'budget: "demo" in A, "full" in B',
        "recipes.student.seg_weight: 1 in A, 2 in B",
    ]
    assert settings(a, a) == ["the same"]


def test_data_are_compared_by_lock_files_and_split(tmp_path):
    names = [f"case{k:03d}" for k in range(20)]
    table = {"cohort": "site", "case": names, "patient": names, "release": "brats2020", "split": "test", "seg": "s"}
    for folder, md5 in (("a", "11.dir"), ("b", "22.dir"), ("c", "22.dir")):
        write(tmp_path / folder, dice(), brats="x", cohort_lock={"md5": md5})
    for folder, hashes, splits in (("a", "0", "test"), ("b", "1", "train")):
        cases = pd.DataFrame(table).assign(sha256="0")
        cases.loc[:6, "sha256"] = hashes
        cases.loc[:0, "split"] = splits
        (tmp_path / folder / "cohort").mkdir()
        cases.to_csv(tmp_path / folder / "cohort" / "cases.csv", index=False)
    a, b, c = (read_experiment(tmp_path / folder) for folder in "abc")
    assert data(a, b)[:3] == [
        "cohort lock, md5: 11.dir in A, 22.dir in B",
        "7 of 20 cases of both have other files: case000, case001, case002, case003, case004, …",
        "1 of 20 cases of both have another part of the split: case000",
    ]
    assert data(b, c)[:2] == [
        "cohort lock, md5: 22.dir in both",
        "files of the cases: not compared, since cohort/cases.csv is not there in B",
    ]


def test_versions_and_devices_are_compared(tmp_path):
    write(tmp_path / "a", dice(), {"torch": "2.1", "numpy": "2.0"}, "cpu, 1 threads")
    write(tmp_path / "b", dice(), {"torch": "2.2", "numpy": "2.0"}, "H100")
    write(tmp_path / "c", dice())
    a, b, c = (read_experiment(tmp_path / folder) for folder in "abc")
    assert environment(a, b) == ['torch: "2.1" in A, "2.2" in B', "device: cpu, 1 threads in A, H100 in B"]
    assert environment(a, a) == ["versions: the same (torch 2.1, numpy 2.0)", "device: cpu, 1 threads in both"]
    assert environment(a, c) == ["versions: not recorded in B", "device: cpu, 1 threads in A, not recorded in B"]


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["crossmodal", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr()


def test_the_reference_against_a_changed_copy(tmp_path, monkeypatch, capsys):
    copy = tmp_path / "copy"
    for name in ("config.yaml", "versions.json", "tables/per_case.csv"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REFERENCE / name, copy / name)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("batch_size: 2", "batch_size: 4"))
    table = pd.read_csv(copy / "tables" / "per_case.csv", dtype={"fold": str, "seed": str})
    here = (table["method"] == "student") & (table["region"] == "TC")
    table.loc[here, "dice"] -= 0.05
    table.to_csv(copy / "tables" / "per_case.csv", index=False)
    code, printed = run(monkeypatch, capsys, REFERENCE, copy, "--out", tmp_path / "out")
    assert code == 0
    assert "- budget_settings.batch_size: 2 in A, 4 in B\n" in printed.out
    assert "phantoms" in printed.out
    found = pd.read_csv(tmp_path / "out" / "compare.csv")
    changed = (found["method"] == "student") & (found["region"] == "TC")
    assert found.loc[changed, "difference"].to_numpy() == pytest.approx(-0.05)
    assert changed.sum() == found["cohort"].nunique() and (found.loc[~changed, "difference"] == 0).all()


BAD = {
    "no folder": (lambda f: shutil.rmtree(f), "config.yaml: not found: give the folder of an experiment"),
    "no config": (lambda f: (f / "config.yaml").unlink(), "config.yaml: not found"),
    "a damaged config": (lambda f: (f / "config.yaml").write_text("seeds: [x]"), "'seeds.0' should be of type integer"),
    "no per_case": (lambda f: (f / "tables/per_case.csv").unlink(), "neither tables/per_case.csv nor per_case.csv"),
    "another table": (
        lambda f: (f / "tables/per_case.csv").write_text("case,dice\n"),
        "is not a table of `crossmodal collect`",
    ),
    "damaged versions": (lambda f: (f / "versions.json").write_text("{"), "versions.json or tables/cost.csv cannot"),
    "a damaged cost table": (
        lambda f: (f / "tables/cost.csv").write_text("a\n1\n"),
        "versions.json or tables/cost.csv",
    ),
    "a damaged cases.csv": (lambda f: (f / "cohort/cases.csv").write_text("a\n1\n"), "lacks the column cohort"),
}


@pytest.mark.parametrize(("damage", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(tmp_path, monkeypatch, capsys, damage, message):
    write(tmp_path / "a", dice(), {"torch": "2"}, "cpu")
    write(tmp_path / "b", dice(), {"torch": "2"}, "cpu")
    (tmp_path / "b" / "cohort").mkdir()
    damage(tmp_path / "b")
    code, printed = run(monkeypatch, capsys, tmp_path / "a", tmp_path / "b")
    assert code == 1 and message in printed.err and str(tmp_path / "b") in printed.err
    assert "Traceback" not in printed.err and printed.out == ""

"""The reporting checklist: every item of CLAIM 2024 and TRIPOD+AI once, filled in from the run, the rest left open."""

import html
import re
import shutil

import pandas as pd
import pytest
import yaml

from crossmodal.evaluate.comparisons import compare
from crossmodal.evaluate.results import Results
from crossmodal.report import write_report
from crossmodal.report.checklist import NO_PATIENTS, UNKNOWN, checklist, markdown, summary
from crossmodal.wording import number

# TRIPOD+AI: items 1 to 27, these in parts.
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The made-up experiment without pictures. Never write into it: `experiment` is a copy."""
    import synthetic

    methods = ("teacher", "student", "choi2023")
    folder = synthetic.build(tmp_path_factory.mktemp("checklist") / "made-up", methods=methods, seeds=(0, 1, 2))
    results = Results(folder)
    compare(results.scores, 9, results.roles).to_csv(folder / "tables" / "comparisons.csv", index=False)
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "figures" / "index.json").write_text("[]")
    return folder


@pytest.fixture
def experiment(built, tmp_path):
    return shutil.copytree(built, tmp_path / "made-up")


def filled(folder):
    """The items of an experiment by their numbers, "CLAIM 20" for one."""
    return {item.numbers: item for section in checklist(Results(folder)).values() for item in section}


def change(folder, **values):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))


def add_cases(folder, **values):
    """A cases.csv of four patients; `values` replaces columns."""
    rows = {"cohort": ["phantom-a"] * 4, "case": list("abcd"), "patient": list("abcd"), "release": ["table"] * 4}
    rows |= {"split": ["train", "train", "train", "test"], "fold": ["0", "1", "2", ""], "seg": ["x.nii"] * 4}
    pd.DataFrame(rows | values).to_csv(folder / "cohort" / "cases.csv", index=False)


def test_every_item_of_both_checklists_stands_once(built):
    items = filled(built).values()
    claim = [number for item in items for number in item.claim.split(", ") if number]
    tripod = [number for item in items for number in item.tripod.split(", ") if number]
    assert sorted(map(int, claim)) == list(range(1, 45))
    assert sorted(tripod) == sorted(f"{n}{part}" for n in range(1, 28) for part in PARTS.get(n, [""]))
    assert all(item.says or item.author for item in items)


def test_what_the_run_knows_is_filled_in(experiment):
    add_cases(experiment)
    items = filled(experiment)
    assert "Phantoms of phantom-a: 3 train, 1 test." in items["CLAIM 19 · TRIPOD+AI 12a"].says
    assert "none of 4 lies in more than one" in items["CLAIM 20"].says
    assert "20 epochs of 50 steps" in items["CLAIM 25 · TRIPOD+AI 12c"].says
    assert "The config asks for 9 trainings." in items["CLAIM 25 · TRIPOD+AI 12c"].says
    assert "torch 2.13.0" in items["CLAIM 23"].says
    assert "over phantoms and trainings" in items["CLAIM 29"].says
    assert items["CLAIM 33 · TRIPOD+AI 16"].says == "12 phantoms of phantom-b."
    per_case = pd.read_csv(experiment / "tables" / "per_case.csv")
    rows = per_case[(per_case.cohort == "phantom-a") & (per_case.method == "choi2023")]
    lowest = rows.groupby("case").dice.mean().sort_values()
    assert f"{number(lowest.iloc[0])} ({lowest.index[0]})" in items["CLAIM 39"].says


def test_a_patient_on_both_sides_is_counted(experiment):
    add_cases(experiment, patient=list("abca"))
    assert "1 of 3 lies in more than one" in filled(experiment)["CLAIM 20"].says


def test_few_trainings_and_cases_that_were_left_out_are_said(experiment):
    change(experiment, seeds=[0], on_problem="skip")
    problems = "case,file,severity,problem,remedy\nBraTS20_Training_099,x.nii,error,truncated,copy it again\n"
    (experiment / "cohort" / "problems.csv").write_text(problems)
    items = filled(experiment)
    assert "no gain is claimed" in items["CLAIM 29"].says
    assert "1 case left out for errors." in items["CLAIM 35 · TRIPOD+AI 20a"].says
    assert "1 error, 0 warnings" in items["CLAIM 9 · TRIPOD+AI 7, 12b"].says


def test_patients_are_the_authors_to_describe_and_a_phantom_has_none(experiment):
    acquired = "CLAIM 13 · TRIPOD+AI 9b, 9c"
    assert filled(experiment)[acquired].says == NO_PATIENTS and not filled(experiment)[acquired].author
    assert markdown(Results(experiment)).count("Phantom run") == 1
    change(experiment, brats="/data/BraTS2021")
    assert "scanners" in filled(experiment)[acquired].author and not filled(experiment)[acquired].says
    assert "hospital" in filled(experiment)["CLAIM 33 · TRIPOD+AI 16"].author
    text = markdown(Results(experiment))
    assert "Phantom run" not in text and NO_PATIENTS not in text and "do not apply" not in text


def test_markdown_has_a_row_for_each_item_and_no_cell_breaks_it(experiment):
    change(experiment, title="T1 | T2?")
    lines = markdown(Results(experiment)).splitlines()
    rows = [line for line in lines if line.startswith("| ") and "What is asked" not in line and ":--" not in line]
    assert len(rows) == len(filled(experiment))
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_the_page_holds_it_closed(experiment):
    page = write_report(experiment, experiment / "report.html").read_text(encoding="utf-8")
    part = page.split('<section id="checklist">')[1].split("</section>")[0]
    items = checklist(Results(experiment))
    assert "<details>" in part and f"<summary>{summary(items)}</summary>" in part
    for item in filled(experiment).values():
        assert html.escape(item.asks, quote=False) in part and item.numbers in part
    assert part.count("The author must say:") == sum(bool(item.author) for item in filled(experiment).values())


@pytest.mark.parametrize("missing", ["summary", "per_case"])
def test_missing_tables_are_said_and_not_guessed(experiment, missing):
    (experiment / "tables" / f"{missing}.csv").unlink()
    items = filled(experiment)
    assert items["CLAIM 32"].says == UNKNOWN and items["CLAIM 39"].says == UNKNOWN

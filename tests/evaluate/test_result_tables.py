import re

import numpy as np
import pandas as pd
import pytest
from per_case_maker import ALL, rows, stack

from crossmodal.domain import all_subsets
from crossmodal.errors import UserError
from crossmodal.evaluate.pages import write_tables
from crossmodal.evaluate.per_case import OPTIONAL
from crossmodal.files import write_yaml
from crossmodal.wording import number

pytestmark = pytest.mark.filterwarnings("error")
CONTRACT = {
    "summary": "cohort,method,modalities,region,n,dice_mean,dice_ci_low,dice_ci_high,dice_present_mean,"
    "hd95_mean_mm,hd95_median_mm,lesion_dice_mean",
    "comparisons": "cohort,modalities,region,method,baseline,n,dice_gain,ci_low,ci_high,p_wilcoxon,p_holm,"
    "gap_recovered",
}


def experiment(methods=("choi2023", "choi2023_two_stage"), subsets=("t1", "t1ce+flair"), patients=12, seeds=(0,)):
    """A cohort with teacher, student and methods, each method a known step better."""
    draw = np.random.default_rng(0)
    tables = []
    for region in ("WT", "TC", "ET"):
        case = draw.normal(0.7, 0.05, patients)
        for seed in seeds:
            for step, method in enumerate(("student", *methods)):
                for subset in subsets:
                    dice = case + 0.03 * step + draw.normal(0, 0.01, patients)
                    tables.append(rows(dice, method=method, modalities=subset, seed=seed, region=region))
            tables.append(rows(case + 0.2, method="teacher", modalities=ALL, seed=seed, region=region))
    return stack(*tables)


def make(folder, table, **options):
    (folder / "tables").mkdir(exist_ok=True)
    table.to_csv(folder / "tables" / "per_case.csv", index=False)
    notes = write_tables(folder, resamples=199, **options)
    return {path.name: path.read_text() for path in (folder / "tables").iterdir()}, notes


def read(folder, name):
    return pd.read_csv(folder / "tables" / f"{name}.csv")


def test_summary_and_comparisons(tmp_path):
    methods = ["choi2023_two_stage", "choi2023"]  # tables keep the order of the config
    files, notes = make(tmp_path, experiment(methods))
    assert {f"{name}.{ending}" for name in CONTRACT for ending in ("csv", "md", "tex")} < set(files)
    assert "subsets.md" not in files and notes == [] and files["notes.md"] == "No notes.\n"
    assert all(files[f"{name}.csv"].startswith(columns) for name, columns in CONTRACT.items())
    summary, comparisons = read(tmp_path, "summary"), read(tmp_path, "comparisons")
    assert len(summary) == 3 * (2 * 3 + 1)
    assert list(summary["method"].unique()) == ["student", *methods, "teacher"]
    assert list(comparisons["method"].unique()) == methods
    assert list(comparisons["region"].unique()) == ["WT", "TC", "ET"]
    # Each of two methods against the student and single stage against two stages, at two subsets.
    assert len(comparisons) == 3 * 2 * 3 and (comparisons["family_size"] == 6).all()
    stages = comparisons[comparisons["baseline"] == "choi2023_two_stage"]
    assert set(stages["method"]) == {"choi2023"} and stages["gap_recovered"].isna().all()
    against = comparisons[comparisons["baseline"] == "student"].groupby("method")
    assert against["dice_gain"].mean().round(2).to_dict() == {"choi2023": 0.06, "choi2023_two_stage": 0.03}
    assert against["gap_recovered"].mean().round(1).to_dict() == {"choi2023": 0.3, "choi2023_two_stage": 0.2}
    assert (comparisons["ci_low"] < comparisons["dice_gain"]).all()
    assert (comparisons["p_holm"] >= comparisons["p_wilcoxon"]).all()


def test_a_network_for_any_subset_is_compared_where_the_student_is(tmp_path):
    students, more = experiment(methods=("any",)), experiment(methods=("any",), subsets=all_subsets())
    table = stack(students[students["method"] != "any"], more[more["method"] == "any"])
    recipe = {"title": "Any", "source": "ours", "modalities": "any"}
    write_yaml(tmp_path / "config.yaml", {"recipes": {"any": recipe}, "subsets": ["t1", "t1ce+flair"]})
    notes = make(tmp_path, table)[1]
    comparisons, summary = read(tmp_path, "comparisons"), read(tmp_path, "summary")
    assert set(comparisons["modalities"]) == {"t1", "t1ce+flair"} and (comparisons["n"] == 12).all()
    assert summary[summary["method"] == "any"]["modalities"].nunique() == 15
    assert not any("any" in note for note in notes), notes


def test_same_bytes_twice_and_from_the_tables_folder(tmp_path):
    first, _ = make(tmp_path, experiment())
    second, _ = make(tmp_path, experiment())
    write_tables(tmp_path / "tables", tmp_path / "elsewhere", resamples=199)
    assert first == second
    for path in (tmp_path / "elsewhere").iterdir():
        assert path.read_text() == first[path.name]


def test_a_row_does_not_depend_on_other_methods(tmp_path):
    make(tmp_path, experiment())
    many = read(tmp_path, "summary").set_index("method").loc["choi2023"]
    table = experiment()
    make(tmp_path, table[table["method"] == "choi2023"])
    assert read(tmp_path, "summary").set_index("method").equals(many)


def test_fifteen_subsets(tmp_path):
    table = experiment(methods=("choi2023",), subsets=all_subsets(), patients=4)
    big = table[table["method"] == "teacher"].assign(method="big_teacher")
    recipe = {"title": "Big teacher", "source": "ours", "modalities": "all"}
    write_yaml(tmp_path / "config.yaml", {"recipes": {"big_teacher": recipe}})
    files, _ = make(tmp_path, stack(table, big))
    lines = files["subsets.md"].splitlines()
    assert sum(line.startswith(("| ●", "| ○")) for line in lines) == 3 * 15
    student = table[(table["method"] == "student") & (table["region"] == "WT")]
    first, mean = (next(line for line in lines if line.startswith(start)) for start in ("| ● | ○ | ○ | ○ |", "| Mean"))
    assert f"{student.loc[student['modalities'] == 't1', 'dice'].mean():.3f}" == first.split("|")[5].strip()
    assert f"{student.groupby('modalities')['dice'].mean().mean():.3f}" == mean.split("|")[5].strip()
    teacher = table[(table["method"] == "teacher") & (table["region"] == "WT")]
    notes = [f"- {method} with all four: {teacher['dice'].mean():.3f}" for method in ("big_teacher", "teacher")]
    assert "\n".join(notes) in files["subsets.md"]
    against = read(tmp_path, "comparisons").groupby("method")["modalities"].nunique()
    assert against.to_dict() == {"choi2023": 15, "big_teacher": 15}
    # One subset short there is no such table, and the old one goes.
    files, _ = make(tmp_path, table[table["modalities"] != "t1+t2"])
    assert "subsets.md" not in files and "subsets.tex" not in files


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    table = experiment(methods=("choi2023", "a_b&c%"), subsets=all_subsets(), patients=4, seeds=range(3))
    gone = (table["region"] == "ET") & (table["case"] == "case001")
    table.loc[gone, ["dice_present", "volume_ref_ml"]] = [np.nan, 0]
    return make(tmp_path_factory.mktemp("printed"), table)[0]


@pytest.mark.parametrize("name", ["summary", "comparisons", "subsets"])
def test_print_has_all_rows_captions_and_empties(printed, name):
    pages, tex = printed[f"{name}.md"], printed[f"{name}.tex"]
    tables = pages.count("\n## ") + 1
    assert pages.count("without the region in the reference:") == tables == tex.count("without the region")
    assert "ET 1 of 4" in pages and "ET 1 of 4" in tex
    bodies = tex.split(r"\begin{longtable}{")[1:]
    assert len(bodies) == tables == tex.count(r"\end{longtable}")
    for body in bodies:
        columns = len(body[: body.index("}")])
        cells = [line for line in body.splitlines() if line.endswith(r"\\") and not line.startswith(r"\caption")]
        assert {line.replace(r"\&", "").count("&") + 1 for line in cells} == {columns}
    assert r"a\_b\&c\%" in tex and "a_b&c%" in pages
    assert "%" not in pages.replace("a_b&c%", "").replace("95% interval", "") or name == "comparisons"
    if name == "comparisons":
        gain, share = r"\+0\.0\d\d \([+−]0\.0\d\d to \+0\.0\d\d\)", r"\d+% \(−?\d+% to \d+%\)"
        assert re.search(rf"\| 3 / 3 \| {gain} \| .* \| {share} \|", pages)
        assert f"WT {2 * 15}, TC {2 * 15}, ET {2 * 15}" in pages  # the size of each family


def test_region_that_no_reference_has(tmp_path):
    table = experiment()
    table.loc[table["region"] == "ET", ["dice_present", "volume_ref_ml"]] = [np.nan, 0]
    _, notes = make(tmp_path, table)
    et = read(tmp_path, "summary").set_index("region").loc["ET"]
    assert et["dice_present_mean"].isna().all() and (et["n_ref_empty"] == 12).all()
    assert any("no patient has ET in the reference" in note for note in notes)


def test_one_method_one_case(tmp_path):
    files, notes = make(tmp_path, rows([0.7]))
    summary = read(tmp_path, "summary")
    assert summary.loc[0, "dice_mean"] == 0.7 and summary["dice_ci_low"].isna().all()
    assert read(tmp_path, "comparisons").empty and "comparisons.md" not in files
    assert notes == ["site, summary: no interval from one patient (all rows)"]
    assert "0.700" in files["summary.md"] and "nan" not in files["summary.md"].lower()


@pytest.mark.parametrize(
    ("left_out", "note"),
    [("student", "no pair of patients"), ("teacher", "no patient has teacher, student and method")],
)
def test_without_student_or_teacher(tmp_path, left_out, note):
    table = experiment(methods=("choi2023",))
    _, notes = make(tmp_path, table[table["method"] != left_out])
    row = read(tmp_path, "comparisons").iloc[0]
    assert np.isnan(row["gap_recovered"]) and note in row["note"]
    assert (row["n"] == 0) == (left_out == "student")
    assert any(note in line for line in notes)


def test_missing_seed_is_noted_and_the_rest_is_said(tmp_path):
    table = experiment(seeds=(0, 1))
    table = table[(table["method"] != "choi2023") | (table["seed"] == "0")]
    files, notes = make(tmp_path, table)
    assert any("1 of 2 runs" in note and "choi2023" in note for note in notes)
    assert "1 of 2 runs" in files["summary.md"] and "trainings against 2" in files["comparisons.md"]


def test_held_out_cases_alone_count_where_there_are_some(tmp_path):
    validation = experiment().assign(split="train", dice=0.0)
    validation["case"] = "validation-" + validation["case"]
    validation["patient"] = "validation-" + validation["patient"]
    alone, _ = make(tmp_path, experiment())
    both, notes = make(tmp_path, stack(validation, experiment()))
    assert both["summary.csv"] == alone["summary.csv"]
    assert notes == ["site: 12 validation cases left out: the cohort has a held-out test set"]


def test_notes_of_collect_are_passed_on(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "notes.csv").write_text(
        "cohort,method,modalities,seed,fold,note\nsite,student,t1,1,0,missing: not scored\n"
    )
    files, _ = make(tmp_path, experiment())
    assert "site student t1 seed 1 fold 0: missing: not scored" in files["notes.md"]


def test_a_minimal_per_case_of_the_contract_is_enough(tmp_path):
    table = experiment().drop(columns=["patient", "split", *OPTIONAL])
    files, _ = make(tmp_path, table)
    summary = read(tmp_path, "summary")
    assert (summary["n"] == 12).all() and summary["nsd_1mm_mean"].isna().all()
    header, _, row, *_ = [line for line in files["summary.md"].split("other metrics")[1].splitlines() if "|" in line]
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert (cells["WT NSD 1 mm"], cells["WT lesion Dice"]) == ("–", number(summary["lesion_dice_mean"][0]))


def test_nsd_is_averaged_and_shown(tmp_path):
    files, _ = make(tmp_path, experiment().assign(nsd_1mm=0.625))
    assert (read(tmp_path, "summary")["nsd_1mm_mean"] == 0.625).all()
    assert "WT NSD 1 mm" in files["summary.md"] and " 0.625 " in files["summary.md"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.drop(columns="dice"), "lacks the column dice"),
        (lambda table: table[:0], "has no row"),
        (lambda table: stack(table, table[:1]), "a measurement twice"),
        (lambda table: table.assign(dice=np.nan), "a row without Dice"),
        (lambda table: table.assign(dice="good"), "could not convert"),
        (lambda table: table.replace("ET", "NCR"), "the region 'NCR'"),
        (lambda table: table.replace("t1", "flair+t1"), r"the modalities 'flair\+t1'"),
    ],
)
def test_damaged_per_case_is_named(tmp_path, spoil, message):
    with pytest.raises(UserError, match=message) as error:
        make(tmp_path, spoil(experiment()))
    assert "per_case.csv" in str(error.value)


def test_no_per_case(tmp_path):
    with pytest.raises(UserError, match="crossmodal collect"):
        write_tables(tmp_path)

"""What report.html says, and what it must not."""

import html
import json
import re

import pandas as pd
import pytest
import yaml

from crossmodal.errors import UserError
from crossmodal.report import PICTURES_BYTES, fit, write_report
from crossmodal.report.tables import metrics_table
from crossmodal.wording import MISSING, estimate, interval, number


def words_of(page):
    """The text of a page without scripts, styles and tags."""
    text = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", " ", page)
    return re.sub(r"\s+", " ", html.unescape(text))


def page_of(folder):
    return write_report(folder, folder / "report.html").read_text(encoding="utf-8")


def change(folder, **values):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))


def compared(folder, **values):
    """comparisons.csv with other values in every row; returns choi2023's rows in the training cohort, by region."""
    path = folder / "tables" / "comparisons.csv"
    table = pd.read_csv(path).assign(**values)
    table.to_csv(path, index=False)
    return table[(table.method == "choi2023") & (table.cohort == "phantom-a")].set_index("region")


def test_the_answer_is_that_of_the_table(experiment):
    table = compared(experiment, finding="gain", p_trainings_holm=0.012)
    words = words_of(page_of(experiment))
    for row in table.itertuples():
        gain = f"{number(row.dice_gain, sign=True)} {interval(row.trainings_ci_low, row.trainings_ci_high, sign=True)}"
        assert f"{row.Index} {gain} p = 0.012 (Holm)" in words
    assert "On the phantom: yes, for WT, TC and ET." in words
    assert "3 trainings of each. 95% intervals are over phantoms and trainings." in words
    sd = table[["sd_trainings", "sd_trainings_baseline"]].max(axis=1)
    assert f"SD between trainings of one method: WT {number(sd['WT'])}, TC" in words


@pytest.mark.parametrize(
    ("trainings", "verdict"),
    [
        (1, "one training of each: another training could turn this around."),
        (2, "two trainings of each: another training could turn this around."),
    ],
)
def test_few_trainings_claim_nothing(experiment, trainings, verdict):
    given = {"n_trainings": trainings, "n_trainings_baseline": trainings, "finding": "too few trainings"}
    given |= {"sd_trainings": None, "sd_trainings_baseline": None} if trainings == 1 else {}
    row = compared(experiment, **given, trainings_ci_low=None, p_trainings_holm=None).loc["WT"]
    words = words_of(page_of(experiment))
    assert f"On the phantom, {verdict}" in words and "yes, for" not in words.lower()
    assert f"these networks alone: {interval(row.ci_low, row.ci_high, sign=True)}" in words
    assert ("one method, measured with the budget demo (1000 steps): WT 0.008, TC" in words) == (trainings == 1)
    assert "of the gap to the teacher" not in words and "95% intervals are over phantoms" not in words


def test_nsd_is_shown_and_a_dash_where_an_earlier_version_scored(experiment):
    summary = pd.read_csv(experiment / "tables" / "summary.csv")
    for table, text in (
        (summary.assign(nsd_1mm_mean=0.4321), "0.432"),
        (summary.drop(columns="nsd_1mm_mean", errors="ignore"), MISSING),
    ):
        shown = metrics_table(table)
        places = [shown["headings"].index(f"{region} NSD 1 mm") for region in ("WT", "TC", "ET")]
        assert {row[place]["text"] for row in shown["rows"] for place in places} == {text}


def test_a_second_upper_bound_is_in_every_table(experiment):
    """A method of one's own with `modalities: all`, whose results lie under all four sequences."""
    page = page_of(experiment)
    summary = pd.read_csv(experiment / "tables" / "summary.csv").set_index(["cohort", "method", "region"])
    row = summary.loc[("phantom-a", "big_teacher", "WT")]
    for name in ("dice", "gain", "metrics", "cost", "resources"):
        table = page.split(f'<table id="table-{name}">')[1].split("</table>")[0]
        assert ">Big teacher</td>" in table, name
    assert estimate(row.dice_mean, row.trainings_ci_low, row.trainings_ci_high) in page
    assert "between the same patients (Big teacher: all four sequences)." in page
    assert "1 more method: see the tables." in page, "an upper bound is no compared method"


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        (("loss", "loss", "loss"), ", no: it lowers Dice for WT, TC and ET."),
        (("gain", "not shown", "equivalent"), ": yes, for WT; not shown for TC and ET."),
        (("gain", "loss", "not shown"), ": it raises Dice for WT and lowers it for TC."),
        (("equivalent",) * 3, ", it makes no difference: within ±0.01 Dice for WT, TC and ET."),
        (("not shown", "equivalent", "not shown"), ", a gain is not shown: at most +0.025 for WT, +0.025 for TC and"),
    ],
)
def test_the_verdict_claims_what_the_findings_allow(experiment, findings, verdict):
    regions = pd.read_csv(experiment / "tables" / "comparisons.csv").region
    compared(
        experiment, finding=regions.map(dict(zip(("WT", "TC", "ET"), findings, strict=True))), trainings_ci_high=0.025
    )
    assert f"On the phantom{verdict}" in words_of(page_of(experiment))


def test_tables_of_an_earlier_version_are_named(experiment):
    path = experiment / "tables" / "comparisons.csv"
    pd.read_csv(path).drop(columns="finding").to_csv(path, index=False)
    assert "is of an earlier version: run `crossmodal tables` again" in words_of(page_of(experiment))


def test_what_made_it_is_named(experiment):
    words = words_of(page_of(experiment))
    for fact in (
        *("phantom-a (embedded phantom, simulated)", "12 cases of phantom-a and 12 cases of phantom-b"),
        *("demo: 20 epochs of 50 steps", "4 stages of 8 to 64 features", "3 seeds (0, 1, 2)", "torch 2.13.0"),
    ):
        assert fact in words


def test_a_phantom_run_says_so_and_a_clinical_one_does_not(experiment):
    assert "Phantom run." in words_of(page_of(experiment))
    change(experiment, brats="/data/BraTS2021")
    words = words_of(page_of(experiment))
    assert "Phantom run." not in words and "On the phantom" not in words
    assert "/data/BraTS2021" in words and "doi:10.1109/TMI.2014.2377694" in words


def test_the_config_may_ask_its_own_question(experiment):
    change(experiment, title="Is <T1> enough?")
    assert "<h1>Is &lt;T1&gt; enough?</h1>" in page_of(experiment)


def test_the_page_needs_nothing_else(experiment):
    page = page_of(experiment)
    assert re.findall(r'(?:src|href)="(?!#|data:).{,80}', page) == []
    assert not re.search(r"url\((?!['\"]?data:)|@import", page)
    assert len(page.encode()) < 6_000_000


def test_every_figure_has_a_picture_with_words_or_a_note(experiment):
    page = page_of(experiment)
    index = json.loads((experiment / "figures" / "index.json").read_text())
    images = re.findall(r'<img [^>]*width="(\d+)"[^>]*alt="([^"]*)">', page)
    assert [html.unescape(alt) for _, alt in images] == [e["alt"] for e in index if not e["note"]]
    assert all(len(alt) > 20 and int(width) > 500 for width, alt in images)
    for entry in index:
        assert html.escape(entry["note"] or entry["caption"], quote=False).split("'")[0] in page


def test_the_same_inputs_give_the_same_bytes(experiment, tmp_path):
    assert page_of(experiment).encode() == write_report(experiment, tmp_path / "again.html").read_bytes()


def test_notes_of_the_tables_are_shown_and_escaped(experiment):
    (experiment / "tables" / "notes.md").write_text("- ET: one seed is missing\n- <script>alert(1)</script>\n")
    page = page_of(experiment)
    assert "<li>ET: one seed is missing</li>" in page
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_failures_are_said_at_the_top(experiment):
    config = yaml.safe_load((experiment / "config.yaml").read_text())
    change(experiment, methods=[*config["methods"], "romero2015"])
    (experiment / "cohort" / "problems.csv").write_text(
        "case,file,severity,problem,remedy\nBraTS20_Training_099,x.nii,error,truncated,copy it again\n"
    )
    words = words_of(page_of(experiment))
    assert words.index("No scores for Romero 2015") < words.index("Tables Figures")
    assert "BraTS20_Training_099" in words


def test_methods_text_follows_the_recipes(experiment):
    words = words_of(page_of(experiment))
    assert "the Barlow Twins loss at the bottleneck (weight 1.0)" in words
    assert "A teacher trained beforehand (Teacher) and frozen, given all four sequences; soft targets" in words
    assert "Our choice: w = 1, loss divided by D." in words
    assert "25% held out for testing" in words


@pytest.mark.parametrize("name", ["summary", "comparisons", "cost", "resources", "per_case"])
def test_a_missing_table_is_no_crash(experiment, name):
    (experiment / "tables" / f"{name}.csv").unlink()
    assert "How to cite" in page_of(experiment)


def test_no_table_at_all(experiment):
    for path in (experiment / "tables").iterdir():
        path.unlink()
    words = words_of(page_of(experiment))
    assert "Nothing is scored yet" in words and "No comparison with the student alone." in words


def test_missing_figures_are_a_message(experiment):
    (experiment / "figures" / "index.json").unlink()
    with pytest.raises(UserError, match="run `crossmodal figures"):
        page_of(experiment)


def test_pictures_are_made_smaller_only_when_they_are_too_many(drawn):
    data = (drawn / "figures" / "qualitative.png").read_bytes()
    assert fit([data]) == [data]
    many = [data] * (PICTURES_BYTES // len(data) + 1)
    fitted = fit(many)
    assert sum(map(len, fitted)) < sum(map(len, many)) and fitted[-1] == data

"""What report.html says, and what it must not."""

import html
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml
from crossmodal.errors import UserError
from crossmodal.wording import signed
from crossmodal.report import PICTURES_BYTES, fit, write_report


class Words(HTMLParser):
    """The text of a page without scripts and styles, and its tags."""

    def __init__(self, page: str):
        super().__init__()
        self.parts, self.tags, self.skip = [], [], False
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.parts))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.skip = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.skip = False

    def handle_data(self, data):
        if not self.skip:
            self.parts.append(data)


def page_of(folder, templates):
    return write_report(folder, templates, folder / "report.html").read_text(encoding="utf-8")


def change(folder, **values):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))


def test_the_answer_is_that_of_the_table(experiment, templates):
    words = Words(page_of(experiment, templates)).text
    table = pd.read_csv(experiment / "tables" / "comparisons.csv")
    table = table[(table.method == "choi2023") & (table.cohort == "phantom-a")].set_index("region")
    for region in ("WT", "TC", "ET"):
        row = table.loc[region]
        assert f"{region} {signed(row.dice_gain)} {signed(row.ci_low)} to {signed(row.ci_high)}" in words
    assert "On the phantom: yes, for WT, TC and ET." in words


@pytest.mark.parametrize(
    ("gain", "p", "verdict"),
    [
        (-0.05, 0.01, "no: it lowers Dice for WT, TC and ET."),
        (0.05, 0.20, "a gain is not shown."),
        (0.0001, 0.01, "a gain is not shown."),
    ],
)
def test_the_verdict_claims_no_more_than_the_interval(experiment, templates, gain, p, verdict):
    path = experiment / "tables" / "comparisons.csv"
    low, high = gain - 0.00005, gain + 0.00005
    pd.read_csv(path).assign(dice_gain=gain, ci_low=low, ci_high=high, p_holm=p).to_csv(path, index=False)
    assert f"On the phantom: {verdict}" in Words(page_of(experiment, templates)).text


def test_what_made_it_is_named(experiment, templates):
    words = Words(page_of(experiment, templates)).text
    for fact in ("phantom-a (embedded phantom, simulated)", "12 cases of phantom-a and 12 cases of phantom-b"):
        assert fact in words
    for fact in ("demo: 20 epochs of 50 steps", "4 stages of 8 to 64 features", "2 seeds (0, 1)", "torch 2.13.0"):
        assert fact in words


def test_a_phantom_run_says_so_and_a_clinical_one_does_not(experiment, templates):
    assert "Phantom run." in Words(page_of(experiment, templates)).text
    change(experiment, brats="/data/BraTS2021")
    words = Words(page_of(experiment, templates)).text
    assert "Phantom run." not in words and "Yes, for WT, TC and ET." in words
    assert "/data/BraTS2021" in words and "doi:10.1109/TMI.2014.2377694" in words


def test_the_config_may_ask_its_own_question(experiment, templates):
    change(experiment, title="Is <T1> enough?")
    page = page_of(experiment, templates)
    assert "<h1>Is &lt;T1&gt; enough?</h1>" in page


def test_the_page_needs_nothing_else(experiment, templates):
    page = page_of(experiment, templates)
    for tag, attributes in Words(page).tags:
        for name in ("src", "href"):
            value = attributes.get(name, "")
            assert value == "" or value.startswith(("#", "data:")), (tag, value[:80])
    assert not re.search(r"url\((?!['\"]?data:)|@import", page)
    assert len(page.encode()) < 6_000_000


def test_every_figure_has_a_picture_with_words_or_a_note(experiment, templates):
    page = page_of(experiment, templates)
    index = json.loads((experiment / "figures" / "index.json").read_text())
    images = [a for tag, a in Words(page).tags if tag == "img"]
    assert [i["alt"] for i in images] == [e["alt"] for e in index if not e["note"]]
    assert all(len(i["alt"]) > 20 and int(i["width"]) > 500 for i in images)
    for entry in index:
        assert html.escape(entry["note"] or entry["caption"], quote=False).split("'")[0] in page


def test_the_same_inputs_give_the_same_bytes(experiment, templates, tmp_path):
    assert (
        page_of(experiment, templates).encode()
        == write_report(experiment, templates, tmp_path / "again.html").read_bytes()
    )


def test_text_from_files_is_escaped(experiment, templates):
    (experiment / "tables" / "notes.csv").write_text("cohort,note\nphantom-a,<script>alert(1)</script>\n")
    page = page_of(experiment, templates)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_notes_of_the_tables_are_shown(experiment, templates):
    (experiment / "tables" / "notes.md").write_text("- ET: one seed is missing\n")
    assert "ET: one seed is missing" in Words(page_of(experiment, templates)).text


def test_failures_are_said_at_the_top(experiment, templates):
    config = yaml.safe_load((experiment / "config.yaml").read_text())
    change(experiment, methods=[*config["methods"], "romero2015"])
    (experiment / "cohort" / "problems.csv").write_text(
        "case,file,severity,problem,remedy\nBraTS20_Training_099,x.nii,error,truncated,copy it again\n"
    )
    words = Words(page_of(experiment, templates)).text
    assert words.index("No scores for Romero 2015") < words.index("Tables Figures")
    assert "BraTS20_Training_099" in words


def test_methods_text_follows_the_recipes(experiment, templates):
    words = Words(page_of(experiment, templates)).text
    assert "the Barlow Twins loss at the bottleneck (weight 1.0)" in words
    assert "A teacher trained beforehand (Teacher) and frozen, given all four sequences; soft targets" in words
    assert "Our choice: w = 1, loss divided by D." in words
    assert "25% held out for testing" in words


@pytest.mark.parametrize("name", ["summary", "comparisons", "cost", "resources", "notes", "per_case"])
def test_a_missing_table_is_no_crash(experiment, templates, name):
    (experiment / "tables" / f"{name}.csv").unlink()
    assert "How to cite" in page_of(experiment, templates)


def test_no_table_at_all(experiment, templates):
    for path in (experiment / "tables").iterdir():
        path.unlink()
    words = Words(page_of(experiment, templates)).text
    assert "Nothing is scored yet" in words and "No comparison with the student alone." in words


def test_missing_figures_are_a_message(experiment, templates):
    (experiment / "figures" / "index.json").unlink()
    with pytest.raises(UserError, match="run `crossmodal figures"):
        page_of(experiment, templates)
    with pytest.raises(UserError, match=r"no report\.html\.j2"):
        write_report(experiment, experiment, experiment / "report.html")


def test_pictures_are_made_smaller_only_when_they_are_too_many(drawn):
    data = (drawn / "figures" / "qualitative.png").read_bytes()
    assert fit([data]) == [data]
    many = [data] * (PICTURES_BYTES // len(data) + 1)
    fitted = fit(many)
    assert sum(map(len, fitted)) < sum(map(len, many)) and fitted[-1] == data

import json

import pandas as pd
import pytest

from crossmodal.domain import ALL, REGIONS
from crossmodal.errors import UserError
from crossmodal.evaluate.collect import collect, costs
from crossmodal.evaluate.pages import write_tables
from crossmodal.evaluate.per_case import COLUMNS, SCORES
from crossmodal.experiment import layout
from crossmodal.experiment.config import resolve
from crossmodal.experiment.runs import predictions
from crossmodal.files import write_yaml

METHODS = ["teacher", "student", "choi2023", "big_teacher"]


class Results:
    """Two cohorts, two subsets, two seeds; big_teacher is a recipe of one's own that always sees all four."""

    def __init__(self, folder):
        self.folder, self.scores, self.cases = folder, folder / "scores", folder / "cases.csv"
        self.config, self.out = folder / "config.yaml", folder / "tables" / "per_case.csv"
        people = ["cohort,case,patient,release,split,seg"]
        people += [f"a,a{n},p{n},brats2020,test,s\nb,b{n},p{n},brats2020,external,s" for n in (0, 1)]
        self.cases.write_text("\n".join(people))
        recipe = {"title": "Big teacher", "source": "ours", "modalities": "all"}
        write_yaml(folder / "methods" / "big_teacher.yaml", recipe)
        given = {"methods": METHODS, "methods_folder": str(folder / "methods"), "subsets": ["flair+t1ce", "t1"]}
        config = resolve(given | {"seeds": [0, 1]}).replaced(cohorts=["a", "b"])
        write_yaml(self.config, config.plain())
        self.predictions = predictions(config)
        for number, prediction in enumerate(self.predictions):
            self.score(prediction, number / 100)

    def path(self, prediction):
        return self.folder / prediction.path(layout.SCORES)

    def score(self, prediction, dice, cases=(0, 1)):
        path = self.path(prediction)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[f"{prediction.cohort}{case}", region, *[dice] * len(SCORES)] for case in cases for region in REGIONS]
        pd.DataFrame(rows, columns=["case", "region", *SCORES]).to_csv(path, index=False)

    def cost(self, method, modalities, seed, seconds=100, memory=500):
        path = self.folder / layout.Training(method, modalities, seed, 0).path(layout.MANIFEST).with_name("cost.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        cost = {"method": method, "modalities": modalities, "train_s": seconds, "step_ms": 2.0, "peak_mem_mb": memory}
        path.write_text(json.dumps(cost | {"device": "cpu"}))
        return path

    def collect(self, **options):
        collect(self.config, self.scores, self.cases, self.out, **options)
        return pd.read_csv(self.out), pd.read_csv(self.out.with_name("notes.csv"))


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


def test_all_there(results):
    table, notes = results.collect()
    before = results.out.read_bytes()
    results.collect()
    assert results.out.read_bytes() == before
    assert list(table) == COLUMNS and notes.empty
    assert len(table) == 24 * 6
    row = table[(table["cohort"] == "b") & (table["case"] == "b1")].iloc[0]
    assert (row["patient"], row["split"], row["method"], row["modalities"]) == ("p1", "external", "teacher", ALL)
    assert list(table["method"].unique()) == METHODS
    assert table["dice"].nunique() == 24  # each file went to its own rows
    assert set(table["modalities"][table["method"] == "student"]) == {"t1ce+flair", "t1"}


@pytest.mark.filterwarnings("error")
def test_a_method_that_always_sees_all_four_is_in_every_table(results):
    for method in METHODS:
        results.cost(method, ALL, seed=0)
    results.collect(models=results.folder / "models")
    write_tables(results.folder, resamples=99)
    read = {name: pd.read_csv(results.out.with_name(f"{name}.csv")) for name in ("summary", "comparisons", "cost")}
    rows = {name: table[table["method"] == "big_teacher"] for name, table in read.items()}
    assert set(rows["summary"]["modalities"]) == {ALL} and len(rows["summary"]) == 2 * 3 and len(rows["cost"]) == 1
    # Compared with the student on each of the student's subsets, by its own Dice at all four.
    assert set(read["comparisons"]["method"]) == {"choi2023", "big_teacher"}
    assert len(rows["comparisons"]) == 2 * 2 * 3 and set(rows["comparisons"]["modalities"]) == {"t1ce+flair", "t1"}
    means = read["summary"].set_index(["cohort", "method", "modalities", "region"])["dice_mean"]
    for row in rows["comparisons"].itertuples():
        own, student = (
            means[row.cohort, method, subset, row.region]
            for method, subset in (("big_teacher", ALL), ("student", row.modalities))
        )
        assert (row.baseline, row.n, row.dice_gain) == ("student", 2, pytest.approx(own - student))
        teacher = means[row.cohort, "teacher", ALL, row.region]
        assert pd.isna(row.gap_recovered) == (teacher <= student)
    for page in ("summary.md", "comparisons.tex"):
        assert "big" in results.out.with_name(page).read_text()


def test_scores_of_an_earlier_version_are_read(results):
    def drop_nsd(runs):
        for run in runs:
            pd.read_csv(results.path(run)).drop(columns="nsd_1mm").to_csv(results.path(run), index=False)

    first, *others = results.predictions
    drop_nsd([first])
    table, notes = results.collect()
    assert list(table) == COLUMNS and table["nsd_1mm"].isna().sum() == 6 and table["dice"].notna().all()
    assert notes["note"].tolist() == ["no nsd_1mm: scored by an earlier version"]
    assert notes.loc[0, "method"] == first.method
    drop_nsd(others)
    table, notes = results.collect()
    assert table["nsd_1mm"].isna().all() and notes.empty


def test_missing_runs_and_cases_are_noted(results):
    runs = results.predictions
    results.path(runs[3]).unlink()
    results.score(runs[5], 0.5, cases=[0])
    table, notes = results.collect()
    assert len(table) == 24 * 6 - 6 - 3
    told = {tuple(row) for row in notes[["method", "modalities", "seed", "note"]].itertuples(index=False)}
    assert told == {
        (runs[3].method, runs[3].modalities, runs[3].seed, "missing: not scored"),
        (runs[5].method, runs[5].modalities, runs[5].seed, "1 of 2 cases are not scored (a1)"),
    }


def test_nothing_there(results):
    with pytest.raises(UserError, match=r"holds none of the 24 score files, such as .*seed0/fold_0\.csv"):
        collect(results.config, results.folder / "elsewhere", results.cases, results.out)
    assert not results.out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a table of `crossmodal score`"),
        ("case,region\na0,WT\n", "not a table of `crossmodal score`"),
        (",".join(["case", "region", *SCORES]) + "\nzz,WT" + ",1" * len(SCORES), "no case 'zz' in the cohort 'a'"),
    ],
)
def test_damaged_scores_are_named(results, text, message):
    path = results.path(results.predictions[0])
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        results.collect()
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("methods: [a]", "lacks the recipe of a"), ("{", ""), ("", ""), ("- a", "should hold keys"), (None, "not found")],
)
def test_damaged_config_is_named(results, text, message):
    results.config.unlink() if text is None else results.config.write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml.*{message}"):
        results.collect()


def test_costs_are_averaged_over_folds_and_seeds(results):
    for seed, seconds, memory in ((0, 100, 500), (1, 200, 700)):
        path = results.cost("student", "t1", seed, seconds, memory)
    results.collect(models=results.folder / "models")
    (row,) = pd.read_csv(results.out.with_name("cost.csv")).to_dict("records")
    assert row == {
        **{"method": "student", "modalities": "t1", "device": "cpu"},
        **{"train_s": 150, "step_ms": 2, "peak_mem_mb": 700, "runs": 2},
    }
    path.write_text("{}")
    with pytest.raises(UserError, match=r"cost\.json"):
        costs(results.folder / "models")


def test_resources_put_what_jobs_asked_for_beside_the_most_that_one_used(results):
    folder = results.folder / "benchmarks"
    results.collect(benchmarks=folder)
    assert pd.read_csv(results.out.with_name("resources.csv")).empty
    asked = {"tmpdir": "/tmp", "runtime": 30, "mem_mb": 2000, "gpu": 1}
    student = {"method": "student", "modalities": "t1ce+flair", "seed": "0", "fold": "0"}
    jobs = {
        "train/seed0": (60.0, 900.5, "train_network", student, 2, asked),
        "train/seed1": (90.0, 700.0, "train_network", student, 2, asked),
        "preprocess": (6.0, 100.0, "preprocess_dataset", {}, 2, {"mem_mb": 8000}),
    }
    (folder / "train").mkdir(parents=True)
    for name, job in jobs.items():  # as Snakemake writes them with benchmark-extended
        table = pd.DataFrame([job], columns=["s", "max_rss", "rule_name", "wildcards", "threads", "resources"])
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    (folder / "plain.tsv").write_text("s\tmax_rss\n1\t2\n")  # and without
    results.collect(benchmarks=folder)
    table = pd.read_csv(results.out.with_name("resources.csv")).set_index("step")
    assert list(table.index) == ["preprocess_dataset", "train_network"]
    train = table.loc["train_network"]
    assert (train.method, train.jobs, train.asked_mem_mb, train.used_mem_mb) == ("student", 2, 2000, 900.5)
    assert (train.asked_min, train.used_min) == (30, 1.5)
    preprocess = table.loc["preprocess_dataset"]
    assert pd.isna(preprocess.method) and pd.isna(preprocess.asked_min) and preprocess.used_min == 0.1

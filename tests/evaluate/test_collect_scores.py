import json

import pandas as pd
import pytest
import yaml

from crossmodal.domain import ALL
from crossmodal.errors import UserError
from crossmodal.evaluate.collect import collect, costs, expected_runs
from crossmodal.evaluate.per_case import COLUMNS as PER_CASE
from crossmodal.evaluate.per_case import SCORES

CONFIG = {
    "experiment": "tiny",
    "cohorts": ["a", "b"],
    "methods": ["teacher", "student", "choi2023"],
    "subsets": ["flair+t1ce", "t1"],
    "seeds": [0, 1],
    "folds": [0],
}


class Results:
    def __init__(self, folder):
        self.folder, self.scores, self.cases = folder, folder / "scores", folder / "cohort" / "cases.csv"
        self.config, self.out = folder / "config.yaml", folder / "tables" / "per_case.csv"
        self.cases.parent.mkdir()
        people = [
            [c, f"{c}{n}", f"p{n}", "brats2020", "test" if c == "a" else "external", "s"] for c in "ab" for n in (0, 1)
        ]
        pd.DataFrame(people, columns=["cohort", "case", "patient", "release", "split", "seg"]).to_csv(
            self.cases, index=False
        )
        self.config.write_text(yaml.safe_dump(CONFIG))
        for number, run in enumerate(expected_runs(CONFIG)):
            self.score(run, number / 100)

    def score(self, run, dice, cases=(0, 1)):
        path = run.path(self.scores)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            [f"{run.cohort}{case}", region, *[dice] * len(SCORES)] for case in cases for region in ("WT", "TC", "ET")
        ]
        pd.DataFrame(rows, columns=["case", "region", *SCORES]).to_csv(path, index=False)
        return path

    def collect(self, **options):
        collect(self.config, self.scores, self.cases, self.out, **options)
        return pd.read_csv(self.out), pd.read_csv(self.out.with_name("notes.csv"))


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


def test_teacher_is_expected_with_all_four_and_the_others_at_each_subset():
    runs = expected_runs(CONFIG)
    assert len(runs) == 2 * (1 + 2 * 2) * 2
    assert {run.modalities for run in runs if run.method == "teacher"} == {ALL}
    assert {run.modalities for run in runs if run.method == "student"} == {"t1ce+flair", "t1"}


def test_all_there(results):
    table, notes = results.collect()
    assert list(table) == PER_CASE and notes.empty
    assert len(table) == 20 * 6
    row = table[(table["cohort"] == "b") & (table["case"] == "b1")].iloc[0]
    assert (row["patient"], row["split"], row["method"], row["modalities"]) == ("p1", "external", "teacher", ALL)
    assert list(table["method"].unique()) == CONFIG["methods"]
    assert table["dice"].nunique() == 20  # each file went to its own rows


def test_same_bytes_twice(results):
    results.collect()
    before = results.out.read_bytes()
    results.collect()
    assert results.out.read_bytes() == before


def test_missing_runs_and_cases_are_noted(results):
    runs = expected_runs(CONFIG)
    runs[3].path(results.scores).unlink()
    results.score(runs[5], 0.5, cases=[0])
    table, notes = results.collect()
    assert len(table) == 20 * 6 - 6 - 3
    told = {tuple(row) for row in notes[["method", "modalities", "seed", "note"]].itertuples(index=False)}
    assert told == {
        (runs[3].method, runs[3].modalities, runs[3].seed, "missing: not scored"),
        (runs[5].method, runs[5].modalities, runs[5].seed, "1 of 2 cases are not scored (a1)"),
    }


def test_nothing_there(results):
    with pytest.raises(UserError, match=r"holds none of the 20 score files, such as .*seed0/fold_0\.csv"):
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
    path = expected_runs(CONFIG)[0].path(results.scores)
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        results.collect()
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["methods: [a]", "{", "", "- a"])
def test_damaged_config_is_named(results, text):
    results.config.write_text(text)
    with pytest.raises(UserError, match="config"):
        results.collect()


def test_costs_are_averaged_over_folds_and_seeds(results):
    for seed, seconds, memory in ((0, 100, 500), (1, 200, 700)):
        path = results.folder / "models" / "student" / "t1" / f"seed{seed}" / "fold_0" / "cost.json"
        path.parent.mkdir(parents=True)
        cost = {"method": "student", "modalities": "t1", "train_s": seconds, "step_ms": 2.0, "peak_mem_mb": memory}
        path.write_text(json.dumps(cost | {"device": "cpu"}))
    results.collect(models=results.folder / "models")
    table = pd.read_csv(results.out.with_name("cost.csv"))
    assert table.to_dict("records") == [
        {
            "method": "student",
            "modalities": "t1",
            "train_s": 150,
            "step_ms": 2,
            "peak_mem_mb": 700,
            "device": "cpu",
            "runs": 2,
        }
    ]
    path.write_text("{}")
    with pytest.raises(UserError, match=r"cost\.json"):
        costs(results.folder / "models")


def test_resources_put_what_jobs_asked_for_beside_the_most_that_one_used(results):
    folder = results.folder / "benchmarks"
    columns = ["s", "max_rss", "rule_name", "wildcards", "threads", "resources"]
    for seed, seconds, memory in ((0, 60.0, 900.5), (1, 90.0, 700.0)):
        asked = {"tmpdir": "/tmp", "runtime": 30, "mem_mb": 2000, "gpu": 1}
        wildcards = {"method": "student", "modalities": "t1ce+flair", "seed": str(seed), "fold": "0"}
        write_benchmark(
            folder / "train" / f"seed{seed}.tsv", columns, seconds, memory, "train_network", wildcards, asked
        )
    write_benchmark(folder / "preprocess.tsv", columns, 6.0, 100.0, "preprocess_dataset", {}, {"mem_mb": 8000})
    (folder / "plain.tsv").write_text("s\tmax_rss\n1\t2\n")  # without benchmark-extended
    results.collect(benchmarks=folder)
    table = pd.read_csv(results.out.with_name("resources.csv")).set_index("step")
    assert list(table.index) == ["preprocess_dataset", "train_network"]
    train = table.loc["train_network"]
    assert (train.method, train.jobs, train.asked_mem_mb, train.used_mem_mb) == ("student", 2, 2000, 900.5)
    assert (train.asked_min, train.used_min) == (30, 1.5)
    preprocess = table.loc["preprocess_dataset"]
    assert pd.isna(preprocess.method) and pd.isna(preprocess.asked_min) and preprocess.used_min == 0.1


def write_benchmark(path, columns, seconds, memory, rule, wildcards, asked):
    """A file as Snakemake writes it with benchmark-extended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = [seconds, memory, rule, wildcards, 2, asked]
    path.write_text("\t".join(columns) + "\n" + "\t".join(map(str, row)) + "\n")


def test_no_benchmarks_give_an_empty_table(results):
    results.collect(benchmarks=results.folder / "absent")
    assert pd.read_csv(results.out.with_name("resources.csv")).empty

"""The reference study's own numbers: its primary comparisons, and how weights are chosen."""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study
import study_barlow
import study_primary
import study_weights
import yaml

from crossmodal.evaluate.per_case import held_out, read_per_case
from crossmodal.evaluate.shards import ABOUT, SHARDS
from crossmodal.experiment.config import resolve
from crossmodal.experiment.recipe import load
from crossmodal.files import write_json
from tests.conftest import REPOSITORY
from tests.evaluate.per_case_maker import rows, stack

SEEDS = range(5)


@pytest.fixture(scope="module")
def per_case(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """choi2023 gains 0.06, its two-stage control nothing; dong2025 gains at site A and harms at site B."""
    draw = np.random.default_rng(3)
    gains = {"student": (0, 0), "choi2023": (0.06, 0), "choi2023_two_stage": (0, 0), "dong2025": (0.04, -0.06)}
    tables = []
    for (place, cohort), region in itertools.product(enumerate(("phantom-a", "phantom-b")), ("WT", "TC", "ET")):
        patients = draw.normal(0.7, 0.03, 40)
        for (method, gain), seed in itertools.product(gains.items(), SEEDS):
            dice = patients + gain[place] + draw.normal(0, 0.003) + draw.normal(0, 0.005, 40)
            given = {"method": method, "modalities": "t1ce+flair", "seed": seed, "region": region}
            tables.append(rows(dice, cohort=cohort, **given, split="external" if place else "test"))
    path = tmp_path_factory.mktemp("study") / "per_case.csv"
    stack(*tables).to_csv(path, index=False)
    return held_out(read_per_case(path))[0]


def test_primary_comparisons_find_what_is_there(per_case: pd.DataFrame) -> None:
    table = study_primary.compared(per_case, study_primary.CLAIMS)
    assert list(table["finding"]) == ["gain", "equivalent", "gain", "too few trainings", "gain", "loss"]
    assert table["dice_gain"].iloc[0] == pytest.approx(0.06, abs=0.01)
    assert (table["n_trainings"].iloc[[0, 1, 2, 4, 5]] == len(SEEDS)).all() and table["n"].iloc[0] == 40
    # The outcome is the mean over regions: the gain of one region alone is another number.
    of_wt = study_primary.compared(per_case[per_case["region"] == "WT"], study_primary.CLAIMS)
    assert of_wt["dice_gain"].iloc[0] != table["dice_gain"].iloc[0]
    of_each = [
        study_primary.compared(per_case[per_case["region"] == one], study_primary.CLAIMS) for one in ("WT", "TC", "ET")
    ]
    assert table["dice_gain"].iloc[0] == pytest.approx(np.mean([one["dice_gain"].iloc[0] for one in of_each]))


def test_p_is_corrected_over_the_claims_that_were_tested(per_case: pd.DataFrame) -> None:
    table = study_primary.compared(per_case, study_primary.CLAIMS)
    tested = table["p_trainings"].dropna().sort_values()
    assert len(tested) == 5
    by_hand = np.maximum.accumulate(tested * np.arange(5, 0, -1)).clip(upper=1)
    assert list(table["p_trainings_holm"].loc[tested.index]) == pytest.approx(list(by_hand))


def test_the_page_says_what_is_not_shown(per_case: pd.DataFrame) -> None:
    noisy = per_case.copy()
    noisy["dice"] += noisy["seed"].astype(int).map(lambda seed: 0.05 * (-1) ** seed)
    table = study_primary.compared(noisy, study_primary.CLAIMS)
    assert table["finding"].iloc[1] == "not shown"
    shown = study_primary.markdown(table)
    assert f"no gain larger than +{table['trainings_ci_high'].iloc[1]:.3f}" in shown
    assert shown.count("\n") == len(study_primary.CLAIMS) + 1


def test_the_claims_are_those_of_the_protocol_and_of_the_config() -> None:
    page = (REPOSITORY / "docs" / "study.md").read_text()
    protocol = page.partition("**Primary comparisons**")[2].partition("**Test.**")[0]
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in protocol.splitlines() if "| `" in line]
    written = [(claim, method, base, given, regions) for claim, method, base, given, regions, _ in cells]
    shown = {"t1ce+flair": "T1ce + FLAIR", "t1": "T1"}
    ours = [
        (one.claim, f"`{one.method}`", f"`{one.baseline}`", shown[one.modalities], ", ".join(one.regions))
        for one in study_primary.CLAIMS
    ]
    assert [(re.sub(r" \(\w+ 20\d\d\)", "", row[0]), *row[1:]) for row in written] == ours
    study = yaml.safe_load(study_weights.STUDY.read_text())
    for claim in study_primary.CLAIMS:
        assert {claim.method, claim.baseline} <= set(study["methods"]) and claim.modalities in study["subsets"]


def test_every_term_is_multiplied_and_nothing_else() -> None:
    for method, factor in itertools.product(study_weights.methods(), study_weights.FACTORS):
        before, after = load(method).plain(), load(method, overrides=study_weights.weighted(method, factor)).plain()
        weights = [
            (old.pop("weight"), new.pop("weight")) for old, new in zip(before["distill"], after["distill"], strict=True)
        ]
        assert before == after
        assert all(new == pytest.approx(factor * old) for old, new in weights)


def test_another_weight_must_be_clearly_better() -> None:
    def found(*dice: float) -> pd.DataFrame:
        values = zip(study_weights.FACTORS, dice, strict=True)
        return pd.DataFrame([{"method": "hinton2015", "factor": f, "dice": d} for f, d in values])

    assert study_weights.chosen(found(0.5, 0.6, 0.595, 0.3)) == {"hinton2015": 1}
    assert study_weights.chosen(found(0.5, 0.62, 0.60, 0.3)) == {"hinton2015": 0.1}
    # A training whose loss was no longer a number has no row.
    assert study_weights.chosen(found(0.5, 0.62, 0.60, 0.9).iloc[:3]) == {"hinton2015": 0.1}


def test_a_control_has_the_weights_of_its_method() -> None:
    changed = study_weights.overrides({"rahimpour2022": 0.1, "hinton2015": 0.01, "choi2023": 1})
    assert (
        changed["rahimpour2022"] == changed["rahimpour2022_same"] == {"distill.0.weight": 0.1, "distill.1.weight": 0.01}
    )
    assert set(changed) == {"rahimpour2022", "rahimpour2022_same", "hinton2015"}


def test_a_control_differs_from_its_method_in_its_teacher_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    config = resolve(yaml.safe_load(study_weights.STUDY.read_text()), check_paths=False)
    assert config.seeds == list(study.EVERY_METHOD) and len(config.any_subsets) == 15
    assert config.budget == "study_phantom"
    for method in ("rahimpour2022", "choi2023_two_stage"):
        ours, control = (config.recipes[name].plain() for name in (method, f"{method}_same"))
        assert control["teacher"] == {"trained": "beforehand", "method": "student_again", "sees": "same"}
        words = ("title", "source", "choice", "teacher")
        assert {k: v for k, v in ours.items() if k not in words} == {k: v for k, v in control.items() if k not in words}
    for name in study.PARTS[study.OWN_WEIGHTS - 1]:
        library, ours = load(name.removesuffix("_own")), config.recipes[name]
        assert library.training_fields() == ours.training_fields()
    again, student = (config.recipes[name].training_fields() for name in ("student_again", "student"))
    assert {key for key in student if student[key] != again[key]} == {"role"}
    assert Path(config.methods_folder).is_dir()


@pytest.fixture
def barlow_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict]:
    """The configs that study_barlow.py runs, where its shards may be written; each run is as if stopped."""
    monkeypatch.setattr(study_barlow, "REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(study_barlow, "run", lambda config, cores, *targets: asked.append(config) or 1)
    return asked


def test_each_variant_of_barlow_twins_changes_one_choice(barlow_asked: list[dict]) -> None:
    with pytest.raises(SystemExit, match="the same command goes on"):
        study_barlow.main(1)
    (config,) = barlow_asked
    assert config["seeds"] == [1] and config["methods"] == ["student", *study_barlow.VARIANTS]
    recipes = resolve(config).recipes
    ours = load("choi2023").training_fields()
    for name in study_barlow.VARIANTS:
        theirs = recipes[name].training_fields()
        changed = [key for key in ours if ours[key] != theirs[key]]
        assert changed == {"bt": [], "bt-stop-gradient": ["stop_gradient"], "bt-frozen": ["teacher"]}.get(
            name, ["distill"]
        )


def test_barlow_twins_trains_what_no_shard_has(barlow_asked: list[dict], tmp_path: Path) -> None:
    for name, methods, seed in (("seed0-1", ["student", "bt"], 0), ("seed1-1", ["bt-frozen"], 1)):
        write_json(
            tmp_path / study_barlow.INTO / SHARDS / name / ABOUT, {"config": {"methods": methods, "seeds": [seed]}}
        )
    study_barlow.main(0, only="bt,student")
    for given, wanted in (("bt-frozen,bt", ["bt-frozen"]), ("", study_barlow.METHODS[2:])):
        with pytest.raises(SystemExit, match="the same command goes on"):
            study_barlow.main(0, only=given)
        assert barlow_asked.pop()["methods"] == wanted
    assert not barlow_asked and not (tmp_path / study_barlow.INTO / "config.yaml").exists()
    for seed, only in ((3, ""), (0, "bt-other")):
        with pytest.raises(SystemExit, match="seeds are"):
            study_barlow.main(seed, only=only)


def test_barlow_twins_table_has_a_row_for_each_variant_and_a_column_for_each_region() -> None:
    given = {"dice_gain": 0.01, "trainings_ci_low": -0.02, "trainings_ci_high": 0.04}
    rows = [{"method": m, "region": region} | given for m in study_barlow.VARIANTS for region in ("WT", "TC")]
    lines = study_barlow.table(pd.DataFrame(rows)).splitlines()
    assert len(lines) == 2 + len(study_barlow.VARIANTS)
    assert all(line.count("+0.010 (−0.020 to +0.040)") == 2 for line in lines[2:]), lines[2]


def test_the_networks_of_the_controls_are_those_of_the_first_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    configs = study.controls_config(2), study.part_config(2, 1)
    needed, part = (resolve(config, check_paths=False) for config in configs)
    assert needed.methods == ["teacher", "student", "student_again"]
    assert {one: part.recipes[one] for one in needed.methods} == needed.recipes
    assert needed == part.replaced(methods=needed.methods, recipes=needed.recipes, overrides=needed.overrides)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_parts_of_a_seed_are_the_study(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.chdir(REPOSITORY)
    whole = yaml.safe_load(study.STUDY.read_text())
    whole["overrides"] = {"hinton2015": {"distill.0.weight": 0.5}, "choi2023": {"distill.0.weight": 2}}
    monkeypatch.setattr(study.yaml, "safe_load", lambda text: dict(whole))
    configs = [study.part_config(seed, number) for number in range(1, len(study.PARTS) + 1)]
    methods = [method for config in configs for method in config["methods"]]
    wanted = whole["methods"] if seed == 0 else {m for c in study_primary.CLAIMS for m in (c.method, c.baseline)}
    assert sorted(methods) == sorted(wanted)
    monkeypatch.undo()
    monkeypatch.chdir(REPOSITORY)
    parts = [resolve(config, check_paths=False) for config in configs if config["methods"]]
    assert {one.experiment for one in parts} == {f"seed{seed}"} and {tuple(one.seeds) for one in parts} == {(seed,)}
    given = [whole[key] for key in ("phantom", "external", "split", "budget")]
    assert all([config[key] for key in ("phantom", "external", "split", "budget")] == given for config in configs)
    every = configs[: study.OWN_WEIGHTS - 1] if seed == 0 else []
    assert all(config["subsets"] == whole["subsets"] for config in every)
    assert all(config["subsets"] == ["t1", "t1ce+flair"] for config in configs[len(every) :])
    weights = {
        name: recipe.distill[0].weight for one in parts for name, recipe in one.recipes.items() if recipe.distill
    }
    assert weights["choi2023"] == 2 and weights.get("hinton2015", 0.5) == 0.5


def test_a_part_that_was_kept_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran, shards = [], tmp_path / study.INTO / "shards"
    (tmp_path / ".cache/phantom-b").mkdir(parents=True)
    (shards / "seed0-2").mkdir(parents=True)

    def command(*words: str) -> None:
        ran.append(words)
        if words[1] == "shard":
            (shards / words[-1]).mkdir()

    def workflow(config: dict, cores: int, *targets: str) -> int:
        ran.append(config["methods"])
        return int("romero2015" in config["methods"])

    for name, value in {"REPOSITORY": tmp_path, "command": command, "run": workflow}.items():
        monkeypatch.setattr(study, name, value)
    with pytest.raises(SystemExit, match="seed0-4: see above; the same command goes on"):
        study.main(0)
    kept = [words[-1] for words in ran if words[1] == "shard"]
    assert kept == ["seed0-1", "seed0-3"] and list(study.PARTS[1]) not in ran
    controls = [words[-1] for words in ran if words[2:3] == ("train",)]
    assert sorted(controls) == sorted(study.CONTROLS)
    ran.clear()
    with pytest.raises(SystemExit, match="seed0-4"):
        study.main(0)
    assert list(study.PARTS[0]) not in ran and list(study.PARTS[3]) in ran
    with pytest.raises(SystemExit, match="seeds 0 to 9"):
        study.main(10)


def test_the_trials_and_their_steps_are_as_the_protocol_has_them() -> None:
    page = (REPOSITORY / "docs" / "study.md").read_text()
    assert all(f"{factor:g}" in page for factor in study_weights.FACTORS)
    assert study_weights.TRIALS["budget"] == yaml.safe_load(study_weights.STUDY.read_text())["budget"]
    assert f"seed ({study_weights.TRIALS['phantom']['seed']})" in page

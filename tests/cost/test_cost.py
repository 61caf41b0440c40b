"""What `crossmodal cost` says before anything is submitted."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossmodal.cost.estimate import disk_gb, hours_by_method, read_config, wall_hours
from crossmodal.cost.network import parameters
from crossmodal.cost.page import cost_page
from crossmodal.cost.published import from_published
from crossmodal.cost.step_times import StepTime, from_bench, from_run, step_time
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.runs import trainings
from crossmodal.files import write_yaml
from tests.conftest import REPOSITORY

PAPERS = REPOSITORY / "workflow" / "papers"


def config_of(*changes: str, files: tuple[Path, ...] = ()) -> Resolved:
    """A resolved config, of the repository's config.yaml without files."""
    return read_config(list(files) or [REPOSITORY / "config.yaml"], list(changes))


def measured(method: str | None, kind: str, seconds: float, spread: float = 0.0, device: str = "H100") -> StepTime:
    return StepTime(method, kind, device, (seconds - spread, seconds, seconds + spread), "somewhere")


def test_trainings_are_those_that_snakemake_lists():
    paper = PAPERS / "all_subsets.yaml"  # every method
    options = ["--configfile", str(paper), "--config", "budget=smoke", "experiment=cost-test"]
    command = [str(Path(sys.executable).parent / "snakemake"), "-n", "--quiet", "rules", *options]
    listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    listed = int(re.search(r"^train_network\s+(\d+)", listing, re.MULTILINE)[1])
    assert len(trainings(config_of("budget=smoke", files=(paper,)))) == listed


def test_papers_are_costed_before_their_data_are_there():
    page = cost_page(config_of(files=(PAPERS / "choi2023.yaml",)), [], [1], None, None)
    assert "20 trainings of 250000 steps" in page
    assert "add --cases N" in page


def test_without_a_measurement_hours_are_estimated_and_marked():
    config = config_of("methods=[student]", "budget=full")
    page = cost_page(config, [], [1], 40, None)
    assert "Hours: an ESTIMATE from published rates: no step of this network was measured." in page
    assert re.search(r"On NVIDIA A100 40 GB .*\n.*\n  student +1 +9\.0  \(5\.4 to 22\.4\)  estimated", page)
    for gpu in ("H100", "V100", "RTX 4090"):
        assert re.search(rf"^  NVIDIA {gpu}.* to ", page, re.MULTILINE)
    assert "V100" not in cost_page(config, [], [1], 40, "a100")
    assert "ESTIMATE" not in cost_page(config, [measured("student", "alone", 1.0)], [1], 40, None)


@pytest.mark.parametrize(
    ("backbone", "gpu", "hours"),
    [
        # nnU-Net, documentation/resenc_presets.md, on an A100.
        *[("plain", "A100", 9), ("resenc_m", "A100", 12), ("resenc_l", "A100", 35)],
        # The same by nnU-Net's epoch times on an A100 and a V100 (documentation/expected_epoch_times.md).
        *[("plain", "V100", 9 * 79.0 / 48.53), ("plain", "V100", 9 * 80.1 / 41.1)],
    ],
)
def test_the_range_of_the_estimate_holds_what_nnunet_published(backbone, gpu, hours):
    config = config_of("methods=[student]", "budget=full", f"backbone={backbone}")
    (estimate,) = hours_by_method(config, from_published(config, gpu))
    low, middle, high = estimate.hours
    assert low < hours < high
    assert 0.6 * hours < middle < 1.6 * hours


def test_a_frozen_and_a_joint_teacher_are_estimated_by_arithmetic():
    config = config_of("methods=[student, choi2023, hinton2015]", "budget=full")
    hours = {one.method: one.hours[1] for one in hours_by_method(config, from_published(config, "A100"))}
    assert hours["choi2023"] == pytest.approx(2 * hours["student"])
    assert hours["hinton2015"] == pytest.approx(4 / 3 * hours["student"])


@pytest.mark.parametrize("change", ["budget=smoke", "device=cpu"])
def test_no_estimate_where_published_rates_do_not_hold(change):
    config = config_of("budget=full", change)
    assert from_published(config) == []
    assert "Hours: not known: no step of this network was measured." in cost_page(config, [], [1], 40, None)


def test_hours_are_steps_times_step_time_with_the_spread_of_the_measurements():
    config = config_of("methods=[teacher, student]", "seeds=[0, 1, 2]")
    steps = config.budget_settings.steps
    times = [measured("student", "alone", 1.0, 0.2), measured("student", "alone", 2.0, 0.1)]
    estimates = hours_by_method(config, [*times, measured("teacher", "alone", 0.7)])
    student = {estimate.method: estimate for estimate in estimates}["student"]
    assert student.trainings == 3
    assert student.hours == pytest.approx(tuple(3 * steps * seconds / 3600 for seconds in (0.8, 1.5, 2.1)))
    assert student.basis == "measured"


@pytest.mark.parametrize(
    ("method", "times", "expected", "basis"),
    [
        ("choi2023", [measured("choi2023", "joint", 3.0), measured("other", "joint", 9.0)], 3.0, "measured"),
        ("choi2023", [measured("other", "joint", 3.0), measured("x", "joint", 5.0)], 4.0, "on others that train joint"),
        ("choi2023", [measured("student", "alone", 1.5)], 3.0, "2.00 × a step of 'alone', by arithmetic"),
        ("hinton2015", [measured("student", "alone", 1.5)], 2.0, "1.33 × a step of 'alone', by arithmetic"),
        ("student", [measured("choi2023", "joint", 3.0)], 1.5, "0.50 × a step of 'joint', by arithmetic"),
    ],
)
def test_the_best_available_time_is_taken(method, times, expected, basis):
    recipe = config_of(f"methods=[{method}]").recipes[method]
    time = step_time(method, recipe, times)
    assert time.seconds[1] == pytest.approx(expected)
    assert basis in time.source


def test_wall_time_waits_for_teachers_and_shares_gpus():
    config = config_of("methods=[choi2023_two_stage]", "subsets=[t1, t2]", "seeds=[0]")
    times = [measured(None, "alone", 1.0), measured(None, "frozen", 1.0)]
    estimates = hours_by_method(config, times)
    one = estimates[0].hours[1]  # each of the three trainings takes as long
    assert wall_hours(config, estimates, 1)[1] == pytest.approx(3 * one)
    assert wall_hours(config, estimates, 2)[1] == pytest.approx(2 * one)
    assert wall_hours(config, estimates, 99)[1] == pytest.approx(2 * one), "the students wait for their teacher"


def run_folder(tmp_path: Path, config: Resolved, rows: str) -> Path:
    """An experiment that was run, as far as its cost is concerned."""
    write_yaml(tmp_path / "run" / "config.yaml", config.plain())
    (tmp_path / "run" / "tables").mkdir()
    table = tmp_path / "run" / "tables" / "cost.csv"
    table.write_text(f"method,modalities,train_s,step_ms,peak_mem_mb,device,runs\n{rows}")
    return tmp_path / "run"


def test_times_of_a_run_are_scaled_to_another_number_of_steps(tmp_path):
    ran = config_of("budget=smoke")
    steps = ran.budget_settings.steps
    rows = f"student,t1,{steps * 1.0},9,9,H100,1\nstudent,t2,{steps * 2.0},9,9,H100,1\nchoi2023,t1,80,9,9,A100,1\n"
    folder = run_folder(tmp_path, ran, rows)
    longer = ran.replaced(budget_settings=ran.budget_settings.replaced(epochs=500))
    for given in (folder, folder / "tables" / "cost.csv"):
        student, joint = from_run(given, longer)
        assert (student.method, student.kind, student.device) == ("student", "alone", "H100")
        assert student.seconds == pytest.approx((1.0, 1.5, 2.0))
        assert (joint.kind, joint.device) == ("joint", "A100")


def test_a_run_of_another_network_says_nothing(tmp_path):
    folder = run_folder(tmp_path, config_of("budget=smoke"), "student,t1,9,9,9,H100,1\n")
    with pytest.raises(UserError, match="its times cannot be used"):
        from_run(folder, config_of("budget=full"))
    with pytest.raises(UserError, match="no such file"):
        from_run(tmp_path, config_of("budget=smoke"))


def test_bench_is_used_for_the_network_that_it_measured(tmp_path):
    cpu = {"device": "cpu", "budget": "demo", "spread": 0.1, "threads": 1, "memory_format": "contiguous"}
    entries = {
        "student_vs_stock": cpu | {"ours_ms": 200.0, "precision": "default"},
        "fast_vs_stock": cpu | {"ours_ms": 100.0, "precision": "bf16"},
        "joint_vs_sum": cpu | {"ours_ms": 180.0, "precision": "bf16"},
        "predict_vs_nnunet": cpu | {"ours_ms": 1.0},
    }
    path = tmp_path / "latest.json"
    path.write_text(json.dumps(entries))
    alone, joint = from_bench(path, config_of("budget=demo"))
    assert (alone.kind, joint.kind) == ("alone", "joint")
    assert alone.seconds == pytest.approx((0.09, 0.1, 0.11))
    assert joint.seconds[1] == pytest.approx(0.18)
    assert from_bench(path, config_of("budget=full")) == []
    assert from_bench(tmp_path / "none.json", config_of("budget=demo")) == []


def test_a_device_without_a_measurement_is_named():
    config = config_of("methods=[student]")
    times = [measured("student", "alone", 1.0, device="NVIDIA H100 80GB HBM3")]
    assert "On NVIDIA H100 80GB HBM3" in cost_page(config, times, [4], 40, "h100")
    page = cost_page(config, times, [4], 40, "A100")
    assert "no step on a device called 'A100' was measured (only on NVIDIA H100 80GB HBM3)." in page


@pytest.mark.parametrize(
    ("features", "backbone", "expected"),
    [
        # Counted from the networks that nnU-Net builds from its plans.
        *[(None, "plain", 31_198_991), (None, "resenc_m", 102_353_167)],
        *[([4, 8, 16], "plain", 21_878), ([4, 8, 16], "resenc_m", 69_102)],
    ],
)
def test_parameters_are_those_of_the_network(features, backbone, expected):
    assert parameters(Budget(title="", features=features), backbone) == expected


def test_disk_grows_with_cases_and_says_when_it_cannot_know():
    config = config_of("budget=full", "split={folds: 5, test_fraction: 0.2}")
    sizes = disk_gb(config, 100)
    assert sizes["preprocessed data"] == pytest.approx(80 * 3.6e6 * 17e-9)
    assert disk_gb(config, 200)["preprocessed data"] == pytest.approx(2 * sizes["preprocessed data"])
    assert sizes["trained networks"] == pytest.approx(3 * 31.2e6 * 4e-9, rel=0.02)
    assert disk_gb(config, None)["predictions"] is None


def test_the_command_prints_the_page(tmp_path):
    program = Path(sys.executable).parent / "crossmodal"
    command = [program, "cost", "--configfile", REPOSITORY / "config.yaml", "--bench", tmp_path / "none.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "3 methods, 1 subset, 1 fold, 1 seed, budget demo" in done.stdout
    wrong = subprocess.run([*command, "--config", "methods"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "write it as key=value" in wrong.stderr

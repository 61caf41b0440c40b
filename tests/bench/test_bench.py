"""The benchmarks run, compare their results with the peer's, and write what readers expect."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crossmodal.data import STEP_TIMES
from crossmodal.experiment.budget import load_budget
from tests.conftest import REPOSITORY

BENCH = REPOSITORY / "bench"
FIELDS = {"ratio", "ours_ms", "peer_ms", "n", "spread", "device", "ours_peak_mb", "peer_peak_mb", "budget", "measured"}


@pytest.fixture(autouse=True)
def bench_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def run_script(name: str, *options: str) -> str:
    # Other tests of this process set nnU-Net's variables; its planner fails where nnUNet_n_proc_DA is 0.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    command = [sys.executable, str(BENCH / name), "--tiny", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measured(names: set[str], out: Path) -> dict:
    shown = run_script("run.py", "--only", ",".join(names), "--out", str(out))
    found = json.loads(out.read_text())
    assert set(found) == names
    for name, row in found.items():
        assert set(row) >= FIELDS
        assert f"`{name}`" in shown
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["peer_ms"], abs=2e-3)
        assert row["device"].startswith("cpu") and row["n"] >= 1
        assert 20 < row["ours_peak_mb"] < 20_000 and 20 < row["peer_peak_mb"] < 20_000
    return found


def test_steps_and_scoring(tmp_path: Path) -> None:
    found = measured({"student_vs_stock", "score_vs_surface_distance"}, tmp_path / "latest.json")
    assert found["student_vs_stock"]["precision"] == "default"


@pytest.mark.slow
def test_commands(tmp_path: Path) -> None:
    found = measured({"preprocess_vs_nnunet", "predict_vs_nnunet"}, tmp_path / "latest.json")
    assert found["preprocess_vs_nnunet"]["cases"] >= 2
    assert found["predict_vs_nnunet"]["cases"] >= 1


def test_gpu_script_on_a_cpu(tmp_path: Path) -> None:
    shown = run_script("gpu.py", "--only", "frozen", "--out", str(tmp_path / "gpu.json"))
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [(row["precision"], row["on_device"]) for row in rows] == [
        *(("default", True), ("default", False), ("bf16", True), ("bf16", False))
    ]
    assert all(row["images_per_s"] > 0 and row["tflop_per_step"] > 0 for row in rows)
    assert "| frozen | bf16 | off | loaded |" in shown


def test_the_table_stands_between_the_readme_s_markers(tmp_path: Path) -> None:
    from measure import entry
    from run import write_readme

    readme = tmp_path / "README.md"
    text = (BENCH / "README.md").read_text()
    readme.write_text(text)
    peaks = {"ours_peak_mb": 1, "peer_peak_mb": 2}
    write_readme(readme, {"joint_vs_sum": entry([1.0, 3.0], [2.0, 4.0], measured="2026-01-01", **peaks)})
    before, after = text.split("<!-- measured:start -->")[0], text.split("<!-- measured:end -->")[1]
    table = readme.read_text().removeprefix(before).removesuffix(after)
    assert table.startswith("<!-- measured:start -->\nMeasured 2026-01-01 by `make bench` on: cpu")
    assert "| `joint_vs_sum` | 0.67 | ≤ 0.95 |" in table and "student_vs_stock" not in table
    assert "<!-- gpu:start -->" in after


def test_the_library_s_step_times_name_what_cost_reads() -> None:
    from run import EVERY

    entries = json.loads(STEP_TIMES.read_text())
    assert set(entries) <= set(EVERY)
    for row in entries.values():
        assert set(row) >= FIELDS
        load_budget(row["budget"])


def test_an_entry_is_the_ratio_of_medians_with_the_spread_of_pairs() -> None:
    from measure import entry

    found = entry([10.0, 12.0, 11.0, 100.0, 9.0], [20.0] * 5)
    assert (found["ratio"], found["ours_ms"], found["peer_ms"], found["n"]) == (0.55, 11.0, 20.0, 5)
    assert found["spread"] == pytest.approx((0.6 - 0.5) / 2 / 0.55, abs=1e-3)


def test_turns_change_their_order_and_the_warm_up_is_not_counted() -> None:
    from measure import take_turns

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name, self.times = name, []

        def answer(self) -> None:
            pass

        def step(self) -> None:
            order.append(self.name)
            self.times.append(float(len(order)))

        def end(self) -> None:
            order.append("end")

    order: list[str] = []
    processes = [Recorder("a"), Recorder("b")]
    take_turns(processes, 2, 4)
    assert [len(process.times) for process in processes] == [4, 4]
    assert order[12:] == ["end", "end"]
    rounds = ["".join(order[start : start + 2]) for start in range(0, 12, 2)]
    assert rounds.count("ab") == rounds.count("ba") == 3


def test_arrays_that_differ_in_one_voxel_stop_the_measurement(tiny_dataset: Path, tmp_path: Path) -> None:
    import blosc2
    from commands import NAME, _same_arrays

    ours = tiny_dataset / "preprocessed" / NAME
    theirs = tmp_path / NAME
    shutil.copytree(ours, theirs)
    assert _same_arrays(ours, theirs) == 4
    file = next(path for path in sorted((theirs / "nnUNetPlans_3d_fullres").glob("*.b2nd")) if "_seg" not in path.name)
    values = blosc2.open(str(file))[:]
    values.flat[0] = np.nextafter(values.flat[0], np.inf, dtype=values.dtype)
    blosc2.asarray(values, urlpath=str(file), mode="w")
    with pytest.raises(SystemExit, match="are not nnU-Net's"):
        _same_arrays(ours, theirs)

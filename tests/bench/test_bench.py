"""The benchmarks run, compare their results with the peer's, and write what readers expect."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from measure import Usage, entry, take_turns
from run import EVERY, write_readme

from crossmodal.data import STEP_TIMES
from crossmodal.experiment.budget import load_budget
from crossmodal.files import write_yaml
from tests.conftest import REPOSITORY, TINY_BUDGET

BENCH = REPOSITORY / "bench"
FIELDS = {"ratio", "ours_ms", "peer_ms", "n", "spread", "device", "ours_peak_mb", "peer_peak_mb", "budget", "measured"}


@pytest.mark.slow
def test_one_step_of_each_kind_and_every_command_is_measured(tmp_path: Path) -> None:
    names = {
        "student_vs_stock",
        "together_per_student",
        "preprocess_vs_nnunet",
        "predict_vs_nnunet",
        "score_vs_surface_distance",
    }
    out = tmp_path / "latest.json"
    # Other tests of this process set nnU-Net's variables; its planner fails where nnUNet_n_proc_DA is 0.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    command = [sys.executable, BENCH / "run.py", "--tiny", "--only", ",".join(names), "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert set(found) == names
    for name, row in found.items():
        assert set(row) >= FIELDS
        assert f"`{name}`" in done.stdout
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["peer_ms"], abs=2e-3)
        assert row["device"].startswith("cpu") and row["n"] >= 1
        assert 20 < row["ours_peak_mb"] < 20_000 and 20 < row["peer_peak_mb"] < 20_000
    assert (found["student_vs_stock"]["precision"], found["student_vs_stock"]["n"]) == ("default", 2)  # no warm-up
    assert found["preprocess_vs_nnunet"]["cases"] >= 2
    assert found["predict_vs_nnunet"]["cases"] >= 1


def test_gpu_script_on_a_cpu(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import gpu

    (tmp_path / "nnunet").symlink_to(tiny_dataset)
    write_yaml(tmp_path / "budget.yaml", TINY_BUDGET)
    built = tmp_path, None, str(tmp_path / "budget.yaml")
    monkeypatch.setattr(gpu, "TINY", SimpleNamespace(built=lambda: nullcontext(built)))
    gpu.main(only="frozen", out=tmp_path / "gpu.json", tiny=True)
    shown = capsys.readouterr().out
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    sources = ("on the device", "loaded", "augmented there")
    expected = [(precision, source) for precision in ("default", "bf16") for source in sources]
    assert [(row["precision"], row["source"]) for row in rows] == expected
    assert all(row["images_per_s"] > 0 and row["tflop_per_step"] > 0 for row in rows)
    assert "| frozen | bf16 | off | loaded |" in shown
    assert "| real_vs_preloaded | frozen, bf16, augmented there |" in shown and "not measured" not in shown
    assert gpu.goals([]).count("not measured") == len(gpu.GOALS)


def test_the_table_stands_between_the_readme_s_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    text = (BENCH / "README.md").read_text()
    readme.write_text(text)
    ours, peer = [Usage(1.0, 1), Usage(3.0, 1)], [Usage(2.0, 2), Usage(4.0, 2)]
    write_readme(readme, {"joint_vs_sum": entry(ours, peer, measured="2026-01-01")})
    before, after = text.split("<!-- measured:start -->")[0], text.split("<!-- measured:end -->")[1]
    table = readme.read_text().removeprefix(before).removesuffix(after)
    assert table.startswith("<!-- measured:start -->\nMeasured 2026-01-01 by `make bench` on: cpu")
    assert "| `joint_vs_sum` | 0.67 | ≤ 0.95 |" in table and "student_vs_stock" not in table
    assert "<!-- gpu:start -->" in after


def test_the_library_s_step_times_name_what_cost_reads() -> None:
    entries = json.loads(STEP_TIMES.read_text())
    assert set(entries) <= set(EVERY)
    for row in entries.values():
        assert set(row) >= FIELDS
        load_budget(row["budget"])


def test_an_entry_is_the_ratio_of_medians_with_the_spread_of_pairs() -> None:
    ours = [Usage(ms, 5.2) for ms in (10.0, 12.0, 11.0, 100.0, 9.0)]
    found = entry(ours, [Usage(15.0, 3.0)] * 5, [Usage(5.0, 4.4)] * 5)
    assert (found["ratio"], found["ours_ms"], found["peer_ms"], found["n"]) == (0.55, 11.0, 20.0, 5)
    assert found["spread"] == pytest.approx((0.6 - 0.5) / 2 / 0.55, abs=1e-3)
    assert (found["ours_peak_mb"], found["peer_peak_mb"]) == (5, 4)


def test_turns_change_their_order() -> None:
    number = count()
    found = take_turns({"a": lambda: next(number), "b": lambda: next(number)}, 6)
    assert sorted(found["a"] + found["b"]) == list(range(12))
    assert [sorted(pair) for pair in zip(*found.values(), strict=True)] == [[n, n + 1] for n in range(0, 12, 2)]
    assert sum(a < b for a, b in zip(*found.values(), strict=True)) == 3


def test_arrays_that_differ_in_one_voxel_stop_the_measurement(tiny_dataset: Path, tmp_path: Path) -> None:
    import blosc2
    from commands import NAME, same_arrays

    ours = tiny_dataset / "preprocessed" / NAME
    theirs = tmp_path / NAME
    shutil.copytree(ours, theirs)
    assert same_arrays(ours, theirs) == 4
    file = next(path for path in sorted((theirs / "nnUNetPlans_3d_fullres").glob("*.b2nd")) if "_seg" not in path.name)
    values = blosc2.open(str(file))[:]
    values.flat[0] = np.nextafter(values.flat[0], np.inf, dtype=values.dtype)
    blosc2.asarray(values, urlpath=str(file), mode="w")
    with pytest.raises(SystemExit, match="are not nnU-Net's"):
        same_arrays(ours, theirs)


def test_the_loader_script_compares_with_nnunet_s_loader(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import loader

    from crossmodal.train import batches

    (tmp_path / "nnunet").symlink_to(tiny_dataset)
    write_yaml(tmp_path / "budget.yaml", TINY_BUDGET)
    built = tmp_path, None, str(tmp_path / "budget.yaml")
    monkeypatch.setattr(loader, "TINY", SimpleNamespace(built=lambda: nullcontext(built)))
    monkeypatch.setattr(batches, "KEPT_AT_MOST", batches.KEPT_AT_MOST)
    loader.main(out=tmp_path / "loader.json", tiny=True)
    found = json.loads((tmp_path / "loader.json").read_text())
    assert [(row["batches"], row["workers"]) for row in found["per_second"]] == [("augmented", 1), ("not augmented", 1)]
    assert all(row["ours"] > 0 and row["nnunet"] > 0 for row in found["per_second"])
    assert "| augmented | 1 |" in capsys.readouterr().out
    assert loader.FULL_SIZE.budget.patch_size == [128, 128, 128]

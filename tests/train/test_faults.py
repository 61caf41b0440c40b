"""What goes wrong around a training ends in one clear message, and leaves nothing half-written under a final name."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import blosc2
import numpy as np
import pytest
import torch
import yaml

from crossmodal.errors import UserError
from crossmodal.nnunet.dataset import NAME
from crossmodal.nnunet.export import read_checkpoint
from crossmodal.train import state as states
from crossmodal.train.distillation import DistillationTrainer
from tests.conftest import REPOSITORY, TINY_BUDGET
from tests.train.trainings import cut_off_run, mounted, recipe_of, resumed_from, run, save_after_each_step


@pytest.fixture
def dataset(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "dataset", symlinks=True))


def cut_off_in_the_middle(monkeypatch: pytest.MonkeyPatch, dataset: Path, out: Path) -> None:
    """Train to step 4 and leave the state of it."""
    cut_off_run(monkeypatch, DistillationTrainer, "train_step", 5, "student", "t2", dataset, out)


def state_of(model: Path) -> dict:
    state, _ = states.load_state(model / "fold_0" / "state")
    return state


@pytest.mark.parametrize(
    ("change", "difference", "remedy"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now", "delete"),
        ({"threads": 2}, "budget.threads: 1 there, 2 now", "delete"),
        ({"recipe": recipe_of("student", seg_weight=0.5)}, "recipe.seg_weight: 1 there, 0.5 now", "delete"),
        ({"dataset": "other"}, "dataset_sha256", "delete"),
        ({"patch_size": [32, 32, 32]}, "patch_size.0: 16 there, 32 now", "build the dataset for this one"),
    ],
    ids=["seed", "config", "recipe", "dataset", "budget of the dataset"],
)
def test_a_state_of_another_training_is_refused_with_the_difference(
    change: dict, difference: str, remedy: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off_in_the_middle(monkeypatch, dataset, tmp_path / "m")
    if change.pop("dataset", None):
        manifest = dataset / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"dataset_sha256": "', '"dataset_sha256": "0'))
    with pytest.raises(UserError, match="was made with other settings") as refused:
        run("student", "t2", dataset, tmp_path / "m", **change)
    assert difference in str(refused.value) and remedy in str(refused.value)


def test_a_loss_that_is_not_a_number_names_the_cases_and_keeps_the_last_good_state(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off_in_the_middle(monkeypatch, dataset, tmp_path / "m")
    before = state_of(tmp_path / "m")
    arrays = next((dataset / "preprocessed" / NAME).glob("nnUNetPlans_*"))
    for path in arrays.glob("*[0-9].b2nd"):
        array = np.full_like(blosc2.open(str(path))[:], np.nan)
        path.unlink()
        blosc2.asarray(array, urlpath=str(path))
    with pytest.raises(UserError, match="the loss is not a number after step 5") as stopped:
        run("student", "t2", dataset, tmp_path / "m")
    assert any(path.stem in str(stopped.value) for path in arrays.glob("*.pkl"))
    assert "seg_student nan" in str(stopped.value)
    after = state_of(tmp_path / "m")
    assert after["step_in_epoch"] == before["step_in_epoch"]
    assert all(torch.isfinite(tensor).all() for tensor in after["networks"]["student"].values())


@pytest.mark.parametrize("spoilt_at", [3, 9])
def test_spoilt_weights_displace_no_good_state_and_become_no_model(
    spoilt_at: int, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = DistillationTrainer.train_step

    def spoil(self: DistillationTrainer, batch: dict) -> dict:
        output = step(self, batch)  # its loss was taken before the weights moved
        if self._steps_done() + 1 == spoilt_at:
            next(self.network.parameters()).data.fill_(float("nan"))
        return output

    if spoilt_at == 3:
        save_after_each_step(monkeypatch)  # else nothing is saved before the end
    monkeypatch.setattr(DistillationTrainer, "train_step", spoil)
    with pytest.raises(UserError, match=f"a weight is not a number after step {spoilt_at}"):
        run("student", "t2", tiny_dataset, tmp_path / "m", save_every_minutes=1e-9 if spoilt_at == 3 else 60)
    if spoilt_at == 3:
        assert state_of(tmp_path / "m")["step_in_epoch"] == 2
    assert not (tmp_path / "m" / "fold_0" / "checkpoint_final.pth").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_that_is_removed_while_training(
    workers: int, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = DistillationTrainer.train_step

    def remove_first(self: DistillationTrainer, batch: dict) -> dict:
        shutil.rmtree(dataset, ignore_errors=True)
        return step(self, batch)

    save_after_each_step(monkeypatch)
    monkeypatch.setattr(DistillationTrainer, "train_step", remove_first)
    long = {"loader_workers": workers, "steps_per_epoch": 30}  # more than the workers have ready
    with pytest.raises(UserError, match=r"cannot be read .*: was the dataset moved or removed") as stopped:
        run("student", "t2", dataset, tmp_path / "m", **long)
    assert "BraTS20_Training_" in str(stopped.value) and "Traceback" not in str(stopped.value)
    assert state_of(tmp_path / "m")
    with pytest.raises(UserError, match="missing: build the dataset first"):
        run("student", "t2", dataset, tmp_path / "m", **long)


def test_a_checkpoint_that_is_not_what_was_trained_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    run("student", "t2", tiny_dataset, tmp_path / "m")
    path = tmp_path / "m" / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=True)
    next(iter(checkpoint["network_weights"].values()))[0] += 1
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"its weights are not those that manifest\.json beside it records"):
        read_checkpoint(tmp_path / "m", 0)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "m", 0)


# --- a disk that is full, a folder that cannot be written ---------------------------------------------------------


def test_a_full_disk_keeps_the_last_state_and_the_training_goes_on_when_there_is_room(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("student", "t2", tiny_dataset, tmp_path / "expected")
    with mounted(tmp_path / "disk", "size=100m") as disk:
        student = ("student", "t2", tiny_dataset, disk / "m")
        cut_off_in_the_middle(monkeypatch, tiny_dataset, disk / "m")
        with (disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(bytes(2**16))
                filler.flush()
        with pytest.raises(UserError, match="cannot be written"):  # not even the name of who holds the lock
            run(*student)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - 40_000)
        with pytest.raises(UserError, match=r"the training state could not be saved \(No space left"):
            run(*student)
        assert state_of(disk / "m")["step_in_epoch"] == 1
        (disk / "filler").unlink()
        assert run(*student) == expected
        assert resumed_from(disk / "m")[-1] == 4


def test_a_read_only_folder(tiny_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    read_only = nullcontext(folder.mkdir(mode=0o555)) if os.geteuid() else mounted(folder, "ro")
    refused = pytest.raises(UserError, match=r"cannot be written \((Read-only file system|Permission denied)\)")
    with read_only, refused:
        run("student", "t2", tiny_dataset, folder / "m")


@pytest.mark.parametrize(
    ("save_every", "message"),
    [("0", "fold_0/state: the training state could not be saved (File too large)"),
     ("60", "fold_0/checkpoint_final.pth: File too large: raise the limit on the size of a file")],
    ids=["state", "checkpoint"],
)  # fmt: skip
def test_the_command_line_says_it_in_one_message(
    save_every: str, message: str, tiny_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY_BUDGET))
    code = (
        "import resource, sys; from crossmodal import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, 2**15))\n"
        "sys.argv[0] = 'crossmodal'; cli.main()"
    )
    command = [sys.executable, "-c", code, "train", "--method", "student", "--modalities", "t2", "--device", "cpu"]
    command += ["--save-every", save_every, "--budget", str(tmp_path / "tiny.yaml")]
    command += ["--dataset", str(tiny_dataset), "--out", str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 1
    assert message in done.stderr and "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("crossmodal: ") == 1
    left = {path.name for path in (tmp_path / "m").rglob("*") if path.is_file()}
    assert not {"checkpoint_final.pth", "manifest.json", "state.pt"} & left
    assert not any(name.startswith(".writing-") for name in left)

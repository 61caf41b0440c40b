"""nnU-Net's trainer with a budget, fixed random streams, and a state that survives being killed."""

import csv
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from crossmodal.errors import UserError
from crossmodal.files import atomic_path, write_json
from crossmodal.nnunet import resume
from crossmodal.nnunet.loading import batches_in_order
from crossmodal.nnunet.seeds import derive_seed, random_state, seed_everything, set_random_state
from crossmodal.progress import remaining

REGIONS = ("WT", "TC", "ET")
# A state is saved at most this often in proportion to what saving costs: below 1% of the training's time.
SAVE_AT_MOST = 1 / 120


class ReproducibleTrainer(nnUNetTrainer):
    """nnUNetTrainer whose batches, weights and logs follow from (settings, seed) and can be interrupted.

    The settings travel in `plans["distillation"]`, since nnU-Net's constructor takes no further arguments:
    seed, budget, and what a subclass needs. `open_output` must be called before `run_training`.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device,
    ) -> None:
        # nnU-Net writes a log and asks for a results folder as soon as it is constructed; the real one comes
        # with open_output.
        with tempfile.TemporaryDirectory() as scratch, redirect_stdout(None):
            os.environ["nnUNet_results"] = scratch
            super().__init__(plans | {"continue_training": False}, configuration, fold, dataset_json, device)
        self.settings = plans["distillation"]
        self.budget = self.settings["budget"]
        self.seed = int(self.settings["seed"])
        self.num_epochs = self.budget["epochs"]
        self.num_iterations_per_epoch = self.budget["steps_per_epoch"]
        self.num_val_iterations_per_epoch = self.budget["val_steps_per_epoch"]
        if self.budget["precision"] != "default":
            self.grad_scaler = None
        torch.set_num_threads(self.budget["threads"])
        self.step_in_epoch = 0
        self.train_outputs: list[dict] = []
        self.epoch_terms: dict[str, float] = {}
        self.resumed_from = 0
        self.train_seconds = 0.0
        self.step_seconds: list[float] = []
        self._signal: int | None = None

    # --- outputs ----------------------------------------------------------------------------------------------

    def open_output(self, model: Path, identity: dict[str, Any]) -> None:
        """Set the model folder and what identifies this training (what a state must agree with)."""
        self.output_folder_base = str(model)
        self.output_folder = str(model / f"fold_{self.fold}")
        self.folder = Path(self.output_folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for half_written in self.folder.rglob(".writing-*"):  # left by a process that was killed
            half_written.unlink(missing_ok=True)
        self.log_file = str(self.folder / "training_log.txt")
        self.identity = identity

    def print_to_log_file(
        self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True
    ) -> None:
        """nnU-Net's log goes to its file alone; the console shows progress."""
        super().print_to_log_file(*args, also_print_to_console=False, add_timestamp=add_timestamp)

    def _do_i_compile(self) -> bool:
        return (
            bool(self.budget["compile"]) and self.device.type == "cuda" if hasattr(self, "budget") else False
        )

    # --- data -------------------------------------------------------------------------------------------------

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split; with no validation fold (too few cases) a training case is reused for validation."""
        splits = json.loads((Path(self.preprocessed_dataset_folder_base) / "splits_final.json").read_text())
        if splits:
            if self.fold >= len(splits):
                raise UserError(
                    f"fold {self.fold} is asked for, but the cohort has the folds 0 to {len(splits) - 1}"
                )
            return list(splits[self.fold]["train"]), list(splits[self.fold]["val"])
        cases = sorted(self.dataset_class.get_identifiers(self.preprocessed_dataset_folder))
        note = f"too few cases for folds: all {len(cases)} train, and validation reuses the training case {cases[0]}"
        print(note, file=sys.stderr)
        self.print_to_log_file(note)
        return cases, cases[:1]

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders; with worker processes in a fixed order, else in this process on its one stream."""
        os.environ["nnUNet_n_proc_DA"] = "0"
        train, val = super().get_dataloaders()
        workers = self.budget["loader_workers"]
        if workers == 0:
            return train, val
        pin = self.device.type == "cuda"
        done = self.current_epoch * self.num_iterations_per_epoch + self.step_in_epoch
        total = self.num_epochs * self.num_iterations_per_epoch
        total_val = self.num_epochs * self.num_val_iterations_per_epoch
        done_val = self.current_epoch * self.num_val_iterations_per_epoch
        stream = derive_seed(self.seed, "batches")
        return (
            batches_in_order(train.data_loader, derive_seed(stream, "train"), done, total, workers, pin),
            batches_in_order(
                val.data_loader, derive_seed(stream, "val"), done_val, total_val, max(1, workers // 4), pin
            ),
        )

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        """nnU-Net's augmentation; the blur's choice of method by timing is off, since it differs between runs."""
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        switch_off_benchmark(transforms)
        return transforms

    # --- precision --------------------------------------------------------------------------------------------

    def autocast(self) -> Any:
        """nnU-Net's own autocast by default; the budget's otherwise."""
        precision = self.budget["precision"]
        if precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        if precision == "default" and self.device.type == "cuda":
            return torch.autocast("cuda")
        return nullcontext()

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move an image batch to the device, in the budget's memory format."""
        tensor = tensor.to(self.device, non_blocking=True)
        if self.budget["memory_format"] == "channels_last_3d":
            tensor = tensor.to(memory_format=torch.channels_last_3d)
        return tensor

    # --- the loop ---------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Seed the one stream that batches are drawn from, open the data, and take up a state if there is one."""
        if not self.was_initialized:
            self.initialize()
        state, messages = resume.load_state(self.folder / "state")
        for message in messages:
            print(message, file=sys.stderr)
        if state is not None:
            self._take_up(state)
        seed_everything(derive_seed(self.seed, "batches"))
        self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        self.set_deep_supervision_enabled(self.enable_deep_supervision)
        if state is not None:
            set_random_state(state["random"])
        self._open_progress()
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._last_save = time.monotonic()
        self._save_cost = 0.0

    def run_training(self) -> None:
        """nnU-Net's loop, one batch at a time, so that it can stop and go on anywhere."""
        self.on_train_start()
        self._started, self._steps_at_start = time.monotonic(), self._steps_done()
        while self.current_epoch < self.num_epochs:
            if self.step_in_epoch == 0:
                self.on_epoch_start()
                self.on_train_epoch_start()
                self.train_outputs = []
            else:
                self._train_mode()
            while self.step_in_epoch < self.num_iterations_per_epoch:
                start = time.monotonic()
                batch = next(self.dataloader_train)
                output = self.train_step(batch)
                self._refuse_nan(output, batch)
                self.train_outputs.append(output)
                self.step_in_epoch += 1
                self.step_seconds.append(time.monotonic() - start)
                self.train_seconds += self.step_seconds[-1]
                self._save_when_due()
            self._validate()
            self.on_epoch_end()
            self._save_when_due()

    def _validate(self) -> None:
        start, before = time.monotonic(), random_state()
        self.on_validation_epoch_start()
        outputs = []
        with torch.no_grad():
            for _ in range(self.num_val_iterations_per_epoch):
                outputs.append(self.validation_step(next(self.dataloader_val)))
                if self._signal is not None:  # the state that is saved is the one before the validation
                    now = random_state()
                    set_random_state(before)
                    self._save_when_due()
                    set_random_state(now)
        self.on_train_epoch_end(self.train_outputs)
        self.on_validation_epoch_end(outputs)
        self.train_seconds += time.monotonic() - start

    def _train_mode(self) -> None:
        self.network.train()

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log the epoch's mean of each loss term."""
        names = list(dict.fromkeys(name for output in train_outputs for name in output))
        self.epoch_terms = {
            name: float(np.nanmean([output[name] for output in train_outputs if name in output]))
            for name in names
        }
        self.logger.log("train_losses", self.epoch_terms["loss"], self.current_epoch)

    def on_epoch_end(self) -> None:
        """A row of progress.csv, a line for the reader, and no plot."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        dice = [float(value) for value in self.logger.get_value("dice_per_class_or_region", -1)]
        terms = self.epoch_terms | {
            "lr": float(self.logger.get_value("lrs", -1)),
            "val_loss": float(self.logger.get_value("val_losses", -1)),
            **{f"val_dice_{region}": value for region, value in zip(REGIONS, dice, strict=True)},
        }
        self.current_epoch += 1
        self.step_in_epoch = 0
        self._append_progress(terms)
        done = self._steps_done() - self._steps_at_start
        total = self.num_epochs * self.num_iterations_per_epoch - self._steps_at_start
        print(
            f"epoch {self.current_epoch}/{self.num_epochs}  loss {terms['loss']:.4f}  val Dice "
            + " ".join(f"{region} {value:.2f}" for region, value in zip(REGIONS, dice, strict=True))
            + f"  {remaining(self._started, done, total)}",
            file=sys.stderr,
            flush=True,
        )

    def _steps_done(self) -> int:
        return self.current_epoch * self.num_iterations_per_epoch + self.step_in_epoch

    def _refuse_nan(self, output: dict, batch: dict) -> None:
        if not np.isfinite(output["loss"]):
            terms = ", ".join(f"{name} {value}" for name, value in output.items())
            raise UserError(
                f"{self.folder}: the loss is not a number at step {self._steps_done() + 1} ({terms}); the batch's cases: "
                f"{', '.join(map(str, batch['keys']))}. Look at these cases, or lower the weights of the recipe; "
                f"the last good state is kept"
            )

    # --- progress.csv -----------------------------------------------------------------------------------------

    def _open_progress(self) -> None:
        """Keep the rows up to the state that is taken up: the epochs after it are trained again."""
        path = self.folder / "progress.csv"
        rows = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
        kept = [row for row in rows if row["epoch"].isdigit() and int(row["epoch"]) <= self.current_epoch]
        self._progress_rows = kept
        if len(kept) < len(rows):
            self._write_progress()

    def _append_progress(self, terms: dict[str, float]) -> None:
        row = {
            "epoch": self.current_epoch,
            "step": self._steps_done(),
            "resumed_from": self.resumed_from,
            "time": f"{time.time():.3f}",
        } | {name: f"{value:.9g}" for name, value in terms.items()}
        self._progress_rows.append(row)
        self._write_progress()

    def _write_progress(self) -> None:
        columns = list(dict.fromkeys(name for row in self._progress_rows for name in row))
        with (
            atomic_path(self.folder / "progress.csv") as temporary,
            temporary.open("w", newline="") as stream,
        ):
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(self._progress_rows)

    # --- state ------------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, torch.nn.Module]:
        """Everything with weights that training changes, by name."""
        return {"network": self.network}

    def extra_state(self) -> dict[str, Any]:
        """What a subclass adds to the state, in types that weights_only loading reads."""
        return {}

    def take_up_extra(self, extra: dict[str, Any]) -> None:
        """Restore what `extra_state` returned."""

    def plain_log(self) -> dict[str, Any]:
        """nnU-Net's log of each epoch, as plain numbers."""
        return _plain(self.logger.get_checkpoint())

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "identity": json.dumps(self.identity),
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.grad_scaler.state_dict() if self.grad_scaler is not None else None,
            "epoch": self.current_epoch,
            "step_in_epoch": self.step_in_epoch,
            "train_outputs": self.train_outputs,
            "logging": self.plain_log(),
            "train_seconds": self.train_seconds,
            "step_seconds": self.step_seconds[-1000:],
            "extra": self.extra_state(),
            "random": random_state(),
        }

    def _take_up(self, state: dict[str, Any]) -> None:
        where = self.folder / "state"
        resume.refuse_other(
            json.loads(state["identity"]),
            self.identity,
            where,
            f"To start anew, delete {where}; or use another --out.",
        )
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.grad_scaler is not None:
            self.grad_scaler.load_state_dict(state["grad_scaler"])
        self.current_epoch, self.step_in_epoch = state["epoch"], state["step_in_epoch"]
        self.train_outputs = state["train_outputs"]
        self.logger.load_checkpoint(state["logging"])
        self.train_seconds, self.step_seconds = state["train_seconds"], state["step_seconds"]
        self.take_up_extra(state["extra"])
        self.resumed_from = self._steps_done()
        print(f"going on from step {self.resumed_from} (epoch {self.current_epoch})", file=sys.stderr)

    def save_state(self) -> None:
        """Write the state now."""
        start = time.monotonic()
        resume.save_state(self.folder / "state", self.state())
        self._last_save = time.monotonic()
        self._save_cost = self._last_save - start

    def _save_when_due(self) -> None:
        interval = max(60 * self.budget["save_every_minutes"], self._save_cost / SAVE_AT_MOST)
        if self._signal is not None or time.monotonic() - self._last_save >= interval:
            self.save_state()
        if self._signal in (signal.SIGTERM, signal.SIGINT):
            print(
                f"stopped at step {self._steps_done()}; the same command goes on from there", file=sys.stderr
            )
            raise SystemExit(128 + self._signal)
        self._signal = None

    def _on_signal(self, number: int, _frame: Any) -> None:
        # SIGUSR1 is Slurm's warning: save and go on; SIGTERM and Ctrl-C: save and stop.
        self._signal = number

    # --- cost -------------------------------------------------------------------------------------------------

    def write_cost(self, method: str, modalities: str) -> None:
        """cost.json: seconds of training, median step in ms, peak memory in MB, device."""
        cuda = self.device.type == "cuda"
        peak = (
            torch.cuda.max_memory_allocated() / 2**20
            if cuda
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        )
        write_json(
            self.folder / "cost.json",
            {
                "method": method,
                "modalities": modalities,
                "train_s": round(self.train_seconds, 2),
                "step_ms": round(1000 * statistics.median(self.step_seconds), 2),
                "peak_mem_mb": round(peak),
                "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
            },
        )


def switch_off_benchmark(transforms: Any) -> None:
    """Make nnU-Net's Gaussian blur choose its method by size rather than by timing, wherever it is nested."""
    if isinstance(transforms, GaussianBlurTransform):
        transforms.benchmark = False
    for inner in getattr(transforms, "transforms", []):
        switch_off_benchmark(inner)
    if hasattr(transforms, "transform"):
        switch_off_benchmark(transforms.transform)


def _plain(value: Any) -> Any:
    """NumPy numbers as Python's, which weights_only loading reads."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic | np.ndarray) else value

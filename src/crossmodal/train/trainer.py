"""nnU-Net's trainer with a budget, fixed random streams, and a state that survives being killed."""

import json
import tempfile
import time
from contextlib import redirect_stdout, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from crossmodal.domain import REGIONS
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget
from crossmodal.files import remove_half_written
from crossmodal.nnunet.environment import environment
from crossmodal.progress import remaining, say
from crossmodal.train import state as states
from crossmodal.train.batches import CheckedCases, batches_in_order, cached_thread_limits
from crossmodal.train.precision import Precision
from crossmodal.train.progress_table import ProgressTable
from crossmodal.train.reproducibility import derive_seed, random_state, seed_everything, set_random_state
from crossmodal.train.saving import Saving
from crossmodal.train.signals import Interruption
from crossmodal.train.transforms import speed_up, switch_off_benchmark


class ReproducibleTrainer(Saving, Precision, nnUNetTrainer):
    """nnUNetTrainer whose batches, weights and logs follow from (settings, seed) and can be interrupted.

    The settings are in `plans["distillation"]`, since nnU-Net's constructor takes no further arguments: seed, budget,
    dataset (the experiment's nnunet/ folder), and what a subclass needs. `open_output` must be called before
    `run_training`.
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        settings = plans["distillation"]
        # nnU-Net writes a log and asks for a results folder as soon as it is constructed; the real one comes
        # with open_output.
        with (
            tempfile.TemporaryDirectory() as scratch,
            redirect_stdout(None),
            environment(nnUNet_preprocessed=Path(settings["dataset"], "preprocessed"), nnUNet_results=scratch),
        ):
            super().__init__(plans | {"continue_training": False}, configuration, fold, dataset_json, device)
        self.settings = settings
        self.budget = Budget.parse(settings["budget"], "the training's budget")
        self.seed = int(self.settings["seed"])
        self.num_epochs = self.budget.epochs
        self.num_iterations_per_epoch = self.budget.steps_per_epoch
        self.num_val_iterations_per_epoch = self.budget.val_steps_per_epoch
        if self.budget.precision != "default":
            self.grad_scaler = None
        torch.set_num_threads(self.budget.threads)
        self.step_in_epoch = 0
        self.train_outputs: list[dict] = []
        self.epoch_terms: dict[str, float] = {}
        self.resumed_from = 0
        self.train_seconds = 0.0
        self.step_seconds: list[float] = []
        self.interruption = Interruption()
        self._last_cases = "none yet"

    # --- outputs ----------------------------------------------------------------------------------------------

    def open_output(self, model: Path, identity: dict[str, Any]) -> None:
        """Set where the training writes.

        Args:
            model: the model folder.
            identity: what identifies this training; a state must agree with it.
        """
        self.output_folder_base = str(model)
        self.output_folder = str(model / f"fold_{self.fold}")
        self.folder = Path(self.output_folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_half_written(self.folder)
        self.log_file = str(self.folder / "training_log.txt")
        self.identity = identity

    def print_to_log_file(self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        """nnU-Net's log goes to its file alone; the console shows progress. A log that cannot be written is no loss."""
        stamp = [f"{datetime.now()}:"] if add_timestamp else []
        with suppress(OSError), Path(self.log_file).open("a", encoding="utf-8") as stream:
            print(*stamp, *args, file=stream)

    # --- data -------------------------------------------------------------------------------------------------

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split; with no validation fold (too few cases) a training case is reused for validation."""
        splits = json.loads((Path(self.preprocessed_dataset_folder_base) / "splits_final.json").read_text())
        if splits:
            if self.fold >= len(splits):
                raise UserError(f"fold {self.fold} is asked for, but the cohort has the folds 0 to {len(splits) - 1}")
            return list(splits[self.fold]["train"]), list(splits[self.fold]["val"])
        cases = sorted(self.dataset_class.get_identifiers(self.preprocessed_dataset_folder))
        note = f"too few cases for folds: all {len(cases)} train, and validation reuses the training case {cases[0]}"
        say(note)
        self.print_to_log_file(note)
        return cases, cases[:1]

    def get_tr_and_val_datasets(self) -> tuple[CheckedCases, CheckedCases]:
        """nnU-Net's training and validation cases."""
        train, val = super().get_tr_and_val_datasets()
        return CheckedCases(train), CheckedCases(val)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders; with worker processes in a fixed order, else in this process on its one stream."""
        with environment(nnUNet_n_proc_DA="0"):
            train, val = super().get_dataloaders()
        workers = self.budget.loader_workers
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
        speed_up(transforms)
        return transforms

    @staticmethod
    def get_validation_transforms(*args: Any, **kwargs: Any) -> Any:
        """nnU-Net's."""
        transforms = nnUNetTrainer.get_validation_transforms(*args, **kwargs)
        speed_up(transforms)
        return transforms

    # --- the loop ---------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Seed the one stream that batches are drawn from, open the data, and restore a state if there is one."""
        if not self.was_initialized:
            self.initialize()
        state, messages = states.load_state(self.folder / "state")
        for message in messages:
            say(message)
        if state is not None:
            self.restore(state)
            self.resumed_from = self._steps_done()
            say(f"going on from step {self.resumed_from} (epoch {self.current_epoch})")
        seed_everything(derive_seed(self.seed, "batches"))
        self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        self.set_deep_supervision_enabled(self.enable_deep_supervision)
        if state is not None:
            set_random_state(state["random"])
        self.progress = ProgressTable(self.folder / "progress.csv", self.current_epoch, self.resumed_from)
        self._last_save, self._save_cost = time.monotonic(), 0.0

    def run_training(self) -> None:
        """nnU-Net's loop, one batch at a time, so that it can stop and go on anywhere.

        Raises:
            UserError: the loss or a weight is not a number; data cannot be read; a state cannot be written.
            SystemExit: a signal asked to stop; the state is saved.
        """
        with self.interruption, cached_thread_limits():
            try:
                self._run_training()
            except (RuntimeError, EOFError, ConnectionError) as error:
                # A worker that is killed while it hands over a batch breaks the connection to it.
                if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
                    raise
                raise UserError(
                    f"{self.folder}: a process that loads batches was killed, perhaps for want of memory ({error}): "
                    f"lower the budget's loader_workers or give the job more memory, then run the same command: "
                    f"the training goes on from the last state that was saved"
                ) from None
            finally:
                self.dataloader_train = self.dataloader_val = None  # ends the workers

    def _run_training(self) -> None:
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
                self._one_step()
                self.save_when_due()
            self._validate()
            self.on_epoch_end()
            self.save_when_due()
        self.require_finite()

    def _one_step(self) -> None:
        start = time.monotonic()
        batch = next(self.dataloader_train)
        output = self.train_step(batch)
        self.step_in_epoch += 1
        self._last_cases = ", ".join(map(str, batch["keys"]))
        if not np.isfinite(output["loss"]):
            self.refuse_nan("the loss", ", ".join(f"{name} {value:g}" for name, value in output.items()))
        self.train_outputs.append(output)
        self.step_seconds.append(time.monotonic() - start)
        self.train_seconds += self.step_seconds[-1]

    def _validate(self) -> None:
        start, before = time.monotonic(), random_state()
        self.on_validation_epoch_start()
        outputs = []
        with torch.no_grad():
            for _ in range(self.num_val_iterations_per_epoch):
                outputs.append(self.validation_step(next(self.dataloader_val)))
                if self.interruption.number is not None:  # what is saved is the state before the validation
                    now = random_state()
                    set_random_state(before)
                    self.save_when_due()
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
            name: float(np.nanmean([output[name] for output in train_outputs if name in output])) for name in names
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
        self.progress.append(self.current_epoch, self._steps_done(), terms)
        done = self._steps_done() - self._steps_at_start
        total = self.num_epochs * self.num_iterations_per_epoch - self._steps_at_start
        say(
            f"epoch {self.current_epoch}/{self.num_epochs}  loss {terms['loss']:.4f}  val Dice "
            + " ".join(f"{region} {value:.2f}" for region, value in zip(REGIONS, dice, strict=True))
            + f"  {remaining(self._started, done, total)}"
        )

    def _steps_done(self) -> int:
        return self.current_epoch * self.num_iterations_per_epoch + self.step_in_epoch

"""nnU-Net's trainer with a budget, fixed random streams, and a state that survives being killed."""

import json
import tempfile
import time
from contextlib import nullcontext, redirect_stdout, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from crossmodal.domain import REGIONS
from crossmodal.errors import UserError
from crossmodal.experiment.budget import Budget
from crossmodal.files import atomic_path, remove_half_written
from crossmodal.nnunet.environment import environment
from crossmodal.progress import say
from crossmodal.train import state as states
from crossmodal.train.batches import CheckedCases, PatchLoader, augmented_on, batches_in_order
from crossmodal.train.reproducibility import derive_seed
from crossmodal.train.saving import Saving
from crossmodal.train.transforms import speed_up, switch_off_benchmark


class ReproducibleTrainer(Saving, nnUNetTrainer):
    """nnUNetTrainer whose batches, weights and logs follow from (settings, seed) and can be interrupted.

    The settings are in `plans["distillation"]`, since nnU-Net's constructor takes no further arguments: seed, budget,
    dataset (the experiment's nnunet/ folder), and what a subclass needs. `open_output` and `initialize` must be called
    before a `TrainingLoop` trains it.
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        self.settings = plans["distillation"]
        # nnU-Net writes a log and asks for a results folder as soon as it is constructed; the real one comes
        # with open_output.
        preprocessed = Path(self.settings["dataset"], "preprocessed")
        with (
            tempfile.TemporaryDirectory() as scratch,
            redirect_stdout(None),
            environment(nnUNet_preprocessed=preprocessed, nnUNet_results=scratch),
        ):
            super().__init__(plans | {"continue_training": False}, configuration, fold, dataset_json, device)
        self.budget = Budget.parse(self.settings["budget"], "the training's budget")
        self.seed = int(self.settings["seed"])
        self.initial_lr = self.budget.learning_rate
        self.num_epochs = self.budget.epochs
        self.num_iterations_per_epoch = self.budget.steps_per_epoch
        self.num_val_iterations_per_epoch = self.budget.val_steps_per_epoch
        if self.budget.precision != "default":
            self.grad_scaler = None
        torch.set_num_threads(self.budget.threads)
        self.step_in_epoch = 0
        self.train_outputs: list[dict] = []
        self.progress: list[dict] = []  # rows of progress.csv
        self.correlations: dict[str, Tensor] = {}  # matrices that are written at the end of the training
        self.train_seconds = 0.0
        self.step_seconds: list[float] = []
        self._last_cases = "none yet"

    # --- outputs ----------------------------------------------------------------------------------------------

    def open_output(self, model: Path, identity: dict[str, Any]) -> None:
        """Set where the training writes.

        Args:
            model: the model folder.
            identity: what identifies this training; a state must agree with it.
        """
        self.folder = model / f"fold_{self.fold}"
        self.output_folder_base, self.output_folder = str(model), str(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_half_written(self.folder)
        self.log_file = str(self.folder / "training_log.txt")
        self.identity = identity

    def print_to_log_file(self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        """nnU-Net's log goes to its file alone; the console shows progress. A log that cannot be written is no loss."""
        stamp = [f"{datetime.now()}:"] if add_timestamp else []
        with suppress(OSError), Path(self.log_file).open("a", encoding="utf-8") as stream:
            print(*stamp, *args, file=stream)

    # --- how the budget computes ------------------------------------------------------------------------------

    def autocast(self) -> Any:
        """nnU-Net's own autocast by default; the budget's otherwise."""
        if self.budget.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        if self.budget.precision == "default" and self.device.type == "cuda":
            return torch.autocast("cuda")
        return nullcontext()

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move an image batch to the device, in the budget's memory format."""
        tensor = tensor.to(self.device, non_blocking=True)
        if self.budget.memory_format == "channels_last_3d":
            tensor = tensor.to(memory_format=torch.channels_last_3d)
        return tensor

    def placed(self, module: nn.Module) -> nn.Module:
        """The module on the device, in the budget's memory format, compiled where the budget says so."""
        if self.budget.memory_format == "channels_last_3d":
            module = module.to(memory_format=torch.channels_last_3d)
        module = module.to(self.device)
        if self.device.type == "cpu":
            # nnU-Net's act in place on a view, for which autograd copies each gradient three times: 3% of a step.
            for activation in (part for part in module.modules() if isinstance(part, nn.LeakyReLU)):
                activation.inplace = False
        if self._do_i_compile() and hasattr(module, "encoder"):
            for part in (module.encoder, *module.decoder.stages):
                part.compile()  # in place: the names of the weights stay
        return module

    def _do_i_compile(self) -> bool:
        return self.budget.compile and self.device.type == "cuda"

    # --- data -------------------------------------------------------------------------------------------------

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split; with no validation fold (too few cases) a training case is reused for validation."""
        splits = json.loads((Path(self.preprocessed_dataset_folder_base) / "splits_final.json").read_text())
        if splits:
            if self.fold >= len(splits):
                raise UserError(f"fold {self.fold} is asked for, but the cohort has the folds 0 to {len(splits) - 1}")
            return splits[self.fold]["train"], splits[self.fold]["val"]
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
        """nnU-Net's loaders; with a stream for each batch, in a fixed order, else in this process on its one stream."""
        with environment(nnUNet_n_proc_DA="0"):
            train, val = super().get_dataloaders()
        for loader in (train.data_loader, val.data_loader):
            loader.__class__ = PatchLoader
        workers = self.budget.loader_workers
        on_device = self.budget.augment_on == "device"
        if workers == 0 and not on_device:
            return train, val
        train.data_loader.elsewhere = on_device
        stream, pin = derive_seed(self.seed, "batches"), self.device.type == "cuda"
        done, done_val = self._steps_done(), self.current_epoch * self.num_val_iterations_per_epoch
        total_val = self.num_epochs * self.num_val_iterations_per_epoch
        of_train, of_val = derive_seed(stream, "train"), derive_seed(stream, "val")
        batches = batches_in_order(train.data_loader, of_train, done, self._steps(), workers, pin)
        if on_device:
            transforms = train.data_loader.transforms.transforms
            batches = augmented_on(self.device, batches, transforms, derive_seed(stream, "augment"), done)
        val_workers = max(1, workers // 4) if workers else 0
        return batches, batches_in_order(val.data_loader, of_val, done_val, total_val, val_workers, pin)

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

    @property
    def name(self) -> str:
        """What a reader calls this training among others of the same job."""
        return str(self.settings["modalities"])

    @property
    def position(self) -> tuple[int, int]:
        """Epochs done, and steps done in the next one."""
        return self.current_epoch, self.step_in_epoch

    def on_train_start(self) -> None:
        """Restore a state if there is one."""
        state, messages = states.load_state(self.folder / "state")
        for message in messages:
            say(message)
        self.restored_random = None
        if state is not None:
            self.restore(state)
            self.restored_random = state["random"]
            say(f"going on from step {self._steps_done()} (epoch {self.current_epoch})")
        self.resumed_from = self._steps_done()

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, with no outputs yet."""
        super().on_train_epoch_start()
        self.train_outputs = []

    def one_step(self, batch: dict) -> None:
        """Train on one batch.

        Raises:
            NotFiniteError: the loss is not a number.
        """
        output = self.train_step(batch)
        self.step_in_epoch += 1
        self._last_cases = ", ".join(map(str, batch["keys"]))
        if not np.isfinite(output["loss"]):
            self.refuse_nan("the loss", ", ".join(f"{name} {value:g}" for name, value in output.items()))
        self.train_outputs.append(output)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log the epoch's mean of each loss term."""
        names = list(dict.fromkeys(name for output in train_outputs for name in output))
        self.epoch_terms = {
            name: float(np.nanmean([output[name] for output in train_outputs if name in output])) for name in names
        }
        self.logger.log("train_losses", self.epoch_terms["loss"], self.current_epoch)

    def on_epoch_end(self) -> None:
        """A row of progress.csv, and no plot."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        dice = dict(zip(REGIONS, map(float, self.logger.get_value("dice_per_class_or_region", -1)), strict=True))
        terms = self.epoch_terms | {
            "lr": float(self.logger.get_value("lrs", -1)),
            "val_loss": float(self.logger.get_value("val_losses", -1)),
            **{f"val_dice_{region}": value for region, value in dice.items()},
        }
        self.current_epoch += 1
        self.step_in_epoch = 0
        done = self._steps_done()
        row = {"epoch": self.current_epoch, "step": done, "resumed_from": self.resumed_from}
        row |= {"time": f"{time.time():.3f}"} | {name: f"{value:.9g}" for name, value in terms.items()}
        self.progress.append(row)
        with atomic_path(self.folder / "progress.csv") as temporary:
            pd.DataFrame(self.progress).to_csv(temporary, index=False, lineterminator="\r\n")

    def _steps_done(self) -> int:
        return self.current_epoch * self.num_iterations_per_epoch + self.step_in_epoch

    def _steps(self) -> int:
        return self.num_epochs * self.num_iterations_per_epoch

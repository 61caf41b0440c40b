"""The training loop: nnU-Net's, one batch at a time, for one training or for several that share their batches.

Several students of one method, fold and seed draw the same batches from the same stream, so each batch is loaded and
augmented once for all of them. No training step draws from that stream, so each student's weights are those of a
training by itself.
"""

import time
from collections.abc import Callable, Sequence

import torch

from crossmodal.domain import REGIONS
from crossmodal.errors import UserError
from crossmodal.progress import remaining, say
from crossmodal.train.batches import cached_thread_limits
from crossmodal.train.reproducibility import derive_seed, random_state, seed_everything, set_random_state
from crossmodal.train.saving import NotFiniteError
from crossmodal.train.signals import Interruption
from crossmodal.train.trainer import ReproducibleTrainer

# A state is saved at most this often in proportion to what saving costs: below 1% of the training's time.
SAVE_AT_MOST = 1 / 120


class TrainingLoop:
    """Trains several networks side by side, on the same batches.

    Each training has a state of its own. After a kill they may differ by one save: the loop goes on from the one that
    is furthest behind, and the others wait until it has caught up. A training whose loss is no longer a number is set
    aside, and the others go on.

    Args:
        trainers: initialised; alike in dataset, budget, fold and seed.
    """

    def __init__(self, trainers: Sequence[ReproducibleTrainer]) -> None:
        self.trainers = list(trainers)
        self.interruption = Interruption()
        self.faults: list[NotFiniteError] = []

    def run(self) -> list[NotFiniteError]:
        """Train to the end; returns what is wrong with trainings that were set aside, `trainers` being the others.

        Raises:
            UserError: data cannot be read, a state cannot be written, or no training is left.
            SystemExit: a signal asked to stop; the states are saved.
        """
        folder = self.trainers[0].folder
        with self.interruption, cached_thread_limits():
            try:
                self.start()
                while self.epoch < self.epochs and self.trainers:
                    while self.step_in_epoch < self.steps_per_epoch and self.trainers:
                        self.step()
                        self.save_when_due()
                    self.validate()
                    self.save_when_due()
                self._each(list(self.trainers), ReproducibleTrainer.require_finite)
            except (RuntimeError, EOFError, ConnectionError) as error:
                # A worker that is killed while it hands over a batch breaks the connection to it.
                if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
                    raise
                raise UserError(
                    f"{folder}: a process that loads batches was killed, perhaps for want of memory ({error}): "
                    f"lower the budget's loader_workers or give the job more memory, then run the same command: "
                    f"the training goes on from the last state that was saved"
                ) from None
            finally:
                self.train_batches = self.val_batches = None  # ends the workers
        return self.faults

    def start(self) -> None:
        """Restore the states, and the stream of batches where the training that is furthest behind needs it."""
        for trainer in self.trainers:
            trainer.on_train_start()
        last = min(self.trainers, key=lambda trainer: trainer.position)
        self.epochs, self.steps_per_epoch = last.num_epochs, last.num_iterations_per_epoch
        self.val_steps_per_epoch = last.num_val_iterations_per_epoch
        self.save_every = 60 * last.budget.save_every_minutes
        self.epoch, self.step_in_epoch = last.position
        self.first_step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        seed_everything(derive_seed(last.seed, "batches"))
        self.train_batches, self.val_batches = last.get_dataloaders()
        if last.restored_random is not None:
            set_random_state(last.restored_random)
        self.started = self.last_save = time.monotonic()
        self.save_cost = 0.0

    def step(self) -> None:
        """One batch, for each training that is at this step."""
        start, taking = time.monotonic(), self._at_this_step()
        if self.step_in_epoch == 0:
            for trainer in taking:
                trainer.on_epoch_start()
                trainer.on_train_epoch_start()
        batch = self._placed(next(self.train_batches))
        self._each(taking, lambda trainer: trainer.one_step(batch))
        self.step_in_epoch += 1
        seconds = (time.monotonic() - start) / max(1, len(taking))
        for trainer in taking:
            trainer.step_seconds.append(seconds)
            trainer.train_seconds += seconds

    def validate(self) -> None:
        """The validation batches of an epoch, and the epoch's end."""
        start, before, taking = time.monotonic(), random_state(), self._at_this_step()
        outputs: dict[ReproducibleTrainer, list[dict]] = {trainer: [] for trainer in taking}
        for trainer in taking:
            trainer.on_validation_epoch_start()
        with torch.no_grad():
            for _ in range(self.val_steps_per_epoch):
                batch = next(self.val_batches)
                for trainer in taking:
                    outputs[trainer].append(trainer.validation_step(batch))
                if self.interruption.number is not None:  # what is saved is the state before the validation
                    now = random_state()
                    set_random_state(before)
                    self.save_when_due()
                    set_random_state(now)
        for trainer in taking:
            trainer.on_train_epoch_end(trainer.train_outputs)
            trainer.on_validation_epoch_end(outputs[trainer])
        self.epoch, self.step_in_epoch = self.epoch + 1, 0
        for trainer in taking:
            trainer.train_seconds += (time.monotonic() - start) / len(taking)
            trainer.on_epoch_end()
        if taking:
            self._say_epoch(taking)

    def save_when_due(self) -> None:
        """Save when the budget's time has passed or a signal asks for it; stop when a signal asks for that.

        Raises:
            SystemExit: a signal asked to stop; the states are saved.
        """
        interval = max(self.save_every, self.save_cost / SAVE_AT_MOST)
        if self.interruption.number is None and time.monotonic() - self.last_save < interval:
            return
        start = time.monotonic()
        self._each(self._at_this_step(), ReproducibleTrainer.save_state)  # of those ahead, this state lies there
        self.last_save = time.monotonic()
        self.save_cost = self.last_save - start
        self.interruption.saved()
        if self.interruption.stops:
            done = self.epoch * self.steps_per_epoch + self.step_in_epoch
            say(f"stopped at step {done}; the same command goes on from there")
            raise SystemExit(128 + self.interruption.number)

    def _at_this_step(self) -> list[ReproducibleTrainer]:
        return [trainer for trainer in self.trainers if trainer.position == (self.epoch, self.step_in_epoch)]

    def _placed(self, batch: dict) -> dict:
        """The batch on the device, once for all."""
        first = self.trainers[0]
        target = [scale.to(first.device, non_blocking=True) for scale in batch["target"]]
        return batch | {"data": first.to_device(batch["data"]), "target": target}

    def _each(self, trainers: list[ReproducibleTrainer], do: Callable[[ReproducibleTrainer], None]) -> None:
        """Do something for each training; one whose numbers are spoilt is set aside, unless it is the only one."""
        for trainer in trainers:
            try:
                do(trainer)
            except NotFiniteError as fault:
                self.faults.append(fault)
                self.trainers.remove(trainer)
                if not self.trainers:
                    raise UserError("\n".join(map(str, self.faults))) from None
                say(f"{fault}; the other students go on")

    def _say_epoch(self, taking: list[ReproducibleTrainer]) -> None:
        done = self.epoch * self.steps_per_epoch
        left = remaining(self.started, done - self.first_step, self.epochs * self.steps_per_epoch - self.first_step)
        rows = [trainer.progress[-1] for trainer in taking]
        if len(taking) == 1:
            scores = " ".join(f"{region} {float(rows[0][f'val_dice_{region}']):.2f}" for region in REGIONS)
            news = f"loss {float(rows[0]['loss']):.4f}  val Dice {scores}"
        else:
            losses = (f"{t.name} {float(row['loss']):.3f}" for t, row in zip(taking, rows, strict=True))
            news = f"loss {', '.join(losses)}"
        say(f"epoch {self.epoch}/{self.epochs}  {news}  {left}")

"""The distillation trainer: nnU-Net's training step for students, with a teacher and the terms that compare them.

Every training loads and augments all four channels exactly as stock nnU-Net does; each network then takes
what it sees from that batch. So a student alone, a joint run and a run of several students see the same data.
"""

from typing import Any

import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import Tensor, nn

from crossmodal.distill import BarlowTwins, Features, drop_modalities, labels_from_regions, make_loss, random_subsets
from crossmodal.distill import features as taps
from crossmodal.domain import MODALITIES, channels_of, parse_subset
from crossmodal.errors import UserError
from crossmodal.experiment.recipe import Recipe
from crossmodal.experiment.recipe import Term as TermSettings
from crossmodal.train.networks import CrossEntropy, Network, OutputsOnly, Student, Term, gradient_ratio
from crossmodal.train.reproducibility import derive_seed
from crossmodal.train.trainer import ReproducibleTrainer

GRADIENT_NORM = 12  # nnU-Net's clipping, of each network by itself


class DistillationTrainer(ReproducibleTrainer):
    """Trains students by a recipe: alone, beside a teacher, or against a teacher that was trained before.

    `plans["distillation"]` holds, as plain data: method, recipe, students (a list of subsets, usually one), seed,
    budget, dataset. `set_teacher` must be called where the teacher was trained beforehand.
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.recipe = Recipe.parse(self.settings["recipe"], f"the recipe of {self.settings['method']}")
        self.students: list[Student] = []
        self.teacher: Network | None = None
        self.teacher_learns = self.recipe.teacher_trained == "jointly"
        self.correlations: dict[str, Tensor] = {}

    def initialize(self) -> None:
        """nnU-Net's order: networks, optimiser, loss; each network from a generator of its own."""
        if self.was_initialized:
            raise RuntimeError("initialize was called twice")
        self._set_batch_size_and_oversample()
        for subset in self.settings["students"]:
            self.students.append(self._student(parse_subset(subset), len(self.settings["students"]) > 1))
        self.network = self.students[0].module
        if self.teacher_learns:
            sees_all = self.recipe.teacher.sees == "all"
            modalities = MODALITIES if sees_all else parse_subset(self.settings["students"][0])
            plain = Recipe(title="joint teacher", source="")
            self.teacher = Network(self.build("teacher", modalities), channels_of(modalities), plain)
        self.num_input_channels = len(MODALITIES)
        for student in self.students:
            student.terms = [self._term(number, term, student) for number, term in enumerate(self.recipe.distill)]
        self.optimizer, self.lr_scheduler = self.configure_optimizers()
        self.loss = self._build_loss()
        self.dataset_class = infer_dataset_class(self.preprocessed_dataset_folder)
        self.was_initialized = True

    def build(self, role: str, modalities: tuple[str, ...]) -> nn.Module:
        """An nnU-Net network on the device, whose weights follow from (seed, role, modalities) alone.

        Args:
            role: "student" or "teacher", as in the recipe.
            modalities: its input channels.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, role, *modalities))
            network = self.build_network_architecture(
                self.plans_manager,
                self.configuration_manager,
                len(modalities),
                self.label_manager.num_segmentation_heads,
                self.enable_deep_supervision,
            )
        return self.placed(network)

    def _student(self, modalities: tuple[str, ...], several: bool) -> Student:
        role = self.recipe.role
        name = f"{role}[{'+'.join(modalities)}]" if several else role
        return Student(self.build(role, modalities), channels_of(modalities), self.recipe, name)

    def _term(self, number: int, term: TermSettings, student: Student) -> Term:
        self.recipe.check_taps(len(student.module.encoder.output_channels), self.settings["method"])
        name = f"{term.loss}@{term.at}"
        if sum((other.loss, other.at) == (term.loss, term.at) for other in self.recipe.distill) > 1:
            name = f"{name}#{number}"
        if student.name != self.recipe.role:
            name = f"{name}[{student.name}]"
        channels = taps.tap_channels(student.module, term.at)
        of_teacher = channels if self.teacher is None else taps.tap_channels(self.teacher.module, term.at)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(self.seed, "loss", name))
                losses = [make_loss(term.loss, s, t, term.options) for s, t in zip(channels, of_teacher, strict=True)]
        except ValueError as error:
            raise UserError(f"{self.settings['method']}: distill.{number}: {error}") from None
        return Term(name, term.at, term.weight, self.placed(nn.ModuleList(losses)))

    def set_teacher(self, weights: dict[str, Tensor], modalities: tuple[str, ...], recipe: Recipe) -> None:
        """Set a teacher that was trained beforehand; it is frozen and in eval mode.

        Args:
            weights: its state_dict.
            modalities: what it was trained on.
            recipe: the recipe by which it was trained.
        """
        module = self.build("teacher", modalities)
        module.load_state_dict(weights)
        module.eval().requires_grad_(False)
        self.teacher = Network(module, channels_of(modalities), recipe)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """nnU-Net's optimiser over all that learns: its update is element by element, so networks stay apart."""
        parameters = [parameter for group in self._learners() for parameter in group]
        optimizer = torch.optim.SGD(
            parameters, self.initial_lr, weight_decay=self.weight_decay, momentum=0.99, nesterov=True
        )
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def _learners(self) -> list[list[nn.Parameter]]:
        groups = [student.parameters() for student in self.students]
        if self.teacher_learns:
            groups.append(list(self.teacher.module.parameters()))
        return groups

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        if self.recipe.seg_loss == "cross_entropy":
            return DeepSupervisionWrapper(CrossEntropy(), loss.weight_factors)
        return loss

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch deep supervision of every network."""
        for network in [*self.students, *([self.teacher] if self.teacher else [])]:
            network.module.decoder.deep_supervision = enabled

    def train_step(self, batch: dict) -> dict:
        """One step of every network that learns; returns each loss term as a float."""
        images = self.to_device(batch["data"])
        target = [scale.to(self.device, non_blocking=True) for scale in batch["target"]]
        labels = labels_from_regions(target[0])
        report: dict[str, float] = {}
        if self.recipe.update == "successive":
            self._teacher_step(images, target, labels, report)
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            total = self._losses(images, target, labels, report)
        self._backward_and_step(total)
        report["loss"] = float(total.detach())
        self._keep_correlations()
        return {name: float(value) for name, value in report.items()}

    def _losses(self, images: Tensor, target: list[Tensor], labels: Tensor, report: dict) -> Tensor:
        total = torch.zeros((), device=self.device)
        teacher = self._teacher_features(images, labels)
        if teacher is not None and self.teacher_learns and self.recipe.update == "together":
            seg = self._segmentation(teacher, target)
            report["seg_teacher"] = seg.detach()
            total = total + seg
        for student in self.students:
            found = student.features(self._shown(student, images), labels)
            seg = self._segmentation(found, target)
            report[f"seg_{student.name}"] = seg.detach()
            total = total + self.recipe.seg_weight * seg
            itself = self.recipe.teacher_trained == "itself"
            wanted = self._own_targets(student, images, labels) if itself else self.teacher_targets(teacher)
            for term in student.terms:
                value = self._compare(term, found, wanted, labels)
                report[term.name] = value.detach()
                if self.step_in_epoch == 0:
                    report[f"gradient_ratio:{term.name}"] = gradient_ratio(
                        term.weight * value, self.recipe.seg_weight * seg, found.at(term.at)
                    )
                total = total + term.weight * value
        return total

    def _segmentation(self, found: Features, target: list[Tensor]) -> Tensor:
        if self.budget.precision == "bf16":  # half precision of the loss itself would round it away
            with torch.autocast(self.device.type, enabled=False):
                return self.loss([logits.float() for logits in found.outputs], target)
        return self.loss(found.outputs, target)

    def _shown(self, student: Student, images: Tensor) -> Tensor:
        if self.recipe.modalities != "any":
            return images
        keep = random_subsets(len(images), derive_seed(self.seed, "modalities", student.name, self._steps_done()))
        return drop_modalities(images, keep)

    def teacher_targets(self, teacher: Features | None) -> Features | None:
        """The teacher's features as the terms use them: without a gradient where the recipe stops it."""
        return teacher.detached() if teacher and self.recipe.stop_gradient == "teacher" else teacher

    def _own_targets(self, student: Student, images: Tensor, labels: Tensor) -> Features:
        with torch.no_grad():
            return student.features(images, labels)

    def _compare(self, term: Term, student: Features, teacher: Features, labels: Tensor) -> Tensor:
        try:
            return term.compare(student, teacher, labels)
        except ValueError as error:
            raise UserError(f"{self.settings['method']}: the term {term.name}: {error}") from None

    def _teacher_features(self, images: Tensor, labels: Tensor) -> Features | None:
        if self.teacher is None:
            return None
        if self.teacher_learns and self.recipe.update == "together":
            return self.teacher.features(images, labels)
        with torch.no_grad():
            return self.teacher.features(images, labels)

    def _teacher_step(self, images: Tensor, target: list[Tensor], labels: Tensor, report: dict) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            seg = self._segmentation(self.teacher.features(images, labels), target)
        report["seg_teacher"] = seg.detach()
        self._backward_and_step(seg)

    def _backward_and_step(self, loss: Tensor) -> None:
        scaler = self.grad_scaler
        if scaler is not None:
            scaler.scale(loss).backward()
            scaler.unscale_(self.optimizer)
        else:
            loss.backward()
        for parameters in self._learners():
            nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        if scaler is not None:
            scaler.step(self.optimizer)
            scaler.update()
        else:
            self.optimizer.step()

    def _keep_correlations(self) -> None:
        term = next((term for term in self.students[0].terms if isinstance(term.losses[0], BarlowTwins)), None)
        if term is None:
            return
        steps = self.num_epochs * self.num_iterations_per_epoch
        if self._steps_done() == 0:
            self.correlations["start"] = term.losses[0].correlation.float().cpu()
        if self._steps_done() == steps - 1:
            self.correlations["end"] = term.losses[0].correlation.float().cpu()

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, and train mode for every network that learns."""
        super().on_train_epoch_start()
        self._train_mode()

    def _train_mode(self) -> None:
        for student in self.students:
            student.module.train()
        if self.teacher_learns:
            self.teacher.module.train()

    def validation_step(self, batch: dict) -> dict:
        """nnU-Net's validation of the first student, on what that student is shown."""
        labels = labels_from_regions(batch["target"][0])
        student = self.students[0]
        shown = self.to_device(student.view(batch["data"], labels))
        bare = self.network
        try:
            self.network = OutputsOnly(bare, self.recipe.skip_connections)
            with self.autocast():
                return super().validation_step({"data": shown, "target": batch["target"]})
        finally:
            self.network = bare

    def networks(self) -> dict[str, nn.Module]:
        """Students, their projections, and a teacher that learns."""
        named: dict[str, nn.Module] = {}
        for number, student in enumerate(self.students):
            named[f"student.{number}"] = student.module
            for position, term in enumerate(student.terms):
                named[f"student.{number}.term.{position}"] = term.losses
        if self.teacher_learns:
            named["teacher"] = self.teacher.module
        return named

    def extra_state(self) -> dict[str, Any]:
        return {"correlations": self.correlations}

    def restore_extra(self, extra: dict[str, Any]) -> None:
        self.correlations = extra["correlations"]

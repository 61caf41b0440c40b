"""The distillation trainer: nnU-Net's training step for a student, with a teacher and the terms that compare them.

Every training loads and augments all four channels exactly as stock nnU-Net does; each network then takes
what it sees from that batch. So a student alone, beside a teacher or after one sees the same data.
"""

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import Tensor, nn

from crossmodal.distill import BarlowTwins, Features, drop_modalities, labels_from_regions, make_loss, random_subsets
from crossmodal.distill import features as taps
from crossmodal.domain import MODALITIES, channels_of, parse_subset
from crossmodal.errors import UserError
from crossmodal.experiment.recipe import Recipe
from crossmodal.train.networks import FrozenNetwork, Network, Term, cross_entropy, gradient_ratio
from crossmodal.train.reproducibility import derive_seed
from crossmodal.train.trainer import ReproducibleTrainer

GRADIENT_NORM = 12  # nnU-Net's clipping, of each network by itself


class DistillationTrainer(ReproducibleTrainer):
    """Trains a student by a recipe: alone, beside a teacher, or against a teacher that was trained before.

    `plans["distillation"]` holds, as plain data: method, recipe, modalities (the student's subset), seed, budget,
    dataset. `teacher` must be set where it was trained beforehand (`frozen` makes it).
    """

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.method = self.settings["method"]
        self.recipe = Recipe.parse(self.settings["recipe"], f"the recipe of {self.method}")
        self.teacher: Network | None = None
        self.teacher_learns = self.recipe.teacher_trained == "jointly"

    def initialize(self) -> None:
        """nnU-Net's order: networks, optimiser, loss; each network from a generator of its own."""
        self._set_batch_size_and_oversample()
        subset = parse_subset(self.settings["modalities"])
        self.student = Network(self.build(self.recipe.role, subset), channels_of(subset), self.recipe)
        self.network = self.student.module
        if self.teacher_learns:
            seen = MODALITIES if self.recipe.teacher.sees == "all" else subset
            plain = Recipe(title="joint teacher", source="")
            self.teacher = Network(self.build("teacher", seen), channels_of(seen), plain)
        self.terms = [self._term(number) for number in range(len(self.recipe.distill))]
        # nnU-Net's optimiser over all that learns: its update is element by element, so networks stay apart.
        parameters = [parameter for group in self._learners() for parameter in group]
        self.optimizer = torch.optim.SGD(
            parameters, self.initial_lr, weight_decay=self.weight_decay, momentum=0.99, nesterov=True
        )
        self.lr_scheduler = PolyLRScheduler(self.optimizer, self.initial_lr, self.num_epochs)
        self.loss = self._build_loss()
        if self.recipe.seg_loss == "cross_entropy":
            self.loss = DeepSupervisionWrapper(cross_entropy, self.loss.weight_factors)

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

    def _term(self, number: int) -> Term:
        term, places = self.recipe.distill[number], [(term.loss, term.at) for term in self.recipe.distill]
        name = f"{term.loss}@{term.at}"
        if places.count((term.loss, term.at)) > 1:
            name = f"{name}#{number}"
        try:
            of_student, of_teacher = (
                taps.tap_channels(network.module, term.at) for network in (self.student, self.teacher or self.student)
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(self.seed, "loss", name))
                losses = [make_loss(term.loss, s, t, term.options) for s, t in zip(of_student, of_teacher, strict=True)]
        except ValueError as error:
            raise UserError(f"{self.method}: distill.{number}: {error}") from None
        return Term(name, term.at, term.weight, self.placed(nn.ModuleList(losses)))

    def frozen(self, weights: dict[str, Tensor], modalities: tuple[str, ...], recipe: Recipe) -> FrozenNetwork:
        """A teacher that was trained beforehand, in eval mode; several trainers may share it.

        Args:
            weights: its state_dict.
            modalities: what it was trained on.
            recipe: the recipe by which it was trained.
        """
        module = self.build("teacher", modalities)
        module.load_state_dict(weights)
        module.eval().requires_grad_(False)
        return FrozenNetwork(module, channels_of(modalities), recipe)

    def networks(self) -> dict[str, nn.Module]:
        """The student, its projections, and a teacher that learns."""
        terms = {f"term.{number}": term.losses for number, term in enumerate(self.terms)}
        teacher = {"teacher": self.teacher.module} if self.teacher_learns else {}
        return {"student": self.student.module} | terms | teacher

    def _learners(self) -> list[list[nn.Parameter]]:
        """The student's weights with those of its projections, and those of a teacher that learns."""
        student = [self.student.module, *(term.losses for term in self.terms)]
        groups = [student, [self.teacher.module]] if self.teacher_learns else [student]
        return [[weight for module in group for weight in module.parameters()] for group in groups]

    def train_step(self, batch: dict) -> dict:
        """One step of every network that learns; returns each loss term as a float."""
        images = self.to_device(batch["data"])
        target = [scale.to(self.device, non_blocking=True) for scale in batch["target"]]
        labels = labels_from_regions(target[0])
        report: dict[str, float] = {}
        if self.recipe.update == "successive":
            self.optimizer.zero_grad(set_to_none=True)
            with self.autocast():
                seg = self._segmentation(self.teacher.features(images, labels), target)
            report["seg_teacher"] = seg.detach()
            self._backward_and_step(seg)
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            total = self._losses(images, target, labels, report)
        self._backward_and_step(total)
        report["loss"] = total.detach()
        self._keep_correlations()
        return {name: float(value) for name, value in report.items()}

    def _losses(self, images: Tensor, target: list[Tensor], labels: Tensor, report: dict) -> Tensor:
        total = torch.zeros((), device=self.device)
        teacher = self._teacher_features(images, labels)
        if self.teacher_learns and self.recipe.update == "together":
            seg = self._segmentation(teacher, target)
            report["seg_teacher"] = seg.detach()
            total = total + seg
        found = self.student.features(self._shown(images), labels)
        seg = self._segmentation(found, target)
        report[f"seg_{self.recipe.role}"] = seg.detach()
        total = total + self.recipe.seg_weight * seg
        wanted = self._wanted(teacher, images, labels)
        for term in self.terms:
            try:
                value = term.compare(found, wanted, labels)
            except ValueError as error:
                raise UserError(f"{self.method}: the term {term.name}: {error}") from None
            report[term.name] = value.detach()
            if self.step_in_epoch == 0:
                # Scaled as for the step itself: in half precision small gradients would be 0.
                scale = self.grad_scaler.get_scale() if self.grad_scaler is not None else 1.0
                report[f"gradient_ratio:{term.name}"] = gradient_ratio(
                    scale * term.weight * value, scale * self.recipe.seg_weight * seg, found.at(term.at)
                )
            total = total + term.weight * value
        return total

    def _segmentation(self, found: Features, target: list[Tensor]) -> Tensor:
        if self.budget.precision == "bf16":  # half precision of the loss itself would round it away
            with torch.autocast(self.device.type, enabled=False):
                return self.loss([logits.float() for logits in found.outputs], target)
        return self.loss(found.outputs, target)

    def _shown(self, images: Tensor) -> Tensor:
        if self.recipe.modalities != "any":
            return images
        seed = derive_seed(self.seed, "modalities", self.recipe.role, self._steps_done())
        return drop_modalities(images, random_subsets(len(images), seed))

    def _teacher_features(self, images: Tensor, labels: Tensor) -> Features | None:
        if self.teacher is None:
            return None
        with torch.set_grad_enabled(self.teacher_learns and self.recipe.update == "together"):
            return self.teacher.features(images, labels)

    def _wanted(self, teacher: Features | None, images: Tensor, labels: Tensor) -> Features | None:
        """What the terms compare the student with: the teacher, or the student itself on all modalities."""
        if self.recipe.teacher_trained == "itself":
            with torch.no_grad():
                return self.student.features(images, labels)
        return teacher.detached() if teacher and self.recipe.stop_gradient == "teacher" else teacher

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
        matrices = [term.losses[0].correlation for term in self.terms if isinstance(term.losses[0], BarlowTwins)]
        for moment, step in (("start", 0), ("end", self._steps() - 1)):
            if matrices and self._steps_done() == step:
                self.correlations[moment] = matrices[0].float().cpu()

    def validation_step(self, batch: dict) -> dict:
        """nnU-Net's validation of the student, on what the student is shown and with its skip connections or none."""
        shown = self.to_device(self.student.view(batch["data"], labels_from_regions(batch["target"][0])))
        bare = self.network
        self.network = lambda images: taps.forward(bare, images, self.recipe.skip_connections).outputs
        try:
            with self.autocast():
                return super().validation_step({"data": shown, "target": batch["target"]})
        finally:
            self.network = bare

"""Distillation losses: each compares the student's tensor at a tap with the teacher's and returns a scalar.

A loss is a module called as `loss(student, teacher, labels)` with (B, C, ...) tensors and the voxel labels
(B, 1, ...) at full resolution, or None. All arithmetic is in float32, outside autocast. What is learnt (a
projection) belongs to the loss, is optimised with the student and never exported.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.distill.inputs import NUMBER_OF_LABELS
from crossmodal.errors import UserError

FEWEST_SAMPLES = 16


class DistillationLoss(nn.Module):
    """Base: casts both sides to float32 and switches autocast off around `compare`."""

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.student_channels, self.teacher_channels = student_channels, teacher_channels

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scalar loss of (B, C, ...) student features against the teacher's at the same tap."""
        with torch.autocast(student.device.type, enabled=False):
            return self.compare(student.float(), teacher.float(), labels)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """The loss's equation."""
        raise NotImplementedError  # each loss below says its own


class BarlowTwins(DistillationLoss):
    """Barlow Twins (Zbontar et al. 2021) between student and teacher, over positions as samples.

    C = BN(z1)ᵀ BN(z2) / N,  L = [Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij²] / D

    With the two samples of an nnU-Net batch every |C_ij| would be 1, so each (sample, position) pair is a
    sample: N = B · X · Y · Z. C has rank at most N − 1, which bounds the off-diagonal sum from below by
    D²/(N−1) − D once the diagonal is 1.

    Args:
        off_diagonal: λ, 0.0051 in the authors' code.
        projector: width of a learnt 1×1×1 convolution before the comparison, or None for none; one for each side.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        off_diagonal: float = 0.0051,
        projector: int | None = None,
    ) -> None:
        super().__init__(student_channels, teacher_channels)
        if projector is None and student_channels != teacher_channels:
            raise UserError(
                f"barlow_twins: the student has {student_channels} channels at this tap and the teacher "
                f"{teacher_channels}: set a 'projector' width"
            )
        self.off_diagonal = off_diagonal
        self.project_student = nn.Conv3d(student_channels, projector, 1, bias=False) if projector else nn.Identity()
        self.project_teacher = nn.Conv3d(teacher_channels, projector, 1, bias=False) if projector else nn.Identity()
        self.correlation: Tensor | None = None  # of the last call, for the figure

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        z1 = positions_as_samples(self.project_student(student))
        z2 = positions_as_samples(self.project_teacher(teacher))
        C = cross_correlation(z1, z2)
        self.correlation = C.detach()
        on_diagonal = (C.diagonal() - 1).pow(2).sum()
        off_diagonal = C.pow(2).sum() - C.diagonal().pow(2).sum()
        return (on_diagonal + self.off_diagonal * off_diagonal) / C.shape[0]


def positions_as_samples(features: Tensor) -> Tensor:
    """(B, C, ...) to (B · positions, C); under distributed training gathered over all ranks."""
    samples = features.movedim(1, -1).flatten(0, -2)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        from torch.distributed.nn.functional import all_gather

        samples = torch.cat(all_gather(samples))
    return samples


def cross_correlation(z1: Tensor, z2: Tensor, eps: float = 1e-5) -> Tensor:
    """Barlow Twins' C = BN(z1)ᵀ BN(z2) / N, (D1, D2), from (N, D1) and (N, D2); BN as in torch, without affine.

    Raises:
        UserError: fewer than 16 samples, where C says nothing.
    """
    if len(z1) < FEWEST_SAMPLES:
        raise UserError(
            f"barlow_twins: only {len(z1)} positions in a batch at this tap, and {FEWEST_SAMPLES} are the least that "
            f"a correlation can be taken over: choose a tap with more positions (decoder.N) or a larger patch"
        )

    def normalise(z: Tensor) -> Tensor:
        centred = z - z.mean(0)
        return centred / (centred.pow(2).mean(0) + eps).sqrt()

    return normalise(z1).T @ normalise(z2) / len(z1)


class MSE(DistillationLoss):
    """Mean squared error, (1/n) Σ (student − teacher)².

    Args:
        projection: compare a learnt 1×1×1 convolution of the student's features (FitNets, Romero et al. 2015).
    """

    def __init__(self, student_channels: int, teacher_channels: int, projection: bool = False) -> None:
        super().__init__(student_channels, teacher_channels)
        self.project = nn.Conv3d(student_channels, teacher_channels, 1) if projection else nn.Identity()

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        return F.mse_loss(self.project(student), teacher)


class SoftTargets(DistillationLoss):
    """Soft targets (Hinton et al. 2015) for nnU-Net's overlapping regions: a Bernoulli KL in each region.

    L = T² · mean[ p log(p/q) + (1−p) log((1−p)/(1−q)) ],  p = σ(teacher/T), q = σ(student/T)

    Args:
        temperature: T.
        scale_by_temperature: multiply by T², which keeps the gradient's size; ProtoKD does not.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        temperature: float = 4.0,
        scale_by_temperature: bool = True,
    ) -> None:
        super().__init__(student_channels, teacher_channels)
        self.temperature = temperature
        self.scale = temperature**2 if scale_by_temperature else 1.0

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        s, t = student / self.temperature, teacher / self.temperature
        p = t.sigmoid()
        kl = p * (F.logsigmoid(t) - F.logsigmoid(s)) + (1 - p) * (F.logsigmoid(-t) - F.logsigmoid(-s))
        return self.scale * kl.mean()


class AttentionTransfer(DistillationLoss):
    """Attention transfer (Zagoruyko & Komodakis 2017): mean squared error of the normalised maps mean_c(f²).

    Q = f̄ / ‖f̄‖₂ with f̄ = mean over channels of f², flattened over positions; L = mean (Q_S − Q_T)²
    """

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        def attention(features: Tensor) -> Tensor:
            return F.normalize(features.pow(2).mean(1).flatten(1), dim=1)

        return (attention(student) - attention(teacher)).pow(2).mean()


class ChannelKL(DistillationLoss):
    """Kullback-Leibler divergence of the channels' softmax at each position, for features (KD-Net's latent term).

    L = T² · mean over positions of Σ_c p log(p/q),  p = softmax_c(teacher/T), q = softmax_c(student/T)
    """

    def __init__(self, student_channels: int, teacher_channels: int, temperature: float = 1.0) -> None:
        super().__init__(student_channels, teacher_channels)
        self.temperature = temperature

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        log_q = F.log_softmax(student / self.temperature, dim=1)
        log_p = F.log_softmax(teacher / self.temperature, dim=1)
        return self.temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1).mean()


class Prototypes(DistillationLoss):
    """ProtoKD (Wang et al. 2023): mean squared error of the maps of cosine similarity to each class's prototype.

    The prototype of a class is the mean of the features over its voxels in the batch, for each side its own;
    a class without voxels is left out. The features are compared at their own resolution: labels are sampled
    at the nearest voxel.
    """

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise UserError("the loss 'prototypes' reads the labels, which were not given")
        labels = F.interpolate(labels.float(), size=student.shape[2:], mode="nearest")
        masks = torch.cat([labels == label for label in range(NUMBER_OF_LABELS)], 1).to(student)
        masks = masks[:, masks.sum((0, *range(2, masks.ndim))) > 0]
        return F.mse_loss(self.similarities(student, masks), self.similarities(teacher, masks))

    @staticmethod
    def similarities(features: Tensor, masks: Tensor) -> Tensor:
        """(B, K, ...) cosines of (B, C, ...) features with the K prototypes of (B, K, ...) masks."""
        flat, weights = features.flatten(2), masks.flatten(2)
        prototypes = torch.einsum("bcn,bkn->kc", flat, weights) / weights.sum((0, 2))[:, None]
        return torch.einsum("kc,bcn->bkn", F.normalize(prototypes, dim=1), F.normalize(flat, dim=1))


LOSSES: dict[str, type[DistillationLoss]] = {
    "barlow_twins": BarlowTwins,
    "mse": MSE,
    "soft_targets": SoftTargets,
    "attention_transfer": AttentionTransfer,
    "channel_kl": ChannelKL,
    "prototypes": Prototypes,
}

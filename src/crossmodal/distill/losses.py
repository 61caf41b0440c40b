"""The distillation losses: each compares the student's features with the teacher's and returns a scalar.

    loss = MSE()
    value = loss(student, teacher, labels)   # (B, C, ...), (B, C, ...), and labels (B, 1, ...) where they are used

Docstrings keep one form, from which the schemas and the table in docs/methods.md are made: a summary line, the
equation, Args with each option, and Source.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.distill.base import Count, DistillationLoss, NotNegative, OptionalCount, Positive, Projection, register
from crossmodal.domain import NUMBER_OF_LABELS

FEWEST_SAMPLES = 16


@register("barlow_twins", words="the Barlow Twins loss")
class BarlowTwins(DistillationLoss):
    """Barlow Twins between student and teacher, with each position as a sample.

        C = BN(z1)ᵀ BN(z2) / N,  L = [Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij²] / D

    z1 and z2 are the two sides as (N, D): each (sample, position) pair is a sample, N = B · positions, since with
    the two samples of an nnU-Net batch every |C_ij| would be 1. C has rank at most N − 1, which bounds the
    off-diagonal sum from below by D²/(N−1) − D once the diagonal is 1. `correlation` holds C of the last call.

    Shapes: (B, D, ...) for both sides, or with a projector (B, channels[0], ...) and (B, channels[1], ...).

    Args:
        off_diagonal: λ, 0.0051 in the authors' code.
        projector: width D of a learnt linear projection of each side before the comparison; null for none.
        channels: channels of student and teacher, with a projector.

    Raises:
        ValueError: fewer than 16 samples; unequal channels without a projector.

    Source: Zbontar et al. 2021, arXiv 2103.03230; here divided by D.

    Example:
        >>> student, teacher = torch.randn(2, 8, 16, 16, requires_grad=True), torch.randn(2, 8, 16, 16)
        >>> value = BarlowTwins(off_diagonal=0.01)(student, teacher)
        >>> value.backward()
    """

    projection_option = "projector"

    def __init__(
        self,
        off_diagonal: NotNegative = 0.0051,
        projector: OptionalCount = None,
        channels: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(channels, off_diagonal=off_diagonal, projector=projector)
        sides = channels or ()
        projections = [Projection(width, projector, bias=False) for width in sides] or [nn.Identity(), nn.Identity()]
        self.project_student, self.project_teacher = projections
        self.correlation: Tensor | None = None

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
    """Barlow Twins' C = BN(z1)ᵀ BN(z2) / N.

    Args:
        z1: (N, D1).
        z2: (N, D2).
        eps: added to the variance, as in torch's batch normalisation (here without affine parameters).

    Returns:
        (D1, D2).

    Raises:
        ValueError: fewer than 16 samples, too few for a correlation.
    """
    if len(z1) < FEWEST_SAMPLES:
        raise ValueError(
            f"Barlow Twins: only {len(z1)} positions in a batch at this tap, and a correlation needs {FEWEST_SAMPLES} "
            f"or more: choose a tap with more positions (decoder.N) or a larger patch"
        )

    def normalise(z: Tensor) -> Tensor:
        centred = z - z.mean(0)
        return centred / (centred.pow(2).mean(0) + eps).sqrt()

    return normalise(z1).T @ normalise(z2) / len(z1)


@register("mse", words="mean-squared error")
class MSE(DistillationLoss):
    """Mean squared error of the features, with a learnt projection of the student's where asked for (FitNets).

        L = (1/n) Σ (student − teacher)²

    Shapes: (B, C, ...) for both sides, or with a projection (B, channels[0], ...) and (B, channels[1], ...).

    Args:
        projection: compare a learnt linear projection of the student's features to the teacher's channels.
        channels: channels of student and teacher, with a projection.

    Raises:
        ValueError: unequal channels without a projection.

    Source: Romero et al. 2015, arXiv 1412.6550.

    Example:
        >>> student, teacher = torch.zeros(2, 8, 16, 16), torch.ones(2, 8, 16, 16)
        >>> MSE()(student, teacher)
        tensor(1.)
    """

    projection_option = "projection"

    def __init__(self, projection: bool = False, channels: tuple[int, int] | None = None) -> None:
        super().__init__(channels, projection=projection)
        self.project = Projection(*channels) if channels else nn.Identity()

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        return F.mse_loss(self.project(student), teacher)


@register("soft_targets", words="soft targets (a Bernoulli divergence for each region)")
class SoftTargets(DistillationLoss):
    """Soft targets for nnU-Net's overlapping regions: the Kullback-Leibler divergence of a Bernoulli in each region.

        L = T² · mean[ p log(p/q) + (1−p) log((1−p)/(1−q)) ],  p = σ(teacher/T), q = σ(student/T)

    Shapes: (B, regions, ...) logits for both sides.

    Args:
        temperature: T, by which both sides are divided; higher is softer.
        scale_by_temperature: multiply by T², which keeps the size of the gradient; ProtoKD does not.

    Raises:
        ValueError: a temperature that is not above 0.

    Source: Hinton et al. 2015, arXiv 1503.02531, for a softmax; the Bernoulli form is ours.

    Example:
        >>> student, teacher = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
        >>> SoftTargets(temperature=2)(student, teacher)
        tensor(0.)
    """

    def __init__(self, temperature: Positive = 4.0, scale_by_temperature: bool = True) -> None:
        super().__init__(temperature=temperature, scale_by_temperature=scale_by_temperature)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        s, t = student / self.temperature, teacher / self.temperature
        p = t.sigmoid()
        kl = p * (F.logsigmoid(t) - F.logsigmoid(s)) + (1 - p) * (F.logsigmoid(-t) - F.logsigmoid(-s))
        return (self.temperature**2 if self.scale_by_temperature else 1.0) * kl.mean()


@register("attention_transfer", words="attention transfer")
class AttentionTransfer(DistillationLoss):
    """Attention transfer: mean squared error of the normalised maps of mean squared activation.

        L = mean (Q_S − Q_T)²,  Q = f̄ / ‖f̄‖₂,  f̄ = mean over channels of f², flattened over positions

    Shapes: (B, C, ...) with positions; the numbers of channels may differ.

    Raises:
        ValueError: features without positions.

    Source: Zagoruyko and Komodakis 2017, arXiv 1612.03928, and its code.

    Example:
        >>> student, teacher = torch.rand(2, 8, 16, 16), torch.rand(2, 4, 16, 16)
        >>> bool(AttentionTransfer()(student, teacher) > 0)
        True
    """

    any_channels, fewest_dims = True, 3

    def __init__(self) -> None:
        super().__init__()

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        def attention(features: Tensor) -> Tensor:
            return F.normalize(features.pow(2).mean(1).flatten(1), dim=1)

        return (attention(student) - attention(teacher)).pow(2).mean()


@register("channel_kl", words="the Kullback-Leibler divergence of channel activations")
class ChannelKL(DistillationLoss):
    """Kullback-Leibler divergence of the softmax over channels at each position.

        L = T² · mean over positions of Σ_c p log(p/q),  p = softmax_c(teacher/T), q = softmax_c(student/T)

    Shapes: (B, C, ...) for both sides.

    Args:
        temperature: T, by which both sides are divided; higher is softer.

    Raises:
        ValueError: a temperature that is not above 0.

    Source: Hu et al. 2020, doi:10.1007/978-3-030-59710-8_75, the term on the latent features.

    Example:
        >>> student, teacher = torch.zeros(2, 8, 16, 16), torch.zeros(2, 8, 16, 16)
        >>> ChannelKL(temperature=2)(student, teacher)
        tensor(0.)
    """

    def __init__(self, temperature: Positive = 1.0) -> None:
        super().__init__(temperature=temperature)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        log_q = F.log_softmax(student / self.temperature, dim=1)
        log_p = F.log_softmax(teacher / self.temperature, dim=1)
        return self.temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1).mean()


@register("prototypes", words="the distance of prototype similarity maps")
class Prototypes(DistillationLoss):
    """Mean squared error of the maps of cosine similarity to the prototype of each class (ProtoKD).

        L = mean over classes and positions of (S_S − S_T)²,  S_k = cos(f, m_k),  m_k = mean of f over class k

    Each side has prototypes of its own, taken over the batch; a class without voxels is left out. The features
    are compared at their own resolution: labels are sampled at the nearest voxel.

    Shapes: (B, C, ...) with positions, whose numbers of channels may differ, and labels (B, 1, ...).

    Args:
        classes: number of classes, the labels 0 to classes − 1; voxels with another label belong to none.

    Raises:
        ValueError: no labels, labels that are not (B, 1, ...), or none of them a class.

    Source: Wang et al. 2023, arXiv 2303.09830, and its code.

    Example:
        >>> student, teacher = torch.rand(2, 8, 16, 16), torch.rand(2, 8, 16, 16)
        >>> bool(Prototypes()(student, teacher, torch.randint(4, (2, 1, 32, 32))) > 0)
        True
    """

    any_channels, fewest_dims = True, 3

    def __init__(self, classes: Count = NUMBER_OF_LABELS) -> None:
        super().__init__(classes=classes)

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise ValueError("Prototypes: this loss uses the labels, which were not given")
        if labels.ndim != student.ndim or labels.shape[:2] != (len(student), 1):
            sizes = f"labels are {tuple(labels.shape)}, features {tuple(student.shape)}"
            raise ValueError(f"Prototypes: {sizes}: labels should be (B, 1, ...)")
        labels = F.interpolate(labels.float(), size=student.shape[2:], mode="nearest")
        masks = torch.cat([labels == label for label in range(self.classes)], 1).to(student)
        masks = masks[:, masks.sum((0, *range(2, masks.ndim))) > 0]
        if masks.shape[1] == 0:
            raise ValueError(f"Prototypes: no label is one of 0 to {self.classes - 1}")
        return F.mse_loss(self.similarities(student, masks), self.similarities(teacher, masks))

    @staticmethod
    def similarities(features: Tensor, masks: Tensor) -> Tensor:
        """(B, K, ...) cosines of (B, C, ...) features with the K prototypes of (B, K, ...) masks."""
        flat, weights = features.flatten(2), masks.flatten(2)
        prototypes = torch.einsum("bcn,bkn->kc", flat, weights) / weights.sum((0, 2))[:, None]
        return torch.einsum("kc,bcn->bkn", F.normalize(prototypes, dim=1), F.normalize(flat, dim=1))

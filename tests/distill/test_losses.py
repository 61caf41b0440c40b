"""Each loss against an independent reference, its gradient, misuse, and a loop of someone else's in 2D."""

import doctest
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, kl_divergence

from crossmodal.distill import LOSSES, MSE, AttentionTransfer, BarlowTwins, ChannelKL, Prototypes, SoftTargets, losses
from crossmodal.distill.losses import cross_correlation, positions_as_samples

SHAPE = (2, 5, 4, 4, 4)
EACH_LOSS = pytest.mark.parametrize("name", sorted(LOSSES))
DIMENSIONS = pytest.mark.parametrize("size", [(64,), (8, 8), (4, 4, 4)], ids=["1D", "2D", "3D"])


def pair(shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def labels(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randint(4, (shape[0], 1, *shape[2:]), generator=torch.Generator().manual_seed(0))


def facebook_barlow_twins(student: Tensor, teacher: Tensor, classes: Tensor) -> float:
    """Zbontar et al. 2021 in float64 NumPy, divided by D: BatchNorm1d(affine=False), c / N, the two sums."""
    z1, z2 = (side.double().movedim(1, -1).reshape(-1, 5).numpy() for side in (student, teacher))
    normalise = lambda z: (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)  # noqa: E731
    c = normalise(z1).T @ normalise(z2) / len(z1)
    on_diagonal = ((np.diag(c) - 1) ** 2).sum()
    off_diagonal = (c[~np.eye(len(c), dtype=bool)] ** 2).sum()
    return (on_diagonal + 0.0051 * off_diagonal) / len(c)


def kl_of_bernoulli_pairs(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    return kl_divergence(Bernoulli(logits=teacher / 4), Bernoulli(logits=student / 4)).mean()


def kl_of_categoricals(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    student, teacher = student.movedim(1, -1) / 2, teacher.movedim(1, -1) / 2
    return 4 * kl_divergence(Categorical(logits=teacher), Categorical(logits=student)).mean()


def attention_maps(student: Tensor, teacher: Tensor, classes: Tensor) -> float:
    total = []
    for s, t in zip(student.double().numpy(), teacher.double().numpy(), strict=True):
        maps = [(side**2).mean(0).ravel() for side in (s, t)]
        a, b = (m / np.linalg.norm(m) for m in maps)
        total.append(((a - b) ** 2).mean())
    return np.mean(total)


def prototype_maps(student: Tensor, teacher: Tensor, classes: Tensor) -> float:
    def maps(features: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(features, 1, -1)
        result = []
        for label in range(4):
            prototype = flat[(classes == label).numpy()[:, 0]].mean(0)
            result.append(flat @ prototype / (np.linalg.norm(flat, axis=-1) * np.linalg.norm(prototype)))
        return np.stack(result)

    return ((maps(student.double().numpy()) - maps(teacher.double().numpy())) ** 2).mean()


@DIMENSIONS
@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (MSE(), lambda student, teacher, _: np.mean((student - teacher).double().numpy() ** 2)),
        (BarlowTwins(), facebook_barlow_twins),
        (SoftTargets(temperature=4), lambda *sides: 16 * kl_of_bernoulli_pairs(*sides)),
        (SoftTargets(temperature=4, scale_by_temperature=False), kl_of_bernoulli_pairs),
        (ChannelKL(temperature=2), kl_of_categoricals),
        (AttentionTransfer(), attention_maps),
        (Prototypes(), prototype_maps),
        (Prototypes(classes=5), prototype_maps),  # a class without voxels is left out
    ],
)
def test_a_loss_is_its_reference(loss: torch.nn.Module, reference: Callable, size: tuple[int, ...]) -> None:
    student, teacher = pair((2, 5, *size))
    classes = labels((2, 5, *size))
    expected = float(reference(student, teacher, classes))
    assert float(loss(student, teacher, classes)) == pytest.approx(expected, rel=1e-5)


def test_barlow_twins_is_monai_s_after_its_correlation_is_rescaled() -> None:
    """MONAI normalises with the unbiased deviation but divides by N: its C is ours times (N−1)/N."""
    from monai.losses import BarlowTwinsLoss

    student, teacher = (positions_as_samples(side) for side in pair())
    count = len(student)
    C = cross_correlation(student, teacher, eps=0) * (count - 1) / count
    ours = (C.diagonal() - 1).pow(2).sum() + 5e-3 * (C.pow(2).sum() - C.diagonal().pow(2).sum())
    assert float(ours) == pytest.approx(float(BarlowTwinsLoss(lambd=5e-3)(student, teacher)), rel=1e-4)


@EACH_LOSS
def test_gradient_is_that_of_the_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    loss = LOSSES[name]().double()
    student, teacher = (side.double() for side in pair((2, 3, 2, 2, 2)))
    classes = labels((2, 3, 2, 2, 2))
    student.requires_grad_(True)
    # compare() rather than forward(): forward casts to float32, too coarse for finite differences
    assert torch.autograd.gradcheck(lambda s: loss.compare(s, teacher, classes), (student,), atol=1e-5)


@EACH_LOSS
def test_computed_in_float32_under_autocast(name: str) -> None:
    student, teacher = pair()
    loss = LOSSES[name]()
    expected = loss(student.bfloat16(), teacher.bfloat16(), labels())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(student.bfloat16(), teacher.bfloat16(), labels())
    assert value.dtype == torch.float32
    assert float(value) == float(expected)


@EACH_LOSS
def test_finite_with_gradient_on_constant_features(name: str) -> None:
    student = torch.ones(SHAPE, requires_grad=True)
    value = LOSSES[name]()(student, torch.ones(SHAPE), labels())
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(student.grad).all()


@DIMENSIONS
@pytest.mark.parametrize(("kind", "option"), [(MSE, {"projection": True}), (BarlowTwins, {"projector": 6})])
def test_a_projection_is_a_convolution_of_width_one(kind: type, option: dict, size: tuple[int, ...]) -> None:
    """The same weights are drawn as for torch's own convolution, in every number of dimensions."""
    assert not list(kind().parameters())
    torch.manual_seed(1)
    loss = kind(**option, channels=(5, 7))
    student, teacher = torch.randn(2, 5, *size), torch.randn(2, 7, *size)
    convolution = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[len(size)]
    torch.manual_seed(1)
    if kind is MSE:
        projected = convolution(5, 7, 1)(student), teacher
    else:
        projected = convolution(5, 6, 1, bias=False)(student), convolution(7, 6, 1, bias=False)(teacher)
    torch.testing.assert_close(loss(student, teacher), kind()(*projected))


@EACH_LOSS
def test_a_2d_student_learns_from_a_2d_teacher_in_a_plain_loop(name: str) -> None:
    torch.manual_seed(0)
    images, classes = torch.randn(2, 1, 16, 16), labels((2, 1, 16, 16))
    student, teacher = (torch.nn.Conv2d(1, 6, 3, padding=1) for _ in range(2))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    loss = LOSSES[name]()
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(student(images), teacher(images).detach(), classes)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]
    loss(student(images), teacher(images), classes).backward()
    assert teacher.weight.grad.abs().sum() > 0, "a teacher that is not detached gets a gradient"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftTargets(temperature=-1), "'temperature' should be above 0, not -1"),
        (lambda: ChannelKL(temperature=float("nan")), "'temperature' should be above 0"),
        (lambda: BarlowTwins(off_diagonal=-0.1), "'off_diagonal' should be at least 0"),
        (lambda: BarlowTwins(projector=0, channels=(5, 5)), "'projector' should be at least 1"),
        (lambda: MSE(projection="yes"), "'projection' should be of type boolean"),
        (lambda: MSE(projection=True), "give 'channels' together with 'projection'"),
        (lambda: BarlowTwins(channels=(5, 7)), "give 'channels' together with 'projector'"),
        (lambda: Prototypes()(*pair(), labels()[:, 0]), r"should be \(B, 1, ...\)"),
        (lambda: Prototypes()(*pair(), labels() + 4), "no label is one of 0 to 3"),
    ],
)
def test_wrong_options_and_labels_are_a_value_error(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "student", "teacher", "message"),
    [
        (BarlowTwins(), (2, 5, 1, 7), (2, 5, 1, 7), "only 14 positions"),
        (BarlowTwins(), (2, 5, 4, 4), (2, 6, 4, 4), "5 channels here and the teacher 6: set 'projector'"),
        (SoftTargets(), (2, 5, 4, 4), (2, 6, 4, 4), "5 channels here and the teacher 6: choose"),
        (MSE(projection=True, channels=(5, 6)), (2, 5, 4), (2, 7, 4), r"'channels' was \(5, 6\)"),
        (MSE(), (2, 5, 4, 4), (2, 5, 8, 8), "batch and positions should be the same"),
        (MSE(), (1, 5, 4, 4), (2, 5, 4, 4), "batch and positions should be the same"),
        (MSE(), (5,), (5,), "with 2 dimensions or more"),
        (AttentionTransfer(), (2, 5), (2, 5), "with 3 dimensions or more"),
        (Prototypes(), (2, 5, 4, 4), (2, 5, 4, 4), "uses the labels, which were not given"),
    ],
)
def test_features_that_cannot_be_compared_are_a_value_error(
    loss: torch.nn.Module, student: tuple[int, ...], teacher: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        loss(torch.randn(student), torch.randn(teacher))


def test_examples_in_docstrings_run() -> None:
    result = doctest.testmod(losses)
    assert result.failed == 0 and result.attempted >= 2 * len(LOSSES)

"""Each loss against an independent reference, its gradient, misuse, and a loop of someone else's in 2D."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, kl_divergence

from crossmodal.distill import LOSSES, MSE, AttentionTransfer, BarlowTwins, ChannelKL, Prototypes, SoftTargets, losses
from crossmodal.distill.losses import cross_correlation, positions_as_samples

SHAPE = (2, 5, 4, 4, 4)
EACH_LOSS = pytest.mark.parametrize("name", sorted(LOSSES))
DIMENSIONS = pytest.mark.parametrize("size", [(64,), (8, 8), (4, 4, 4)], ids=["1D", "2D", "3D"])


def pair(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def labels(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randint(4, (shape[0], 1, *shape[2:]), generator=torch.Generator().manual_seed(seed))


def facebook_barlow_twins(z1: np.ndarray, z2: np.ndarray, lambd: float) -> float:
    """Zbontar et al. 2021 in float64 NumPy, divided by D: BatchNorm1d(affine=False), c / N, the two sums."""
    normalise = lambda z: (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)  # noqa: E731
    c = normalise(z1).T @ normalise(z2) / len(z1)
    on_diagonal = ((np.diag(c) - 1) ** 2).sum()
    off_diagonal = (c[~np.eye(len(c), dtype=bool)] ** 2).sum()
    return (on_diagonal + lambd * off_diagonal) / len(c)


@DIMENSIONS
def test_barlow_twins_is_the_authors_formula(size: tuple[int, ...]) -> None:
    student, teacher = pair(shape=(2, 5, *size))
    flat = [side.double().movedim(1, -1).reshape(-1, 5).numpy() for side in (student, teacher)]
    expected = facebook_barlow_twins(*flat, 0.0051)
    assert float(BarlowTwins()(student, teacher)) == pytest.approx(expected, rel=1e-5)


def test_barlow_twins_is_monai_s_after_its_correlation_is_rescaled() -> None:
    """MONAI normalises with the unbiased deviation but divides by N: its C is ours times (N−1)/N."""
    from monai.losses import BarlowTwinsLoss

    student, teacher = (positions_as_samples(side) for side in pair(1))
    count = len(student)
    C = cross_correlation(student, teacher, eps=0) * (count - 1) / count
    ours = (C.diagonal() - 1).pow(2).sum() + 5e-3 * (C.pow(2).sum() - C.diagonal().pow(2).sum())
    assert float(ours) == pytest.approx(float(BarlowTwinsLoss(lambd=5e-3)(student, teacher)), rel=1e-4)


def test_rank_bounds_the_off_diagonal_from_below() -> None:
    """With N samples and D channels, Σ_off ≥ D²/(N−1) − D once the diagonal is 1 (here z against itself)."""
    z = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    C = cross_correlation(z, z, eps=0)
    off = float(C.pow(2).sum() - C.diagonal().pow(2).sum())
    assert off >= 64**2 / 15 - 64 - 1e-3


@DIMENSIONS
def test_soft_targets_are_torch_s_kl_of_bernoulli_pairs(size: tuple[int, ...]) -> None:
    student, teacher = pair(2, (2, 5, *size))
    expected = float(16 * kl_divergence(Bernoulli(logits=teacher / 4), Bernoulli(logits=student / 4)).mean())
    assert float(SoftTargets(temperature=4)(student, teacher)) == pytest.approx(expected, rel=1e-4)
    plain = SoftTargets(temperature=4, scale_by_temperature=False)(student, teacher)
    assert float(plain) == pytest.approx(expected / 16, rel=1e-4)


@DIMENSIONS
def test_channel_kl_is_torch_s_kl_of_categoricals(size: tuple[int, ...]) -> None:
    student, teacher = (side.movedim(1, -1) for side in pair(3, (2, 5, *size)))
    expected = 4 * kl_divergence(Categorical(logits=teacher / 2), Categorical(logits=student / 2)).mean()
    found = ChannelKL(temperature=2)(student.movedim(-1, 1), teacher.movedim(-1, 1))
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


@DIMENSIONS
def test_attention_transfer_against_a_loop(size: tuple[int, ...]) -> None:
    student, teacher = pair(4, (2, 5, *size))
    total = []
    for s, t in zip(student.double().numpy(), teacher.double().numpy(), strict=True):
        maps = [(side**2).mean(0).ravel() for side in (s, t)]
        a, b = (m / np.linalg.norm(m) for m in maps)
        total.append(((a - b) ** 2).mean())
    assert float(AttentionTransfer()(student, teacher)) == pytest.approx(np.mean(total), rel=1e-4)


@DIMENSIONS
def test_prototypes_against_a_loop(size: tuple[int, ...]) -> None:
    student, teacher = pair(5, (2, 5, *size))
    classes = labels(5, (2, 5, *size))

    def maps(features: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(features, 1, -1)
        result = []
        for label in range(4):
            mask = (classes == label).numpy()[:, 0]
            prototype = flat[mask].mean(0)
            cosine = flat @ prototype / (np.linalg.norm(flat, axis=-1) * np.linalg.norm(prototype))
            result.append(cosine)
        return np.stack(result)

    expected = ((maps(student.double().numpy()) - maps(teacher.double().numpy())) ** 2).mean()
    assert float(Prototypes()(student, teacher, classes)) == pytest.approx(expected, rel=1e-4)


@EACH_LOSS
def test_gradient_is_that_of_the_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    loss = LOSSES[name]().double()
    student, teacher = (side.double() for side in pair(6, (2, 3, 2, 2, 2)))
    classes = labels(6, (2, 3, 2, 2, 2))
    student.requires_grad_(True)
    # compare() rather than forward(): forward casts to float32, too coarse for finite differences
    assert torch.autograd.gradcheck(lambda s: loss.compare(s, teacher, classes), (student,), atol=1e-5)


@EACH_LOSS
def test_computed_in_float32_under_autocast(name: str) -> None:
    student, teacher = pair(7)
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
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"barlow_twins"}))
def test_zero_when_student_equals_teacher(name: str) -> None:
    student, _ = pair(8)
    assert float(LOSSES[name]()(student, student.clone(), labels())) == pytest.approx(0, abs=1e-6)


def test_barlow_twins_is_zero_for_equal_and_decorrelated_channels() -> None:
    orthogonal, _ = torch.linalg.qr(torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))
    orthogonal = orthogonal - orthogonal.mean(0)
    orthogonal, _ = torch.linalg.qr(orthogonal)
    z = (orthogonal - orthogonal.mean(0)).T.reshape(1, 5, 4, 4, 4) * 100
    assert float(BarlowTwins()(z, z.clone())) < 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(LOSSES)))
def test_order_of_samples_does_not_matter(seed: int, name: str) -> None:
    student, teacher = pair(seed)
    classes = labels(seed)
    loss = LOSSES[name]()
    flipped = (side.flip(0) for side in (student, teacher, classes))
    assert float(loss(*flipped)) == pytest.approx(float(loss(student, teacher, classes)), rel=1e-4, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_barlow_twins_ignores_the_scale_and_shift_of_a_channel(seed: int, scale: float, shift: float) -> None:
    student, teacher = pair(seed)
    loss = BarlowTwins()
    assert float(loss(student * scale + shift, teacher)) == pytest.approx(float(loss(student, teacher)), rel=1e-2)


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
    images, classes = torch.randn(2, 1, 16, 16), labels(0, (2, 1, 16, 16))
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
    assert all(parameter.grad.abs().sum() > 0 for parameter in student.parameters() if parameter.ndim > 1)
    assert all(parameter.grad is None for parameter in teacher.parameters())
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
    ],
)
def test_a_wrong_option_is_a_value_error(make: object, message: str) -> None:
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


def test_labels_that_do_not_fit_are_a_value_error() -> None:
    student, teacher = pair()
    with pytest.raises(ValueError, match=r"should be \(B, 1, ...\)"):
        Prototypes()(student, teacher, labels()[:, 0])
    with pytest.raises(ValueError, match="no label is one of 0 to 3"):
        Prototypes()(student, teacher, labels() + 4)


def test_examples_in_docstrings_run() -> None:
    result = doctest.testmod(losses)
    assert result.failed == 0 and result.attempted >= 2 * len(LOSSES)

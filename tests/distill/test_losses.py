"""Each loss against an independent reference, its gradient, and what must hold for any input."""

import inspect

import numpy as np
import pytest
import torch
from crossmodal.distill.losses import LOSSES, BarlowTwins, SoftTargets, cross_correlation, positions_as_samples
from crossmodal.experiment.recipe import LOSS_OPTIONS
from crossmodal.errors import UserError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, kl_divergence

SHAPE = (2, 5, 4, 4, 4)


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


def test_barlow_twins_is_the_authors_formula() -> None:
    student, teacher = pair()
    flat = [side.double().movedim(1, -1).reshape(-1, 5).numpy() for side in (student, teacher)]
    expected = facebook_barlow_twins(*flat, 0.0051)
    assert float(BarlowTwins(5, 5)(student, teacher)) == pytest.approx(expected, rel=1e-5)


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


def test_barlow_twins_refuses_too_few_samples() -> None:
    student, teacher = pair(shape=(2, 5, 1, 1, 7))
    with pytest.raises(UserError, match="only 14 positions"):
        BarlowTwins(5, 5)(student, teacher)


def test_soft_targets_are_torch_s_kl_of_bernoulli_pairs() -> None:
    student, teacher = pair(2)
    expected = 16 * kl_divergence(Bernoulli(logits=teacher / 4), Bernoulli(logits=student / 4)).mean()
    assert float(SoftTargets(5, 5, temperature=4)(student, teacher)) == pytest.approx(float(expected), rel=1e-4)
    plain = SoftTargets(5, 5, temperature=4, scale_by_temperature=False)(student, teacher)
    assert float(plain) == pytest.approx(float(expected) / 16, rel=1e-4)


def test_channel_kl_is_torch_s_kl_of_categoricals() -> None:
    student, teacher = pair(3)
    last = [side.movedim(1, -1) for side in (student, teacher)]
    expected = kl_divergence(Categorical(logits=last[1]), Categorical(logits=last[0])).mean()
    assert float(LOSSES["channel_kl"](5, 5)(student, teacher)) == pytest.approx(float(expected), rel=1e-4)


def test_attention_transfer_against_a_loop() -> None:
    student, teacher = pair(4)
    total = []
    for s, t in zip(student.double().numpy(), teacher.double().numpy(), strict=True):
        maps = [(side**2).mean(0).ravel() for side in (s, t)]
        a, b = (m / np.linalg.norm(m) for m in maps)
        total.append(((a - b) ** 2).mean())
    assert float(LOSSES["attention_transfer"](5, 5)(student, teacher)) == pytest.approx(np.mean(total), rel=1e-4)


def test_prototypes_against_a_loop() -> None:
    student, teacher = pair(5)
    classes = labels(5)

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
    assert float(LOSSES["prototypes"](5, 5)(student, teacher, classes)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradient_is_that_of_the_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    loss = LOSSES[name](3, 3).double()
    student, teacher = (side.double() for side in pair(6, (2, 3, 2, 2, 2)))
    classes = labels(6, (2, 3, 2, 2, 2))
    student.requires_grad_(True)
    # compare() rather than forward(): forward casts to float32, too coarse for finite differences
    assert torch.autograd.gradcheck(lambda s: loss.compare(s, teacher, classes), (student,), atol=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_computed_in_float32_under_autocast(name: str) -> None:
    student, teacher = pair(7)
    loss = LOSSES[name](5, 5)
    expected = loss(student.bfloat16(), teacher.bfloat16(), labels())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(student.bfloat16(), teacher.bfloat16(), labels())
    assert value.dtype == torch.float32
    assert float(value) == float(expected)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_finite_with_gradient_on_constant_features(name: str) -> None:
    student = torch.ones(SHAPE, requires_grad=True)
    value = LOSSES[name](5, 5)(student, torch.ones(SHAPE), labels())
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"barlow_twins"}))
def test_zero_when_student_equals_teacher(name: str) -> None:
    student, _ = pair(8)
    assert float(LOSSES[name](5, 5)(student, student.clone(), labels())) == pytest.approx(0, abs=1e-6)


def test_barlow_twins_is_zero_for_equal_and_decorrelated_channels() -> None:
    orthogonal, _ = torch.linalg.qr(torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))
    orthogonal = orthogonal - orthogonal.mean(0)
    orthogonal, _ = torch.linalg.qr(orthogonal)
    z = (orthogonal - orthogonal.mean(0)).T.reshape(1, 5, 4, 4, 4) * 100
    assert float(BarlowTwins(5, 5)(z, z.clone())) < 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(LOSSES)))
def test_order_of_samples_does_not_matter(seed: int, name: str) -> None:
    student, teacher = pair(seed)
    classes = labels(seed)
    loss = LOSSES[name](5, 5)
    flipped = (side.flip(0) for side in (student, teacher, classes))
    assert float(loss(*flipped)) == pytest.approx(float(loss(student, teacher, classes)), rel=1e-4, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_barlow_twins_ignores_the_scale_and_shift_of_a_channel(seed: int, scale: float, shift: float) -> None:
    student, teacher = pair(seed)
    loss = BarlowTwins(5, 5)
    assert float(loss(student * scale + shift, teacher)) == pytest.approx(float(loss(student, teacher)), rel=1e-2)


def test_learnt_parts_only_where_asked_for() -> None:
    assert not list(BarlowTwins(5, 5).parameters())
    assert len(list(BarlowTwins(5, 5, projector=8).parameters())) == 2
    assert LOSSES["mse"](5, 7, projection=True)(*pair(shape=SHAPE)[:1], torch.zeros(2, 7, 4, 4, 4)) > 0


def test_recipes_know_every_loss_and_option() -> None:
    options = {
        name: set(inspect.signature(kind).parameters) - {"student_channels", "teacher_channels"}
        for name, kind in LOSSES.items()
    }
    assert options == LOSS_OPTIONS

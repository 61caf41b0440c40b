"""Class-mean images, labels from regions, and random modality subsets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.distill import class_mean, drop_modalities, labels_from_regions, random_subsets


def test_labels_behind_nested_regions() -> None:
    regions = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)[None]
    assert labels_from_regions(regions).tolist() == [[[0, 1, 2, 3]]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), size=st.sampled_from([(3, 4, 5), (6, 7)]))
def test_class_mean_against_a_loop(seed: int, size: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2, 3, *size))
    labels = rng.integers(0, 4, size=(2, 1, *size))
    expected = np.zeros_like(images)
    for sample in range(2):
        for channel in range(3):
            for label in range(4):
                mask = labels[sample, 0] == label
                mean = images[sample, channel][mask].sum() / (mask.sum() + 1e-8)
                expected[sample, channel][mask] = mean
    found = class_mean(torch.from_numpy(images), torch.from_numpy(labels)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-7)
    two = class_mean(torch.from_numpy(images), torch.from_numpy(labels), classes=2).numpy()
    np.testing.assert_allclose(two, np.where(labels < 2, expected, 0), atol=1e-7)


def test_random_subsets_are_all_drawn_and_never_empty() -> None:
    keep = random_subsets(3000, seed=1)
    assert keep.any(1).all()
    counts = torch.unique(keep.int() @ torch.tensor([1, 2, 4, 8], dtype=torch.int32), return_counts=True)[1]
    assert len(counts) == 15
    assert counts.min() > 120  # 200 expected of each


def test_random_subsets_follow_from_the_seed_and_move_no_other_stream() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = random_subsets(8, seed=5)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, random_subsets(8, seed=5))
    assert not torch.equal(random_subsets(64, seed=5), random_subsets(64, seed=6))


def test_dropped_modalities_are_zero_and_the_others_untouched() -> None:
    images = torch.randn(2, 4, 2, 2, 2)
    keep = torch.tensor([[True, False, True, False], [False, False, False, True]])
    shown = drop_modalities(images, keep)
    assert torch.equal(shown[0, 0], images[0, 0])
    assert shown[0, 1].abs().sum() == 0
    assert torch.equal(shown[1, 3], images[1, 3])


def test_shapes_that_do_not_fit_are_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"should be \(B, 1, ...\)"):
        class_mean(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match=r"should be \(B, 4\)"):
        drop_modalities(torch.zeros(2, 4, 4, 4), torch.ones(2, 3, dtype=torch.bool))

"""What ten phantoms measure, by the script that measures patients: contrasts, variation, volumes, components."""

import numpy as np
import phantom_contrast as bench
import pytest

from crossmodal.phantom import write_cohort

CONTRASTS = [key for key, (mean, *_) in bench.REAL.items() if mean is not None]
SIZES = [key for key in bench.REAL if key.endswith("_ml") or key in ("components", "largest_share")]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Ten cases of site A at 3 mm, one row each."""
    root = tmp_path_factory.mktemp("ten")
    write_cohort(root, 10, 3, 2023, "A", 2)
    return bench.measure_cohort(root)


@pytest.mark.parametrize("key", CONTRASTS + [f"cv_{m}" for m in bench.MODALITIES])
def test_the_mean_lies_in_the_range_of_patients(measured, key):
    _, low, high = bench.REAL[key]
    assert low <= measured[key].mean() <= high


@pytest.mark.parametrize("key", SIZES)
def test_every_case_has_the_size_of_a_patients(measured, key):
    _, low, high = bench.REAL[key]
    assert measured[key].dropna().between(low, high).all()


def test_one_case_in_ten_has_no_enhancing_tumour_and_some_have_two_lesions(measured):
    assert measured["enhancing_ml"].isna().sum() == 1
    assert 1 <= (measured["components"] == 2).sum() <= 2


def test_sequences_carry_what_they_carry_in_patients(measured):
    def stands_out(modality: str) -> float:
        """Enhancing tumour against the rest of the tumour."""
        rest = measured[[f"necrosis_{modality}", f"oedema_{modality}"]].mean(axis=1)
        return (measured[f"enhancing_{modality}"] - rest).mean()

    assert stands_out("t1ce") > 1.5
    assert all(abs(stands_out(m)) < 0.6 for m in ("t1", "t2", "flair"))
    lesion = measured[[f"{label}_flair" for label in bench.LABELS]]
    assert lesion.min(axis=1).mean() > 1.3, "FLAIR shows the whole tumour"


def test_real_cases_measure_what_the_phantom_was_fitted_to(brats_sample):
    table = bench.measure_cohort(brats_sample)
    for key in CONTRASTS:
        _, low, high = bench.REAL[key]
        assert (table[key].min() >= low - 0.05) and (table[key].max() <= high + 0.05), key
    assert np.isclose(table["brain_ml"].max(), bench.REAL["brain_ml"][2], rtol=0.01)

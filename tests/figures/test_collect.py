"""What `crossmodal figure-data` makes of heavy artefacts."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import collect

from crossmodal.errors import UserError
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.layout import Training
from crossmodal.figures.data.class_means import class_mean, normalise
from crossmodal.figures.data.panels import choose, crop, nest, slice_of, to_bytes
from crossmodal.figures.data.training_logs import MOST_POINTS, collect_curves, shown_trainings, thin

ONE_RUN = {"cohorts": ("brats2020",), "seeds": (0,), "cases": 3}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    methods = ("teacher", "student", "choi2023", "big_teacher")
    folder = synthetic.build(tmp_path_factory.mktemp("results") / "made-up", methods=methods, **ONE_RUN)
    rank_cases(folder)
    assert collect(folder) == []
    return folder


def rank_cases(folder):
    """Each case is worse than the one before; they are 003, 004 and so on."""
    path = folder / "tables" / "per_case.csv"
    table = pd.read_csv(path)
    table.assign(dice=1 - 0.1 * table.case.str[-3:].astype(int)).to_csv(path, index=False)


def test_curves_hold_each_term_once_and_the_resumed_epoch_wins(tmp_path):
    lines = ["epoch,step,resumed_from,time,loss_total,mse@logits,val_dice_WT", "0,10,,1.0,0.5,1.0,"]
    lines += ["1,20,,2.0,9.0,9.0,9.0", "1,20,1,2.5,0.25,0.75,0.5"]
    (tmp_path / "progress.csv").write_text("\n".join(lines) + "\n")
    assert collect_curves([(Training("student", "t2", 0, 0), tmp_path)], tmp_path) == []
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert list(curves.columns) == ["method", "modalities", "seed", "fold", "epoch", "step", "term", "value"]
    terms = {term: rows.set_index("epoch").value.to_dict() for term, rows in curves.groupby("term")}
    # An empty cell is no value.
    assert terms == {"loss_total": {0: 0.5, 1: 0.25}, "mse@logits": {0: 1.0, 1: 0.75}, "val_dice_WT": {1: 0.5}}


def test_long_curves_are_averaged_over_blocks():
    steps = np.arange(10 * MOST_POINTS)
    table = thin(pd.DataFrame({"epoch": steps // 10, "step": steps, "loss_total": steps * 2.0}))
    assert len(table) == MOST_POINTS
    assert table.loss_total.iloc[0] == np.mean(2.0 * steps[:10])


def test_of_many_subsets_the_one_in_focus_is_kept(tmp_path):
    for modalities in ("t1", "t2", "flair", "t1ce+flair", "t1+t1ce+t2+flair"):
        (tmp_path / "student" / modalities / "seed0" / "fold_0").mkdir(parents=True)
    subsets = ["t1", "t2", "flair", "t1ce+flair"]
    kept = {training.modalities for training, _ in shown_trainings(tmp_path, subsets)}
    assert kept == {"t1ce+flair", "t1+t1ce+t2+flair"}
    assert len(shown_trainings(tmp_path, subsets[:3])) == 5


def test_correlation_matrices_are_copied(experiment):
    kept = np.load(experiment / "figure_data/correlation_choi2023_t1ce+flair.npz")
    logged = np.load(experiment / "models/choi2023/t1ce+flair/seed0/fold_0/correlation.npz")
    for time in ("start", "end"):
        np.testing.assert_array_equal(kept[time], logged[time].astype(np.float16))


def test_panels_follow_the_rule(experiment):
    rows = pd.read_csv(experiment / "figure_data" / "panels.csv")
    cases = rows.drop_duplicates("rank").set_index("rank").case
    assert cases.to_dict() == {
        "best": "BraTS20_Training_003",
        "median": "BraTS20_Training_004",
        "worst": "BraTS20_Training_005",
    }
    assert list(rows.role.unique()) == ["student", "distilled", "big_teacher", "teacher"]
    with np.load(experiment / "figure_data" / "panels.npz") as arrays:
        assert {k for k in arrays if k.startswith("best_")} == {
            *("best_t1ce", "best_flair", "best_reference", "best_student", "best_distilled", "best_teacher"),
            "best_big_teacher",
        }
        reference, student = arrays["worst_reference"], arrays["worst_student"]
        np.testing.assert_array_equal(arrays["worst_teacher"], reference)
        assert reference.max() == 3 and (reference > 0).sum() == 10 * 12
        # Three voxels towards the patient's left in LPS, which lies at the right of the picture.
        np.testing.assert_array_equal(student, np.roll(reference, 3, axis=1))


def test_panels_show_the_first_run():
    """Seed 2 comes before seed 10, in whatever type and order the rows are."""
    scores = pd.DataFrame({"cohort": "c", "case": list("aabb"), "method": "student", "modalities": "t2"})
    scores = scores.assign(fold="0", seed=["10", "2"] * 2, region="WT", dice=[0.9, 0.5, 0.3, 0.2])
    chosen = choose(Resolved(methods=["student"]), scores)
    assert chosen[["rank", "case", "seed", "dice_WT"]].to_numpy().tolist() == [
        ["best", "a", 2, 0.5],
        ["worst", "b", 2, 0.2],
    ]


def test_validation_cases_are_no_panels(tmp_path):
    folder = synthetic.build(tmp_path / "made-up", **ONE_RUN)
    path = folder / "tables" / "per_case.csv"
    table = pd.read_csv(path)
    table["split"] = np.where(table.case.str.endswith("003"), "train", "test")
    table.to_csv(path, index=False)
    collect(folder)
    rows = pd.read_csv(folder / "figure_data" / "panels.csv")
    assert set(rows.case) == {"BraTS20_Training_004", "BraTS20_Training_005"}


def test_regions_are_nested_whatever_the_release_calls_them():
    regions = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
    np.testing.assert_array_equal(nest(np.array([0, 1, 2, 3, 4]), regions), [0, 2, 1, 3, 0])


def test_slices_lie_as_radiologists_look_at_them():
    volume = np.zeros((4, 6, 2))
    volume[3, 5, 1] = 1  # right, anterior in RAS
    assert slice_of(volume, 1, (slice(None), slice(None)))[0, 0] == 1


def test_grey_values_span_the_brain():
    image = np.arange(1000.0).reshape(10, 10, 10)
    grey = to_bytes(image, np.ones(image.shape, dtype=bool))
    assert grey.min() == 0 and grey.max() == 255
    assert not to_bytes(image, np.zeros(image.shape, dtype=bool)).any()
    window = crop(np.zeros((4, 5, 6), dtype=bool), (1.0, 1.0, 1.0))
    assert window == (slice(0, 4), slice(0, 5)), "without a brain, the whole slice"


def test_class_means_agree_with_a_loop():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(size=(5, 6, 7)), rng.integers(0, 3, size=(5, 6, 7))
    expected = np.empty_like(image)
    for label in range(3):
        expected[labels == label] = image[labels == label].mean()
    np.testing.assert_allclose(class_mean(image, labels), expected, rtol=1e-6)


def test_normalise_within_the_brain_alone():
    image = np.zeros((4, 4))
    image[1:3] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    scaled = normalise(image, image != 0)
    assert not scaled[0].any()
    np.testing.assert_allclose([scaled[1:3].mean(), scaled[1:3].std()], [0, 1], atol=1e-12)


def test_histograms_are_shares_of_each_class(experiment):
    table = pd.read_csv(experiment / "figure_data" / "class_mean_histograms.csv")
    totals = table.groupby(["modality", "label", "image"]).fraction.sum()
    assert len(totals) == 4 * 4 * 2
    np.testing.assert_allclose(totals, 1, rtol=1e-5)
    bins = table[table.image == "class_mean"].groupby(["modality", "label"]).size()
    assert (bins <= 2).all(), "two training cases give two values a class at most"
    assert (table.cases == 2).all()


def test_the_same_inputs_give_the_same_bytes(experiment):
    collect(experiment, "again")
    for path in sorted((experiment / "figure_data").iterdir()):
        assert (experiment / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_is_missing_is_said(tmp_path):
    folder = synthetic.build(tmp_path / "made-up", **ONE_RUN | {"cases": 2})
    rank_cases(folder)
    lost = folder / "predictions/brats2020/student/t1ce+flair/seed0/fold_0/BraTS20_Training_003.nii.gz"
    lost.unlink()
    (folder / "models/student/t1ce+flair/seed0/fold_0/progress.csv").write_text("not,a\ntable\n")
    (folder / "cohort/images/BraTS20_Training_001/BraTS20_Training_001_t1.nii.gz").write_bytes(b"damaged")
    notes = "\n".join(collect(folder))
    for name in ("no best case", "BraTS20_Training_003.nii.gz", "progress.csv", "class means without"):
        assert name in notes, notes
    with np.load(folder / "figure_data" / "panels.npz") as arrays:
        assert "worst_reference" in arrays and "best_reference" not in arrays and "median_reference" not in arrays


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config.yaml: not found"):
        collect(tmp_path)

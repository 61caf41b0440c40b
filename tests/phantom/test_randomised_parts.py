"""What site R draws, group by group: the ranges are really drawn, and each fault does what its name says."""

import numpy as np
import pytest

from crossmodal.domain import MODALITIES
from crossmodal.phantom.anatomy import CSF, GM, WM
from crossmodal.phantom.grid import Grid
from crossmodal.phantom.randomised import faults, scanner, tissue
from crossmodal.phantom.randomised.levels import LEVELS, draw_levels, shows_tumour
from crossmodal.phantom.randomised.lookalikes import add_lookalikes
from crossmodal.phantom.randomised.tumour import FORMS, draw_tumour
from crossmodal.phantom.signal import signal
from crossmodal.phantom.tumour import ED, Focus, Growth, Kind, grow

GRID = Grid.whole(6)


def generators(count):
    return [np.random.default_rng(seed) for seed in range(count)]


@pytest.fixture(scope="module")
def ball():
    """A head of fluid, grey matter and a white core, with a ventricle in its middle: mask, parts."""
    x, y, z = np.meshgrid(*GRID.axes(), indexing="ij", sparse=True)
    r = np.sqrt((x - 120) ** 2 + (y - 120) ** 2 + (z - 77) ** 2)
    mask = r < 70
    layers = {"wm": (r >= 15) & (r < 55), "gm": (r >= 55) & (r < 64), "csf": (r < 15) | ((r >= 64) & mask)}
    parts = {name: layer.astype(float) for name, layer in layers.items()}
    core = (np.sqrt((x - 150) ** 2 + (y - 120) ** 2 + (z - 77) ** 2) < 12).astype(float)
    parts = {name: part * (1 - core) for name, part in parts.items()} | {"enhancing": core}
    return mask, parts


def test_tumours_have_every_size_and_form():
    tumours = [draw_tumour(rng, 1.0) for rng in generators(2000)]
    ml = np.array([sum(f.ncr_ml + f.et_ml + f.ed_ml for f in t.kind.foci) for t in tumours])
    assert ml.min() >= 0.49 and ml.max() <= 251
    assert ml.min() < 2 and ml.max() > 240
    assert 40 < np.median(ml) < 110, "most patients' are large"
    for form, share in FORMS.items():
        of_form = [t for t in tumours if t.form == form]
        assert len(of_form) / len(tumours) == pytest.approx(share, abs=0.04)
        for focus in (f for t in of_form for f in t.kind.foci):
            assert min(focus.ncr_ml, focus.et_ml, focus.ed_ml) >= 0
            assert (focus.et_ml == 0) == (form == "no_et")
    assert {len(t.kind.foci) for t in tumours} == {1, 2, 3, 4}


def test_a_width_of_0_leaves_only_what_is_no_range():
    tumours = [draw_tumour(rng, 0.0) for rng in generators(50)]
    assert len({round(sum(f.ncr_ml + f.et_ml + f.ed_ml for f in t.kind.foci), 6) for t in tumours}) == 1
    assert len({tuple(tissue.draw_tissues(rng, 0.0).items()) for rng in generators(5)}) == 1


@pytest.mark.parametrize("width", [1.0, 2.0])
def test_tissue_is_drawn_from_its_ranges_and_stays_possible(width):
    drawn = [tissue.draw_tissues(rng, width) for rng in generators(300)]
    for name in tissue.RANGES:
        of_name = [case[name] for case in drawn]
        assert all(t.t1 > 0 and t.t2 > 0 and 0 < t.pd <= 1 and t.gd >= 0 for t in of_name), name
    gd = [case["enhancing"].gd for case in drawn]
    assert max(gd) / min(gd) > 4
    assert [t.t1 for t in (case["oedema"] for case in drawn)] != [drawn[0]["oedema"].t1] * 300


def test_sequences_mostly_show_what_they_show_in_patients():
    shown = {
        ("csf", "wm", "flair"): (0.0, 0.7),
        ("csf", "wm", "t2"): (1.5, 12.0),
        ("oedema", "wm", "flair"): (1.0, 4.0),
        ("enhancing", "oedema", "t1ce"): (1.1, 8.0),
        ("oedema", "wm", "t1"): (0.2, 1.05),
    }
    ratios = {key: [] for key in shown}
    for rng in generators(200):
        tissues, sequences = tissue.draw_tissues(rng, 1.0), scanner.draw_scanner(rng, 1.0)
        for a, b, m in shown:
            levels = [signal(m, sequences[m].site, t.t1, t.t2, t.pd, t.gd) for t in (tissues[a], tissues[b])]
            ratios[a, b, m].append(levels[0] / levels[1])
    for key, (low, high) in shown.items():
        assert (np.quantile(ratios[key], [0.05, 0.95]) >= low).all(), key
        assert (np.quantile(ratios[key], [0.05, 0.95]) <= high).all(), key


def test_random_levels_lie_in_their_ranges():
    for modality in MODALITIES:
        drawn = [draw_levels(rng, modality, 1.0) for rng in generators(200)]
        for name, (low, high) in LEVELS[modality].items():
            levels = [case[name] for case in drawn]
            assert low - 1e-9 <= min(levels) and max(levels) <= high + 1e-9
            assert max(levels) - min(levels) > 0.8 * (high - low) or name == "wm"


SHARES = {"wm": 0.4, "gm": 0.4, "deep": 0.05, "csf": 0.1, "necrosis": 0.01, "oedema": 0.03, "enhancing": 0.01}
NORMAL = {"wm": 1.0, "gm": 1.0, "deep": 1.0, "csf": 0.2, "necrosis": 1.0, "oedema": 1.0, "enhancing": 1.0}


@pytest.mark.parametrize(
    ("modality", "levels", "shown"),
    [
        ("flair", {"oedema": 1.8, "enhancing": 1.6}, True),
        ("flair", {"oedema": 1.0, "enhancing": 1.6}, False),  # no oedema is seen
        ("flair", {"oedema": 1.8, "enhancing": 0.9}, False),
        ("flair", {"oedema": 9.0, "enhancing": 1.6}, False),  # brighter than in any patient
        ("t1ce", {"oedema": 0.9, "enhancing": 1.8, "necrosis": 0.6}, True),
        ("t1ce", {"oedema": 1.2, "enhancing": 1.8, "necrosis": 0.6}, False),
        ("t1ce", {"oedema": 0.9, "enhancing": 1.1, "necrosis": 0.6}, False),
        ("t1ce", {"oedema": 0.9, "enhancing": 1.8, "necrosis": 1.7}, False),  # no rim is seen
        ("t2", {"oedema": 1.3, "enhancing": 1.2}, True),
        ("t2", {"oedema": 0.8, "enhancing": 1.2}, False),
        ("t1", {"oedema": 0.9}, True),
        ("t1", {"oedema": 0.4}, False),
    ],
)
def test_a_sequence_has_to_show_the_tumour(modality: str, levels: dict, shown: bool):
    assert shows_tumour(modality, NORMAL | levels, SHARES) == shown
    # Neither the unit of the grey levels nor what the tumour lacks changes that.
    assert shows_tumour(modality, {name: 7 * level for name, level in (NORMAL | levels).items()}, SHARES) == shown
    without = SHARES | {"necrosis": 0.0, "gm": SHARES["gm"] + SHARES["necrosis"]}
    if levels.get("necrosis") != 1.7:
        assert shows_tumour(modality, NORMAL | levels, without) == shown


def test_a_core_smaller_than_a_voxel_has_its_oedema_around_it():
    mask = np.ones((20, 20, 20), bool)
    tissue = np.stack([mask * 1.0, mask * 0.0, mask * 0.0])
    box = Grid(3.0, (0, 0, 0), mask.shape)
    kind = Kind("HGG", (Focus(0.0, 0.005, 1.0),))
    growth = Growth(0.2, smallest_ml=0.1, ragged=0.5)
    labels = grow(np.random.default_rng(0), kind, growth, [(10, 10, 10)], box, (mask, tissue), box, mask)
    assert set(np.unique(labels)) == {0, ED} and labels[10, 10, 10] == ED


def test_lookalikes_take_room_from_normal_tissue_and_not_from_the_tumour(ball):
    mask, parts = ball
    present = {name: 0.0 for name in ("vessel", "dura", "choroid", "lesion", "blood")}
    for rng in generators(12):
        more = add_lookalikes(rng, 1.0, GRID, mask, parts)
        assert np.allclose(sum(more.values())[mask], 1)
        blood = more.get("blood", np.zeros(()))
        assert np.allclose(more["enhancing"] + blood, parts["enhancing"])
        for name in present:
            present[name] += float(np.sum(more.get(name, 0.0)))
    assert min(present.values()) > 1


def test_skull_stripping_cuts_some_brains_and_leaves_tissue_around_others(ball):
    mask, _ = ball
    found = [faults.skull_strip(rng, GRID, mask) for rng in generators(40)]
    cut = [(mask & ~kept).any() for kept, _ in found]
    left = [rest.any() for _, rest in found]
    assert 0 < sum(cut) < 40 and 0 < sum(left) < 40
    assert not any((kept & ~mask).any() or (rest & mask).any() for kept, rest in found)


def test_sequences_are_shifted_by_up_to_2_mm():
    found = [faults.draw_shifts(rng, MODALITIES) for rng in generators(200)]
    lengths = np.array([[np.sqrt((by**2).sum()) for by in shifts.values()] for shifts in found])
    assert lengths.max() <= 2 and lengths.max() > 1.9
    assert (lengths.min(axis=1) == 0).all(), "the labels are those of one sequence at least"
    assert 0.15 < (lengths.max(axis=1) > 0).mean() < 0.35
    image = np.arange(20.0).reshape(20, 1, 1) * np.ones((1, 4, 4))
    assert np.allclose(faults.shift(image, np.array([1.5, 0, 0]), 3.0)[1:], image[1:] - 0.5)


def test_slices_are_empty_at_an_end_of_the_brain(ball):
    mask, _ = ball
    found = [faults.draw_empty(rng, mask, MODALITIES) for rng in generators(60)]
    lacking = [mask[:, :, slices].any() and not mask[:, :, slices].all() for f in found for slices in f.values()]
    assert 5 < len(lacking) < 60
    assert all(lacking)


def test_grey_levels_are_clipped_or_bent_but_keep_their_order(ball):
    mask, _ = ball
    image = np.random.default_rng(0).uniform(1, 100, mask.shape)
    order, clipped, bent = np.argsort(image[mask]), 0, 0
    for rng in generators(30):
        new = faults.bend(rng, image, mask)
        assert (np.diff(new[mask][order]) >= 0).all()
        clipped += (new[mask] == new[mask].max()).sum() > 1
        bent += not np.isin(new[mask][order[:10]], image[mask]).all()
    assert 0 < clipped < 30 and 0 < bent < 30


def test_slices_with_gaps_keep_a_ramp_and_lose_what_is_thin():
    ramp = np.arange(30.0).reshape(1, 1, 30) * np.ones((2, 2, 1))
    assert np.allclose(scanner.only_slices(ramp, 2, 2.5)[:, :, :28], ramp[:, :, :28])
    thin = np.zeros((2, 2, 30))
    thin[:, :, 11] = 1
    assert scanner.only_slices(thin, 2, 4.0).max() == 0
    assert scanner.only_slices(thin, 2, 0.8) is thin


def test_the_tissues_of_both_kinds_are_the_same():
    assert all(list(levels) == list(tissue.RANGES) for levels in LEVELS.values())
    assert (WM, GM, CSF) == (0, 1, 2)

"""Parts of the phantom against what is known of them: fields, signal equations, growth, mass effect."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.phantom import anatomy, signal, site, tumour
from crossmodal.phantom.grid import Grid, smooth_field


def test_a_field_is_the_same_at_every_spacing_and_crop():
    coarse, fine = Grid.whole(3), Grid.whole(1)
    assert fine.shape == (240, 240, 155), "BraTS's"
    box = fine.crop([30, 60, 20], [90, 100, 80])
    at_3 = smooth_field(np.random.default_rng(1), coarse, 6.0)
    at_1 = smooth_field(np.random.default_rng(1), box, 6.0)
    # The centre of a voxel of 3 mm is the centre of the middle one of three voxels of 1 mm.
    i, j, k = (np.arange(start // 3 + 1, (start + n) // 3 - 1) for start, n in zip(box.start, box.shape, strict=True))
    picked = at_1[np.ix_(3 * i + 1 - box.start[0], 3 * j + 1 - box.start[1], 3 * k + 1 - box.start[2])]
    np.testing.assert_allclose(picked, at_3[np.ix_(i, j, k)], atol=1e-12)


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_a_field_has_unit_variance_and_its_smoothness(sigma):
    field = smooth_field(np.random.default_rng(2), Grid.whole(2), sigma)
    assert abs(field.std() - 1) < 0.05
    # Smoothing white noise with a Gaussian of width σ leaves a correlation of e^(−d²/4σ²) at distance d.
    lag = round(sigma / 2)
    measured = np.corrcoef(field[lag:].ravel(), field[:-lag].ravel())[0, 1]
    assert abs(measured - np.exp(-((2 * lag) ** 2) / (4 * sigma**2))) < 0.06


def test_signals_at_their_limits():
    assert signal.spin_echo(850, 75, 0.7, tr=1e9, te=0) == pytest.approx(0.7)
    assert signal.spin_echo(850, 75, 0.7, tr=1e9, te=75) == pytest.approx(0.7 / np.e)
    assert signal.mprage(850, 75, 1, tr=1e9, ti=850 * np.log(2), te=0) == pytest.approx(0, abs=1e-12)
    assert signal.inversion_recovery(850, 75, 1, tr=1e9, ti=1e8, te=0) == pytest.approx(1)


def test_fluid_is_dark_in_flair_and_bright_in_t2():
    a = site.SITES["A"]
    values = {
        n: {m: signal.signal(m, a, t.t1, t.t2, t.pd, t.gd) for m in signal.MODALITIES}
        for n, t in signal.TISSUES.items()
    }
    assert values["csf"]["flair"] < 0.1 * values["wm"]["flair"]
    assert values["csf"]["t2"] > 3 * values["wm"]["t2"]
    assert values["wm"]["t1"] > values["gm"]["t1"] > values["csf"]["t1"]


def test_only_gadolinium_changes_t1ce():
    a = site.SITES["A"]
    for name, tissue in signal.TISSUES.items():
        before, after = (signal.signal(m, a, tissue.t1, tissue.t2, tissue.pd, tissue.gd) for m in ("t1", "t1ce"))
        assert after > 1.02 * before if tissue.gd else after == pytest.approx(before), name


@settings(max_examples=25, deadline=None)
@given(radius=st.floats(8, 25), share=st.floats(0.1, 0.8), r=st.floats(0.5, 60))
def test_a_swelling_keeps_the_volume_of_what_it_moves(radius, share, r):
    position = [np.array(r), np.zeros(()), np.zeros(())]
    moved = anatomy.mass_effect(position, ((0.0, 0.0, 0.0, radius, share),))
    before = r + float(moved[0])
    assert 0 < before < r
    assert before**3 == pytest.approx(r**3 - share * min(r, radius) ** 3, rel=1e-6)
    assert float(moved[1]) == float(moved[2]) == 0


@pytest.fixture(scope="module")
def grown():
    """A tumour in a block of white matter (left half) and grey matter (right half)."""
    grid = Grid(3.0, (0, 0, 0), (50, 50, 50))
    tissue = np.zeros((3, 50, 50, 50))
    tissue[anatomy.WM, :25] = 1
    tissue[anatomy.GM, 25:] = 1
    mask = np.ones((50, 50, 50), bool)
    kind = tumour.Kind("HGG", (tumour.Focus(8.0, 15.0, 60.0),))
    growth = tumour.Growth(unevenness=0.2)
    return tumour.grow(np.random.default_rng(3), kind, growth, [(24, 25, 25)], grid, (mask, tissue), grid, mask)


def test_volumes_are_those_drawn(grown):
    ml = {label: (grown == label).sum() * 0.027 for label in (tumour.NCR, tumour.ET, tumour.ED)}
    assert ml == pytest.approx({tumour.NCR: 8.0, tumour.ET: 15.0, tumour.ED: 60.0}, abs=0.03)


def test_oedema_spreads_along_white_matter(grown):
    oedema = grown == tumour.ED
    assert oedema[:25].sum() > 3 * oedema[25:].sum()


def test_necrosis_lies_within_the_core_and_the_core_within_oedema(grown):
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(np.isin(grown, (tumour.NCR, tumour.ET)), sampling=3)
    assert distance[grown == tumour.NCR].mean() > 1.5 * distance[grown == tumour.ET].mean()
    core = np.isin(grown, (tumour.NCR, tumour.ET))
    around = ndimage.binary_dilation(core) & ~core
    around[25:] = False  # grey matter
    assert (grown[around] == tumour.ED).mean() > 0.9


def test_a_core_too_large_for_the_head_still_finds_a_place():
    grid = Grid.whole(6)
    mask = np.zeros(grid.shape, bool)
    mask[15:25, 15:25, 10:20] = True
    tissue = np.zeros((3, *grid.shape))
    tissue[anatomy.WM] = mask
    kind = tumour.Kind("HGG", (tumour.Focus(200.0, 200.0, 10.0), tumour.Focus(1.0, 1.0, 1.0)))
    seeds = tumour.choose_seeds(np.random.default_rng(0), kind, tumour.Growth(unevenness=0.2), grid, mask, tissue)
    assert len(seeds) == 2
    assert all(mask[seed] for seed in seeds)

"""The phantom cohort as files: the same bytes everywhere, BraTS's layout, errors that say what to do."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError
from crossmodal.phantom import make_subject, write_cohort
from crossmodal.phantom.anatomy import load_template
from crossmodal.phantom.grid import Grid
from crossmodal.phantom.subject import kind_name

# Of the demo's seed, at 3 mm. Another value means another cohort: data.dvc and every phantom result with it.
SHA256 = {
    "BraTS20_Training_001": "26e72d26a28ddcec0032f6aa7cb993bffd03496377c6f8508cac174422456997",
    "BraTS20_Training_501": "70ac0eef3f3bb7f5513e3e79b543d647450818e685f4e3156f132af1ec248150",
}


def digest(case: Path) -> str:
    """SHA-256 over a case's five files in the order of their names."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(case.iterdir()))).hexdigest()


def plainest_processor() -> dict[str, str]:
    """Environment in which numpy, libm and BLAS use none of this processor's newer instructions."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    numpy_off = " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))
    libm_off = "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX2_Usable,-FMA_Usable,-AVX512F,-AVX512VL"
    blas = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "3"}
    return {**os.environ, "NPY_DISABLE_CPU_FEATURES": numpy_off, "GLIBC_TUNABLES": libm_off, **blas}


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory) -> dict[str, Path]:
    """Two cases of site A from two processes, and one of each site from an older processor."""
    root = tmp_path_factory.mktemp("phantoms")
    write_cohort(root / "A", 2, 3, 2023, "A", 2)
    script = (
        "import sys; from pathlib import Path; from crossmodal.phantom import write_cohort\n"
        "for site in 'AB': write_cohort(Path(sys.argv[1]) / f'older-{site}', 1, 3, 2023, site, 1)"
    )
    subprocess.run([sys.executable, "-c", script, root], check=True, env=plainest_processor())
    return {name: root / name for name in ("A", "older-A", "older-B")}


def test_the_same_bytes_on_another_processor_and_with_other_neighbours(cohorts):
    first = {name: next(root.glob("*1")) for name, root in cohorts.items()}
    assert digest(first["A"]) == digest(first["older-A"])
    assert digest(first["older-A"]) == SHA256["BraTS20_Training_001"]
    assert digest(first["older-B"]) == SHA256["BraTS20_Training_501"]


def test_files_are_those_of_brats(cohorts):
    cases = sorted(cohorts["A"].iterdir())
    assert [case.name for case in cases] == ["BraTS20_Training_001", "BraTS20_Training_002"]
    for case in cases:
        images = {kind: nibabel.load(case / f"{case.name}_{kind}.nii") for kind in (*MODALITIES, "seg")}
        assert len(list(case.iterdir())) == 5
        for kind, image in images.items():
            assert image.shape == (80, 80, 52)
            assert image.get_data_dtype() == (np.uint8 if kind == "seg" else np.int16)
            assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
            assert image.affine[:3, 3].tolist() == [0, 237, 0]
            assert image.header.get_xyzt_units()[0] == "mm"
        brains = [np.asanyarray(images[m].dataobj) != 0 for m in MODALITIES]
        assert all((brain == brains[0]).all() for brain in brains)
        seg = np.asanyarray(images["seg"].dataobj)
        assert set(np.unique(seg)) <= {0, 1, 2, 4}
        assert not seg[~brains[0]].any()


def test_each_ten_cases_hold_the_mix_of_the_site():
    for first in (1, 11, 31):
        kinds = [kind_name(2023, "A", number) for number in range(first, first + 10)]
        assert sorted(kinds) == ["bifocal"] * 2 + ["classic"] * 6 + ["low_grade", "no_et"]
    assert [kind_name(1, "A", n) for n in range(1, 11)] != [kind_name(2, "A", n) for n in range(1, 11)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"site": "C"}, "--site C: no such site; known: A, B, R"),
        ({"cases": 0}, "at least 1 case"),
        ({"seed": -1}, "a seed of 0 or more"),
        ({"spacing": 0.0}, "0.5 to 6 mm"),
        ({"spacing": float("nan")}, "0.5 to 6 mm"),
        ({"workers": 0}, "--workers 0: give 1 or more"),
    ],
)
def test_a_setting_out_of_range_is_named(tmp_path, setting, message):
    with pytest.raises(UserError, match=message):
        write_cohort(tmp_path / "out", **{"cases": 1, "workers": 1, **setting})
    assert not (tmp_path / "out").exists()


def test_cases_of_another_cohort_are_not_mixed_in(tmp_path):
    (tmp_path / "BraTS20_Training_007").mkdir()
    with pytest.raises(UserError, match="holds BraTS20_Training_007, not of this cohort of 3"):
        write_cohort(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["BraTS20_Training_007"]


def test_the_command_says_what_is_wrong_and_exits_1(tmp_path):
    command = [Path(sys.executable).with_name("crossmodal"), "cohort", "phantom", tmp_path / "x", "--site", "a"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("crossmodal: --site a: no such site")
    assert "Traceback" not in done.stderr


def test_the_same_patient_at_every_spacing():
    template = load_template()
    templates = {spacing: template.smoothed(spacing) for spacing in (3.0, 2.0)}
    at_3, at_2 = (make_subject(templates, spacing, 2023, "A", 3) for spacing in (3.0, 2.0))
    nearest = [np.floor(x / 2).astype(int) for x in Grid.whole(3).axes()]
    seen = np.ix_(*[np.minimum(i, n - 1) for i, n in zip(nearest, at_2["seg"].shape, strict=True)])
    for labels in ((1, 2, 4), (1, 4), (4,), "brain"):
        a, b = (s["t1"] > 0 if labels == "brain" else np.isin(s["seg"], labels) for s in (at_3, at_2))
        assert 2 * (a & b[seen]).sum() / (a.sum() + b[seen].sum()) > (0.98 if labels == "brain" else 0.85), labels
    assert np.corrcoef(at_3["flair"].ravel(), at_2["flair"][seen].ravel())[0, 1] > 0.9

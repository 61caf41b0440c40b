"""Site R as files: the same bytes whatever the neighbours, BraTS's labels, and images that are 0 where they should."""

import nibabel
import numpy as np
import pytest
from test_phantom_cohort import digest
from typer.testing import CliRunner

from crossmodal.cli import app
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError
from crossmodal.phantom import Randomisation, make_subject, write_cohort
from crossmodal.phantom.anatomy import load_template

QUIET = Randomisation(faults=False)


@pytest.fixture(scope="module")
def template():
    return load_template()


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """Three cases at 6 mm by two processes, the first by one, and the first without faults."""
    root = tmp_path_factory.mktemp("randomised")
    write_cohort(root / "three", 3, 6, 2023, "R", 2)
    write_cohort(root / "one", 1, 6, 2023, "R", 1)
    write_cohort(root / "quiet", 1, 6, 2023, "R", 1, QUIET)
    return root


def read(case, kind):
    return np.asanyarray(nibabel.load(case / f"{case.name}_{kind}.nii").dataobj)


def test_bytes_do_not_depend_on_the_number_of_cases_or_processes(cohorts):
    names = [f"BraTS20_Training_{number}" for number in (1001, 1002, 1003)]
    assert sorted(case.name for case in (cohorts / "three").iterdir()) == names
    assert digest(cohorts / "three" / names[0]) == digest(cohorts / "one" / names[0])
    assert digest(cohorts / "three" / names[0]) != digest(cohorts / "quiet" / names[0])


def test_the_command_draws_as_wide_as_it_is_told(cohorts, tmp_path):
    arguments = ["--cases", "1", "--spacing", "6", "--site", "R", "--width", "0.5"]
    assert CliRunner().invoke(app, ["cohort", "phantom", str(tmp_path / "command"), *arguments]).exit_code == 0
    (case,) = write_cohort(tmp_path / "library", 1, 6, 2023, "R", 1, Randomisation.of_width(0.5))
    assert digest(tmp_path / "command" / case.name) == digest(case) != digest(cohorts / "one" / case.name)


def test_without_faults_the_brain_is_the_same_in_all_sequences_and_all_else_is_0(cohorts):
    for case in (cohorts / "quiet").iterdir():
        images = {m: read(case, m) for m in MODALITIES}
        brains = [image != 0 for image in images.values()]
        assert all((brain == brains[0]).all() for brain in brains)
        assert 900 < brains[0].sum() * 0.216 < 2100, "ml"
        assert min(image.min() for image in images.values()) == 0
        assert not read(case, "seg")[~brains[0]].any()


def test_labels_are_those_of_brats_and_lie_in_the_brain(cohorts):
    for case in (cohorts / "three").iterdir():
        seg = read(case, "seg")
        assert seg.dtype == np.uint8
        assert set(np.unique(seg)) <= {0, 1, 2, 4}
        assert (seg > 0).any()
        assert all(read(case, m).dtype == np.int16 for m in MODALITIES)


def test_the_same_patient_at_every_spacing(template):
    templates = {spacing: template.smoothed(spacing) for spacing in (3.0, 6.0)}
    ml = [
        (make_subject(templates, spacing, 2023, "R", 1, QUIET)["seg"] > 0).sum() * spacing**3 / 1000
        for spacing in (3.0, 6.0)
    ]
    assert ml[0] == pytest.approx(ml[1], rel=0.02)


def test_settings_out_of_range_or_for_another_site_are_refused(tmp_path):
    with pytest.raises(UserError, match="tissue is 3"):
        Randomisation(tissue=3)
    with pytest.raises(UserError, match="random_intensities is -1; give 0 to 1"):
        Randomisation(random_intensities=-1)
    with pytest.raises(UserError, match="a randomisation is for site R, and this is site A"):
        write_cohort(tmp_path / "a", 1, site="A", randomisation=QUIET)
    assert not (tmp_path / "a").exists()

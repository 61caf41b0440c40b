"""The patients of a folder, each with whatever sequences it has; none of their images is opened."""

from pathlib import Path

from crossmodal.cohort.cases import Cohort
from crossmodal.cohort.releases import find_cases, gli_release
from crossmodal.errors import UserError
from crossmodal.predict.checks import CONVERT, dicom_in

UNTIL_2021 = "brats2021"  # whose labels are written when no release is named


def find_patients(folder: Path) -> Cohort:
    """The patients of a folder in any release's layout, or with one folder a patient.

    Args:
        folder: see `find_cases`; folders that are named as in no release are taken too, if their files are.

    Raises:
        UserError: see `find_cases`.
    """
    if folder.is_dir() and dicom_folders(folder) and not any(folder.rglob("*.nii*")):
        raise UserError(f"{folder}: holds DICOM files and no NIfTI image; {CONVERT}")
    cohort = find_cases(folder, incomplete=True)
    # GLI's names do not tell 2023 from 2024, but the labels that a prediction can have are the same in both.
    either = gli_release(cohort.cases)[0] or "brats2023-gli" if not cohort.release else ""
    cohort.release = UNTIL_2021 if cohort.release == "table" else cohort.release or either
    return cohort


def dicom_folders(folder: Path) -> list[Path]:
    """Folders of DICOM files beside the patients' folders, which hold no NIfTI image."""
    if not folder.is_dir():
        return []
    places = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    return [place for place in places if not any(place.rglob("*.nii*")) and dicom_in(place)]

"""A cohort of tiny volumes on disk, with predictions, for the tests of scoring."""

import nibabel
import numpy as np
import pandas as pd


def write_nifti(path, values, affine=None, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*spacing, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(np.asarray(values), affine), path)
    return path


class Cohort:
    """A tiny cohort on disk: references, predictions and cases.csv."""

    def __init__(self, folder):
        self.folder, self.predictions, self.cases = folder, folder / "predictions", folder / "cases.csv"
        self.predictions.mkdir(parents=True)
        self.rows = []

    def add(self, case, reference, prediction=None, release="brats2020", cohort="site", split="test", **nifti):
        seg = self.folder / "seg" / cohort / f"{case}.nii.gz"
        if reference is not None:
            write_nifti(seg, reference, **nifti)
        row = {"cohort": cohort, "case": case, "patient": f"patient-{case}", "release": release, "split": split}
        self.rows.append(row | {"seg": "" if reference is None else seg})
        pd.DataFrame(self.rows).to_csv(self.cases, index=False)
        if prediction is not None:
            self.predict(case, prediction, **nifti)

    def predict(self, case, values, **nifti):
        return write_nifti(self.predictions / f"{case}.nii.gz", values, **nifti)

"""The embedded cohort: glioma phantoms whose sequences carry what they carry in a patient.

`write_cohort` writes a cohort in the layout of BraTS 2020; `make_subject` gives one subject's arrays.
docs/phantom.md says what was fitted to what, and what a phantom cannot show.
"""

from crossmodal.phantom.site import SITES, Site
from crossmodal.phantom.subject import Subject, make_subject
from crossmodal.phantom.write import write_cohort

__all__ = ["SITES", "Site", "Subject", "make_subject", "write_cohort"]

"""The embedded cohort: simulated gliomas whose four sequences show what they show in patients.

`write_cohort` writes a cohort in the layout of BraTS 2020; `make_subject` gives one subject's arrays.
docs/phantom.md says how they were fitted to patients, and what a phantom cannot show.
"""

from crossmodal.phantom.randomised import Randomisation
from crossmodal.phantom.subject import make_subject
from crossmodal.phantom.write import write_cohort

__all__ = ["Randomisation", "make_subject", "write_cohort"]

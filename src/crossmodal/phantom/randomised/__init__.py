"""Site R: phantoms whose scanner, tissue, anatomy, tumour and faults are drawn anew for each case.

A network that is trained on them has to ignore what differs, and so can be used on patients it never saw (Billot et
al. 2023, doi:10.1016/j.media.2023.102789). docs/phantom.md says what is drawn from where.
"""

from crossmodal.phantom.randomised.settings import Randomisation
from crossmodal.phantom.randomised.subject import make_random_subject

__all__ = ["Randomisation", "make_random_subject"]

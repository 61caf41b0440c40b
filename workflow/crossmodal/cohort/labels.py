"""What the numbers in a segmentation mean, release by release, and how they map to nnU-Net's labels and back.

    release                  1          2            3    4
    BraTS 2018-2021, table   NCR/NET    ED           -    ET
    BraTS 2023 GLI           NCR        ED           ET   -
    BraTS 2024 GLI           NETC       SNFH (ED)    ET   RC: resection cavity, outside the whole tumour
    MSD Task01               ED         NET          ET   -
    inside (nnU-Net)         ED         NCR          ET   -

BraTS 2023 and MSD use the same values with 1 and 2 swapped: values alone cannot tell them apart, so every
function asks for the release by name. Sources: Baid et al. 2021 (arXiv 2107.02314) up to 2021, de Verdier
et al. 2024 (arXiv 2405.18368) for 2024, `dataset.json` for MSD Task01.
"""

from crossmodal.errors import UserError, nearest

REGIONS = ("WT", "TC", "ET")

ED, NCR, ET = 1, 2, 3  # nnU-Net's labels must be consecutive, so BraTS 1, 2, 4 cannot be kept inside
INTERNAL_REGIONS = {"WT": (ED, NCR, ET), "TC": (NCR, ET), "ET": (ET,)}

_BRATS_UNTIL_2021 = {0: 0, 1: NCR, 2: ED, 4: ET}
_TO_INTERNAL = {
    "brats2018": _BRATS_UNTIL_2021,
    "brats2019": _BRATS_UNTIL_2021,
    "brats2020": _BRATS_UNTIL_2021,
    "brats2021": _BRATS_UNTIL_2021,
    "brats2023-gli": {0: 0, 1: NCR, 2: ED, 3: ET},
    "brats2024-gli": {0: 0, 1: NCR, 2: ED, 3: ET, 4: 0},
    "msd-task01": {0: 0, 1: ED, 2: NCR, 3: ET},
    "table": _BRATS_UNTIL_2021,
}
RELEASES = tuple(_TO_INTERNAL)


def to_internal(release: str) -> dict[int, int]:
    """The release's label -> nnU-Net's (0 background, 1 ED, 2 NCR, 3 ET); a resection cavity becomes 0.

    Raises:
        UserError: the release is not one of `RELEASES`.
    """
    if release not in _TO_INTERNAL:
        raise UserError(f"release '{release}' is not one that is known; {nearest(release, RELEASES)}")
    return dict(_TO_INTERNAL[release])


def from_internal(release: str) -> dict[int, int]:
    """nnU-Net's label -> the release's own: predictions go back in the labels the data came with."""
    return {internal: own for own, internal in to_internal(release).items() if own == 0 or internal != 0}


def labels_of(release: str) -> frozenset[int]:
    """Every value that a segmentation of this release may hold, 0 included."""
    return frozenset(to_internal(release))


def regions_of(release: str) -> dict[str, tuple[int, ...]]:
    """Region name -> the release's own label values in it, sorted; e.g. brats2021: TC (1, 4)."""
    own = from_internal(release)
    return {name: tuple(sorted(own[label] for label in INTERNAL_REGIONS[name])) for name in REGIONS}

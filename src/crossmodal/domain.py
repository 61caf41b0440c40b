"""The field's names, said once: MRI sequences and their 15 subsets, tumour regions, and the labels of each release.

The order t1, t1ce, t2, flair is the order of nnU-Net's channels everywhere. A subset is written joined by "+".

    release                  1          2            3    4
    BraTS 2018-2021, table   NCR/NET    ED           -    ET
    BraTS 2023 GLI           NCR        ED           ET   -
    BraTS 2024 GLI           NETC       SNFH (ED)    ET   RC: resection cavity, outside the whole tumour
    MSD Task01               ED         NET          ET   -
    inside (nnU-Net)         ED         NCR          ET   -

BraTS 2023 and MSD use the same values with 1 and 2 swapped. Values alone cannot tell them apart, so every function
asks for the release by name. Sources: Baid et al. 2021 (arXiv 2107.02314) up to 2021, de Verdier et al. 2024
(arXiv 2405.18368) for 2024, `dataset.json` for MSD Task01.
"""

from itertools import combinations

from crossmodal.errors import UserError, nearest

MODALITIES = ("t1", "t1ce", "t2", "flair")
MODALITY_LABELS = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}
ALL = "+".join(MODALITIES)

REGIONS = ("WT", "TC", "ET")
REGION_LABELS = {"WT": "Whole tumour", "TC": "Tumour core", "ET": "Enhancing tumour"}

ED, NCR, ET = 1, 2, 3  # nnU-Net's labels must be consecutive, so BraTS 1, 2, 4 cannot be kept inside
NUMBER_OF_LABELS = 4  # with the background, 0
INTERNAL_REGIONS = {"WT": (ED, NCR, ET), "TC": (NCR, ET), "ET": (ET,)}

_BRATS_UNTIL_2021 = {0: 0, 1: NCR, 2: ED, 4: ET}
_TO_INTERNAL = dict.fromkeys(("brats2018", "brats2019", "brats2020", "brats2021"), _BRATS_UNTIL_2021) | {
    "brats2023-gli": {0: 0, 1: NCR, 2: ED, 3: ET},
    "brats2024-gli": {0: 0, 1: NCR, 2: ED, 3: ET, 4: 0},
    "msd-task01": {0: 0, 1: ED, 2: NCR, 3: ET},
    "table": _BRATS_UNTIL_2021,
}
RELEASES = tuple(_TO_INTERNAL)


def parse_subset(text: str) -> tuple[str, ...]:
    """The modalities of a subset such as "t1ce+flair", in the fixed order ("all" stands for the four).

    Raises UserError when it is empty, names an unknown modality or repeats one.
    """
    names = list(MODALITIES) if str(text) == "all" else [name.strip() for name in str(text).split("+")]
    if names == [""]:
        raise UserError("a modality subset is empty: give at least one of " + ", ".join(MODALITIES))
    for name in names:
        if name not in MODALITIES:
            raise UserError(f"unknown modality '{name}' in the subset '{text}': {nearest(name, MODALITIES)}")
    if len(set(names)) < len(names):
        raise UserError(f"the subset '{text}' repeats a modality: name each once, joined by +, as in t1ce+flair")
    return tuple(name for name in MODALITIES if name in names)


def subset_name(modalities: tuple[str, ...]) -> str:
    """The canonical text of a subset: ("flair", "t1ce") gives "t1ce+flair"."""
    return "+".join(name for name in MODALITIES if name in modalities)


def channels_of(modalities: tuple[str, ...]) -> list[int]:
    """Positions of the modalities among the four channels, ascending."""
    return [MODALITIES.index(name) for name in MODALITIES if name in modalities]


def all_subsets() -> list[str]:
    """The 15 subsets, from single modalities to all four, as the field's tables list them."""
    return [subset_name(chosen) for size in range(1, 5) for chosen in combinations(MODALITIES, size)]


def to_internal(release: str) -> dict[int, int]:
    """The release's label -> nnU-Net's (0 background, 1 ED, 2 NCR, 3 ET); a resection cavity becomes 0.

    Raises UserError when the release is not one of `RELEASES`.
    """
    if release not in _TO_INTERNAL:
        raise UserError(f"unknown release '{release}': {nearest(release, RELEASES)}")
    return dict(_TO_INTERNAL[release])


def from_internal(release: str) -> dict[int, int]:
    """nnU-Net's label -> the release's own. Predictions are written in the labels of their data."""
    return {internal: own for own, internal in to_internal(release).items() if own == 0 or internal != 0}


def labels_of(release: str) -> frozenset[int]:
    """Every value that a segmentation of this release may hold, 0 included."""
    return frozenset(to_internal(release))


def regions_of(release: str) -> dict[str, tuple[int, ...]]:
    """Region name -> the release's own label values in it, sorted; e.g. brats2021: TC (1, 4)."""
    own = from_internal(release)
    return {name: tuple(sorted(own[label] for label in INTERNAL_REGIONS[name])) for name in REGIONS}

"""The four MRI sequences of BraTS and their 15 subsets.

The order t1, t1ce, t2, flair is the order of nnU-Net's channels everywhere; a subset is written joined by "+".
"""

from itertools import combinations

from crossmodal.errors import UserError, nearest

MODALITIES = ("t1", "t1ce", "t2", "flair")
ALL = "+".join(MODALITIES)


def parse_subset(text: str) -> tuple[str, ...]:
    """The modalities of a subset such as "t1ce+flair", in the fixed order ("all" stands for the four).

    Raises:
        UserError: the subset is empty, names an unknown modality or repeats one.
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

"""How methods, modalities and regions are called in figures and in the report, from their names alone."""

import re

from crossmodal.modalities import ALL, MODALITIES

MODALITY_LABELS = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}
REGIONS = ("WT", "TC", "ET")
REGION_LABELS = {"WT": "Whole tumour", "TC": "Tumour core", "ET": "Enhancing tumour"}


def method_label(method: str) -> str:
    """`choi2023_two_stage` → "Choi 2023, two stage"; `modality_dropout` → "Modality dropout"."""
    if method == "student":
        return "Student alone"
    published = re.fullmatch(r"([a-z]+)(\d{4})(?:_(.+))?", method)
    if published:
        author, year, variant = published.groups()
        return f"{author.capitalize()} {year}" + (f", {variant.replace('_', ' ')}" if variant else "")
    words = method.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def modalities_label(modalities: str) -> str:
    """`t1ce+flair` → "T1ce + FLAIR"; the full set → "all four sequences"."""
    if modalities == ALL:
        return "all four sequences"
    return " + ".join(MODALITY_LABELS.get(m, m) for m in modalities.split("+"))


def subset_order(modalities: str) -> tuple:
    """Sort key of the field's tables: one modality first, then two, three, four; each in the fixed order."""
    parts = modalities.split("+")
    return len(parts), [MODALITIES.index(p) if p in MODALITIES else len(MODALITIES) for p in parts]


def signed(value: float, digits: int = 3) -> str:
    """With a sign unless it is zero, and a minus as wide as the plus."""
    rounded = round(float(value), digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def enumerate_words(items: list[str], conjunction: str = "and") -> str:
    """["a", "b", "c"] → "a, b and c"."""
    items = list(items)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def plural(count: int, noun: str) -> str:
    """1, "case" → "1 case"; 3, "case" → "3 cases"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")

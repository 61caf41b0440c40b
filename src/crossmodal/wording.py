"""How methods, modalities and numbers are written in tables, figures, the report and the README."""

import math
import re

from crossmodal.domain import ALL, MODALITIES, MODALITY_LABELS

MISSING = "–"


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


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """0.853, or "–" for a missing number; with `sign` +0.020, −0.007, and 0.000 without a sign."""
    if value is None or math.isnan(value):
        return MISSING
    rounded = round(float(value), digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}".replace("-", "−")


def interval(low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """0.812 to 0.889; empty where there is no interval."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def estimate(value: float, low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """0.853 (0.812 to 0.889); the number alone where there is no interval."""
    between = interval(low, high, digits, sign)
    return f"{number(value, digits, sign)} ({between})" if between else number(value, digits, sign)


def p_value(p: float) -> str:
    """<0.001, 0.023, or "–"."""
    return "<0.001" if p < 0.001 else number(p)


def percent(share: float, digits: int = 0) -> str:
    """A share as 43%, or "–"."""
    return MISSING if math.isnan(share) else f"{number(100 * share, digits)}%"


def percent_estimate(share: float, low: float, high: float) -> str:
    """43% (12% to 70%); the share alone where there is no interval."""
    known = not (math.isnan(low) or math.isnan(high))
    return percent(share) + (f" ({percent(low)} to {percent(high)})" if known else "")


def enumerate_words(items: list[str], conjunction: str = "and") -> str:
    """["a", "b", "c"] → "a, b and c"."""
    items = list(items)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def plural(count: int, noun: str) -> str:
    """1, "case" → "1 case"; 3, "case" → "3 cases"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")

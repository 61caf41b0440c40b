"""Scanners of the two sites: field strength, timing, noise, bias, resolution, and which cases they see."""

from dataclasses import dataclass

# Kinds of each ten consecutive cases of a site; their order is drawn for each ten.
MIX_A = ("classic",) * 6 + ("bifocal",) * 2 + ("low_grade", "no_et")
MIX_B = ("classic",) * 3 + ("bifocal",) * 2 + ("low_grade",) * 3 + ("no_et",) * 2


@dataclass(frozen=True)
class Tissue:
    """T1 and T2 in ms, proton density relative to CSF, gadolinium after injection in mM, share of texture."""

    t1: float
    t2: float
    pd: float
    gd: float = 0.0
    texture: float = 1.0


@dataclass(frozen=True)
class Site:
    """Timings in ms; noise as a share of white matter; bias as the largest deviation from 1; slices in mm."""

    first_case: int
    mix: tuple[str, ...]
    t1_factor: float = 1.0  # field strength: T1 grows with it, T2 falls
    t2_factor: float = 1.0
    t1_timing: tuple[float, float, float] = (2000, 1050, 3)  # TR, TI, TE; TI 0: spin echo
    t2_timing: tuple[float, float] = (6000, 105)  # TR, TE
    flair_timing: tuple[float, float, float] = (9000, 2430, 120)  # TR, TI, TE
    noise: tuple[float, float] = (0.03, 0.05)
    bias: float = 0.10
    slice_mm: tuple[float, float] = (1.0, 4.0)
    relaxivity: float = 4.5  # of gadolinium, per mM per s


SITES = {
    "A": Site(1, MIX_A),
    "B": Site(
        501,
        MIX_B,
        t1_factor=1.12,
        t2_factor=0.9,
        t1_timing=(1700, 950, 5),
        t2_timing=(4500, 90),
        flair_timing=(8000, 2350, 95),
        noise=(0.06, 0.09),
        bias=0.25,
        slice_mm=(4.0, 6.0),
        relaxivity=3.8,
    ),
}

RANDOMISED = "R"  # each case has a scanner of its own: the package `randomised`
FIRST_CASE = {name: site.first_case for name, site in SITES.items()} | {RANDOMISED: 1001}


def case_name(site: str, number: int) -> str:
    """BraTS 2020's name for the site's case `number` (from 1); no two sites share a name below 500 cases."""
    return f"BraTS20_Training_{FIRST_CASE[site] + number - 1:03d}"

"""Write a cohort in the layout of BraTS 2020, the cases in parallel."""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np

from crossmodal.device import available_cores, keep_freed_memory
from crossmodal.errors import UserError, nearest
from crossmodal.files import atomic_path
from crossmodal.phantom.anatomy import Template, load_template
from crossmodal.phantom.randomised import Randomisation
from crossmodal.phantom.site import FIRST_CASE, RANDOMISED, case_name
from crossmodal.phantom.subject import make_subject
from crossmodal.phantom.tumour import GROWTH_SPACING_MM
from crossmodal.progress import track

_templates: dict[float, Template] = {}  # of a worker process


def write_cohort(
    out: Path,
    cases: int,
    spacing: float = 3.0,
    seed: int = 2023,
    site: str = "A",
    workers: int | None = None,
    randomisation: Randomisation | None = None,
) -> list[Path]:
    """Write `cases` phantoms under `out`, one folder each, and return the folders.

    The files of case k do not depend on the number of cases and workers.

    Args:
        out: folder; files of the same names in it are replaced.
        cases: how many, 1 or more.
        spacing: edge of the cubic voxels in mm, 0.5 to 6; 1 gives BraTS's 240×240×155.
        seed: 0 or more.
        site: "A" or "B", two sets of scanner settings and of cases; or "R", where each case has its own.
        workers: number of processes; by default the cores that this process may use.
        randomisation: how wide site R is drawn; None for the default.

    Raises:
        UserError: a setting is out of its range, or `out` holds cases that are not of this cohort.
    """
    _check(out, cases, spacing, seed, site, workers)
    if randomisation is not None and site != RANDOMISED:
        raise UserError(f"a randomisation is for site {RANDOMISED}, and this is site {site}")
    keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    template = load_template()
    templates = {s: template.smoothed(s) for s in {float(spacing), GROWTH_SPACING_MM}}
    write = partial(_write_subject, out, float(spacing), seed, site, randomisation)
    numbers = range(1, cases + 1)
    workers = min(workers or available_cores(), cases)
    if workers == 1:
        _set_templates(templates)
        return list(track(map(write, numbers), "phantoms written", cases))
    # A forked process shares the templates; a spawned one must be sent them, half a gigabyte.
    start = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, start, _set_templates, (templates,)) as pool:
        return list(track(pool.map(write, numbers), "phantoms written", cases))


def _check(out: Path, cases: int, spacing: float, seed: int, site: str, workers: int | None) -> None:
    if site not in FIRST_CASE:
        raise UserError(f"--site {site}: no such site; {nearest(site, FIRST_CASE)}")
    if cases < 1 or seed < 0:
        raise UserError(f"--cases {cases} --seed {seed}: give at least 1 case and a seed of 0 or more")
    if not 0.5 <= spacing <= 6:
        raise UserError(f"--spacing {spacing}: give 0.5 to 6 mm; 3 is the demo's, 1 is BraTS's")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: give 1 or more")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give a folder for the cohort")
    names = {case_name(site, number) for number in range(1, cases + 1)}
    strange = sorted(f.name for f in out.glob("BraTS20_Training_*") if f.name not in names)
    if strange:
        raise UserError(
            f"{out} holds {strange[0]}{' and others' if strange[1:] else ''}, not of this cohort of {cases}: "
            "remove what is there, or give another folder"
        )


def _set_templates(templates: dict[float, Template]) -> None:
    _templates.clear()
    _templates.update(templates)


def _write_subject(
    out: Path, spacing: float, seed: int, site: str, randomisation: Randomisation | None, number: int
) -> Path:
    """Write one case in LPS with BraTS's origin; uncompressed, since gzip's bytes depend on the system's zlib."""
    folder = out / case_name(site, number)
    folder.mkdir(exist_ok=True)
    for kind, values in make_subject(_templates, spacing, seed, site, number, randomisation).items():
        affine = np.diag([-spacing, -spacing, spacing, 1.0])
        affine[1, 3] = spacing * (values.shape[1] - 1)
        image = nib.Nifti1Image(values, affine)
        image.header.set_xyzt_units("mm")
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        with atomic_path(folder / f"{folder.name}_{kind}.nii") as temporary:
            temporary.write_bytes(image.to_bytes())
    return folder

"""What `crossmodal predict` was asked: refused before any work where it cannot be done, explained, and answered."""

from collections.abc import Mapping
from pathlib import Path

from crossmodal.domain import from_internal, subset_name
from crossmodal.errors import UserError
from crossmodal.evaluate.render import Table
from crossmodal.predict.checks import check_headers
from crossmodal.predict.choose import Networks
from crossmodal.predict.find import find_patients
from crossmodal.predict.output import NOTICE
from crossmodal.predict.writing import require_writable
from crossmodal.wording import estimate, modalities_label, subset_order


def check_request(
    files: Mapping[str, Path],
    patients: Path | None,
    out: Path | None,
    release: str | None,
    resample: bool,
    explain: bool,
) -> None:
    """Refuse what cannot be done; a second is enough for that, loading a network is not.

    Args:
        files: modality to file, in the fixed order.
        patients: the folder of patients, in place of files.
        out: where the result is to lie; not needed to `explain`.
        release: whose labels are to be written.
        resample: whether images may be on different grids.
        explain: whether the choice of network is asked for, and no segmentation.

    Raises:
        UserError: naming the option or the file, and the remedy.
    """
    if bool(files) == bool(patients):
        raise UserError("give the images of one patient (--t1, --t1ce, --t2, --flair), or --patients FOLDER")
    if release:
        from_internal(release)
    if files:
        check_headers(files, resample)
    if explain:
        return
    if out is None:
        raise UserError("--out: say where the segmentation is to be written")
    if patients:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out}: is a file; with --patients give a folder")
        if out.resolve() == patients.resolve():
            raise UserError(f"--out {out}: is the folder of the patients; give another folder")
        require_writable(out, out)
        return
    if not out.name.endswith((".nii.gz", ".nii")):
        raise UserError(f"--out {out}: should end in .nii.gz")
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; give the name of a file")
    if out.resolve() in [path.resolve() for path in files.values()]:
        raise UserError(f"--out {out}: would overwrite an image that is read; give another name")
    require_writable(out, out.parent)


def explanation(networks: Networks, files: Mapping[str, Path], patients: Path | None) -> list[Table]:
    """For each set of sequences, the networks that could take it, and the one that would."""
    if patients:
        given = [subset_name(tuple(case.files)) for case in find_patients(patients).cases]
        subsets = sorted({subset for subset in given if subset}, key=subset_order)
        counts = {subset: f" ({given.count(subset)} in {patients})" for subset in subsets}
    else:
        counts = {subset_name(tuple(files)): ""}
    return [_explained(networks, subset, note) for subset, note in counts.items()]


def answer(record: dict, out: Path) -> str:
    """What is printed after a segmentation."""
    volumes = ", ".join(f"{region} {value:.1f} ml" for region, value in record["volumes_ml"].items())
    return f"network: {record['model']['why']}\n{out}: {volumes}\n{NOTICE}"


def _explained(networks: Networks, subset: str, note: str) -> Table:
    rows = []
    for one in networks.candidates(subset) if networks.is_experiment else []:
        kind = "any sequences" if one.any_subset else "these alone"
        dice = estimate(one.dice, one.low, one.high) if one.n else "not validated"
        rows.append([one.method, kind, dice, str(one.n), str(len(one.folders))])
    try:
        choice = networks.choose(subset)
        notes = [f"Taken: {choice.why}.", *(f"Model folder: {folder}" for folder in choice.folders), NOTICE]
    except UserError as refusal:
        notes = [f"None is taken: {refusal}"]
    title = f"Networks for {modalities_label(subset)}{note}"
    caption = "Dice: mean over patients of the mean over WT, TC and ET, 95% interval over patients." if rows else ""
    return Table(title, caption, ["Method", "Takes", "Dice", "n", "Seeds"], rows, notes)

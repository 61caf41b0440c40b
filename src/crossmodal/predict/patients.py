"""A folder of patients, each with its own missing sequences: one after the other, those that are done skipped."""

import json
from dataclasses import replace
from pathlib import Path

from crossmodal.cohort.cases import Case
from crossmodal.cohort.csv_text import write_csv
from crossmodal.cohort.problems import errors_in, printable
from crossmodal.domain import MODALITIES, REGIONS, subset_name
from crossmodal.errors import UserError, storage_fault
from crossmodal.files import only_process, remove_half_written
from crossmodal.predict.checks import CONVERT, dicom_in
from crossmodal.predict.find import dicom_folders, find_patients
from crossmodal.predict.output import NOTICE, beside
from crossmodal.predict.segment import Segmenter, show_warnings
from crossmodal.progress import say, track
from crossmodal.wording import enumerate_words, plural

TABLE = "patients.csv"
COLUMNS = (
    "case",
    "status",
    "sequences",
    *(f"{region}_ml" for region in REGIONS),
    "method",
    "warnings",
    "error",
    "notice",
)
DONE, FAILED = "done", "failed"


def segment_folder(folder: Path, out: Path, segmenter: Segmenter) -> list[dict[str, str]]:
    """Segment every patient of a folder into out/<case>.nii.gz; returns the rows of out/patients.csv.

    A patient that cannot be segmented has a row that says why, and does not stop the others. One whose segmentation is
    there already, made from the same images by the same networks, is skipped. The table is written anew after each
    patient, so that it is there however this ends.

    Args:
        folder: in any release's layout, or with one folder a patient; or a table of paths.
        out: the folder of the segmentations.
        segmenter: its release is what the folder's own is replaced by, if it names one.

    Raises:
        UserError: no patient is found, or another process writes into `out`.
    """
    cohort = find_patients(folder)
    segmenter.wanted = replace(segmenter.wanted, release=segmenter.wanted.release or cohort.release)
    rows = {case.name: _row(case) for case in cohort.cases}
    rows |= {problem.case: _failure(problem.case, _said(problem)) for problem in errors_in(cohort.problems)}
    strangers = [place for place in dicom_folders(folder) if place.name not in rows]
    rows |= {place.name: _failure(place.name, _is_dicom(place)) for place in strangers}
    with only_process(out, out / ".lock", "written"):
        remove_half_written(out)
        for case in track(cohort.cases, "patients segmented"):
            rows[case.name] = _segmented(case, out, segmenter)
            write_csv(out / TABLE, COLUMNS, rows.values())
    write_csv(out / TABLE, COLUMNS, rows.values())
    return list(rows.values())


def summary(rows: list[dict[str, str]], out: Path) -> str:
    """How many patients were segmented, and which were not.

    Raises:
        UserError: with these words, if one was not.
    """
    failed = [row["case"] for row in rows if row["status"] != DONE]
    done = f"{plural(len(rows) - len(failed), 'patient')} segmented in {out}; volumes and warnings: {out / TABLE}"
    if not failed:
        return done
    shown = enumerate_words([printable(name) for name in failed[:5]] + (["others"] if len(failed) > 5 else []))
    raise UserError(
        f"{len(failed)} of {len(rows)} patients were not segmented ({shown}): {out / TABLE} says why; {done}"
    )


def _segmented(case: Case, out: Path, segmenter: Segmenter) -> dict[str, str]:
    """The patient's row, after it was segmented, found to be done, or given up."""
    wrong = errors_in(case.problems)
    files = {name: case.files[name] for name in MODALITIES if name in case.files}
    try:
        if wrong:
            raise UserError(_said(wrong[0]))
        if not files and dicom_in(Path(case.where)):
            raise UserError(_is_dicom(Path(case.where)))
        if not files:
            raise UserError(f"{case.where}: has none of {', '.join(MODALITIES)}; put its images there, named so")
        segmentation = out / f"{case.name}.nii.gz"
        record = _record(case, files, segmentation, segmenter)
        if record is None:
            _remove_older(segmentation)
            record = segmenter.segment(files, segmentation, case.name)
            show_warnings(record)
        volumes = {f"{region}_ml": f"{record['volumes_ml'][region]:.3f}" for region in REGIONS}
        warnings = printable("; ".join(record["warnings"]))
        done = {"status": DONE, "method": record["model"]["method"], "warnings": warnings, "error": ""}
        return _row(case) | volumes | done
    except (UserError, OSError, RuntimeError, MemoryError) as fault:
        if isinstance(fault, OSError) and storage_fault(fault):
            raise  # a full disk stops every patient
        reason = printable(str(fault) or type(fault).__name__)
        say(f"{case.name}: not segmented: {reason}")
        return _failure(case.name, reason, subset_name(tuple(files)))


def _record(case: Case, files: dict[str, str], segmentation: Path, segmenter: Segmenter) -> dict | None:
    """What an earlier call wrote for this patient; None if there is nothing, or of other images or networks."""
    path = segmentation.with_name(f"{case.name}.json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        choice = segmenter.networks.choose(subset_name(tuple(files)))
        same = segmentation.is_file() and record["made_from"] == segmenter.made_from(files, choice)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same else None


def _remove_older(segmentation: Path) -> None:
    """Delete what an earlier call wrote of other images or networks, so that it is not taken for these."""
    for ending in (".json", "_probabilities.nii.gz", ".png"):
        beside(segmentation, ending).unlink(missing_ok=True)
    segmentation.unlink(missing_ok=True)


def _row(case: Case) -> dict[str, str]:
    sequences = subset_name(tuple(name for name in MODALITIES if name in case.files))
    return {"case": printable(case.name), "status": "not yet", "sequences": sequences, "notice": NOTICE}


def _failure(name: str, why: str, sequences: str = "") -> dict[str, str]:
    return {
        "case": printable(name),
        "status": FAILED,
        "sequences": sequences,
        "error": printable(why),
        "notice": NOTICE,
    }


def _is_dicom(folder: Path) -> str:
    return f"{folder}: is a folder of DICOM files; {CONVERT}"


def _said(problem) -> str:
    return f"{problem.file or problem.case}: {problem.problem}; {problem.remedy}"

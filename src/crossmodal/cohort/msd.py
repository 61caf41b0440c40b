"""MSD Task01_BrainTumour: 4D files in imagesTr and imagesTs, labels in labelsTr, and dataset.json for both."""

import codecs
import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from crossmodal.cohort.cases import Case, Cohort, name_fault
from crossmodal.cohort.problems import Problem, error, extra_file
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError

RELEASE = "msd-task01"
_NAMES = {"flair": "flair", "t1w": "t1", "t1": "t1", "t1gd": "t1ce", "t1ce": "t1ce", "t2w": "t2", "t2": "t2"}
_LABELS = {"1": "edema", "2": "non-enhancing", "3": "enhancing"}
_FILE = re.compile(r"(?P<case>[^.].*)\.nii(\.gz)?", re.IGNORECASE | re.DOTALL)
_UNPACK_AGAIN = "unpack Task01_BrainTumour.tar again"


class _Description(BaseModel):
    """What is used of dataset.json."""

    name: str = "another task"
    modality: dict[str, str]
    labels: dict[str, str]
    training: list[dict[str, str]] = []


def find_msd_root(path: Path) -> Path | None:
    """The folder that has dataset.json and images in it: `path`, or a folder in it; None if there is none."""
    for place in (path, *sorted(entry for entry in path.iterdir() if entry.is_dir())):
        if (place / "dataset.json").is_file() and any((place / part).is_dir() for part in ("imagesTr", "imagesTs")):
            return place
    return None


def read_msd(root: Path) -> Cohort:
    """All cases of a Task01 folder; those of imagesTs have no segmentation.

    Raises:
        UserError: dataset.json cannot be read, or has other channels or labels than Task01; or there is no image.
    """
    description, channels = _description(root / "dataset.json")
    problems: list[Problem] = []
    labels = _files(root / "labelsTr", problems)
    cases = []
    for part in ("imagesTr", "imagesTs"):
        for name, file in _files(root / part, problems).items():
            case = Case(name, name, RELEASE, where=str(file), unlabelled_by_design=part == "imagesTs")
            case.files = {modality: f"{file}#{channels[modality]}" for modality in MODALITIES}
            if fault := name_fault(name):
                case.error(f"the case's name {fault}", "rename the file")
            if part == "imagesTr" and name in labels:
                case.files["seg"] = str(labels.pop(name))
            cases.append(case)
    for name, file in labels.items():
        problems.append(error(name, file, "is a segmentation without an image in imagesTr", _UNPACK_AGAIN))
    if not cases:
        raise UserError(f"{root}: imagesTr and imagesTs are empty; {_UNPACK_AGAIN}")
    listed = {_FILE.sub(r"\g<case>", Path(entry.get("image", "")).name) for entry in description.training}
    for name in sorted(listed - {case.name for case in cases}):
        problems.append(error(name, root / "imagesTr", "is listed in dataset.json and missing", _UNPACK_AGAIN))
    why = f"dataset.json beside imagesTr names the channels {', '.join(description.modality.values())}"
    return Cohort(RELEASE, why, cases, problems)


def _description(path: Path) -> tuple[_Description, dict[str, int]]:
    """dataset.json, and the channel of each modality."""
    try:
        description = _Description.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except ValidationError as fault:
        first = fault.errors()[0]
        what = ": ".join(map(str, (*first["loc"], first["msg"])))
        raise UserError(f"{path}: is not as in Task01 ({what}); {_UNPACK_AGAIN}") from None
    channels = {_NAMES.get(name.lower()): index for index, name in description.modality.items()}
    if set(channels) != set(MODALITIES) or set(channels.values()) != {"0", "1", "2", "3"}:
        raise UserError(
            f"{path}: names the channels {description.modality} ({description.name}), where Task01 has FLAIR, T1w, "
            "t1gd and T2w; give the folder Task01_BrainTumour"
        )
    for value, word in _LABELS.items():
        named = description.labels.get(value, "")
        if not named.lower().startswith(word):
            raise UserError(
                f"{path}: calls label {value} '{named}', where Task01 has {word}; if labels were changed, "
                "list the files in a table of your own, with the release whose label values they use"
            )
    return description, {modality: int(channels[modality]) for modality in MODALITIES}


def _files(folder: Path, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("[!.]*")):
        match = _FILE.fullmatch(file.name)
        if match is None:
            problems.append(extra_file("", file))
        elif match["case"] in found:
            problems.append(error(match["case"], file, "is there as .nii and as .nii.gz", "keep one of them"))
        else:
            found[match["case"]] = file
    return found

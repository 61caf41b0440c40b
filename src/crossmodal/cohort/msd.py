"""MSD Task01_BrainTumour: 4D files in imagesTr and imagesTs, labels in labelsTr, and dataset.json for both."""

import json
import re
from pathlib import Path

from crossmodal.cohort.cases import Case, Found, name_fault
from crossmodal.cohort.problems import Problem, error, extra_file
from crossmodal.domain import MODALITIES
from crossmodal.errors import UserError

RELEASE = "msd-task01"
_NAMES = {"flair": "flair", "t1w": "t1", "t1": "t1", "t1gd": "t1ce", "t1ce": "t1ce", "t2w": "t2", "t2": "t2"}
_LABELS = {1: "edema", 2: "non-enhancing", 3: "enhancing"}
_FILE = re.compile(r"(?P<case>[^.].*)\.nii(\.gz)?", re.IGNORECASE | re.DOTALL)
_UNPACK_AGAIN = "unpack Task01_BrainTumour.tar again"


def find_msd_root(path: Path) -> Path | None:
    """The folder that has dataset.json and images in it: `path`, or a folder in it; None if there is none."""
    places = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    return next((place for place in places if _looks_like_a_task(place)), None)


def _looks_like_a_task(place: Path) -> bool:
    return (place / "dataset.json").is_file() and any((place / part).is_dir() for part in ("imagesTr", "imagesTs"))


def read_msd(root: Path) -> Found:
    """All cases of a Task01 folder; those of imagesTs have no segmentation.

    Raises:
        UserError: dataset.json cannot be read, or has other channels or labels than Task01; or there is no image.
    """
    description = _description(root / "dataset.json")
    channels = _channels(description, root / "dataset.json")
    _check_labels(description, root / "dataset.json")
    problems: list[Problem] = []
    labels = _files(root / "labelsTr", problems)
    cases = []
    for part in ("imagesTr", "imagesTs"):
        for name, file in _files(root / part, problems).items():
            case = Case(name, name, RELEASE, where=str(file), unlabelled_by_design=part == "imagesTs")
            case.files = {modality: f"{file}#{channels[modality]}" for modality in MODALITIES}
            fault = name_fault(name)
            if fault:
                problems.append(error(name, file, f"the case's name {fault}", "rename the file"))
            if part == "imagesTr" and name in labels:
                case.files["seg"] = str(labels.pop(name))
            cases.append(case)
    for name, file in labels.items():
        problems.append(error(name, file, "is a segmentation without an image in imagesTr", _UNPACK_AGAIN))
    problems += _listed_but_missing(description, root, {case.name for case in cases})
    if not cases:
        raise UserError(f"{root}: imagesTr and imagesTs are empty; {_UNPACK_AGAIN}")
    why = f"dataset.json beside imagesTr names the channels {', '.join(description['modality'].values())}"
    return Found(RELEASE, why, cases, problems)


def _description(path: Path) -> dict:
    try:
        description = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{path}: is not valid JSON ({fault}); {_UNPACK_AGAIN}") from None
    if not isinstance(description, dict):
        raise UserError(f"{path}: is not a JSON object; {_UNPACK_AGAIN}")
    return description


def _channels(description: dict, path: Path) -> dict[str, int]:
    given = description.get("modality")
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise UserError(f"{path}: has no 'modality' that names the channels; {_UNPACK_AGAIN}")
    channels = {_NAMES.get(name.lower()): index for index, name in given.items()}
    if sorted(map(str, channels.values())) != ["0", "1", "2", "3"] or set(channels) != set(MODALITIES):
        task = description.get("name", "another task")
        raise UserError(
            f"{path}: names the channels {given} ({task}), where Task01 has FLAIR, T1w, t1gd and T2w; "
            "give the folder Task01_BrainTumour"
        )
    return {modality: int(channels[modality]) for modality in MODALITIES}


def _check_labels(description: dict, path: Path) -> None:
    given = description.get("labels")
    for value, word in _LABELS.items():
        named = str(given.get(str(value), "")).lower() if isinstance(given, dict) else ""
        if not named.startswith(word):
            raise UserError(
                f"{path}: calls label {value} '{named}', where Task01 has {word}; if labels were changed, "
                "list the files in a table of your own, with the release whose label values they use"
            )


def _files(folder: Path, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _FILE.fullmatch(file.name)
        if file.name.startswith("."):
            continue
        if match is None:
            problems.append(extra_file("", file))
        elif match["case"] in found:
            problems.append(error(match["case"], file, "is there as .nii and as .nii.gz", "keep one of them"))
        else:
            found[match["case"]] = file
    return found


def _listed_but_missing(description: dict, root: Path, there: set[str]) -> list[Problem]:
    problems = []
    listed = description.get("training") or []
    if not isinstance(listed, list):
        raise UserError(f"{root / 'dataset.json'}: 'training' is not a list of cases; {_UNPACK_AGAIN}")
    for entry in listed:
        image = entry.get("image") if isinstance(entry, dict) else None
        name = re.sub(r"\.nii(\.gz)?$", "", Path(str(image)).name)
        if name not in there:
            problems.append(error(name, root / "imagesTr", "is listed in dataset.json and missing", _UNPACK_AGAIN))
    return problems

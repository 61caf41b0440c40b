"""The entities of a crate, made with the package rocrate, and its files among them."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.experiment import layout

if TYPE_CHECKING:
    from rocrate.model.entity import Entity

METADATA = "ro-crate-metadata.json"
SHA256 = "https://w3id.org/ro/terms/workflow-run#sha256"  # RO-Crate 1.1 has no term for it
FORMATS = {
    "": "text/plain",  # LICENSE
    ".csv": "text/csv",
    ".dvc": "application/yaml",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".md5": "text/plain",
    ".npz": "application/zip",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".rst": "text/x-rst",
    ".smk": "text/plain",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
}
DESCRIPTIONS = {
    "config.yaml": "Every setting of the run: cohort, split, methods with their recipes, budget, seeds and folds",
    "repeat.yaml": "The settings that were given, as snakemake --configfile takes them",
    "versions.json": "Versions of the software that made the run",
    "artefacts.csv": "Size and MD5 of each file of the networks and predictions",
    layout.CASES: "Each case with its place in the split and the SHA-256 over the hashes of its images",
    "checklist.md": "What CLAIM 2024 and TRIPOD+AI ask, filled in from the run; what only the author can say is open",
    "README.md": "What this folder is",
    "report.html": "The report: answer, tables, figures, methods and limits on one page",
    "tables/per_case.csv": "Scores of every case, method, subset, fold and seed",
    "tables/summary.csv": "Means over patients for each cohort, method, subset and region",
    "tables/comparisons.csv": "Paired differences between methods, with intervals and p values",
    "tables/cost.csv": "Time and memory of each training",
}


def alone(value: Any) -> Any:
    """The one entry of a list of one, which RO-Crate 1.1 writes without the list; all else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class Graph:
    """The crate's entities; its files lie in `folder` already."""

    def __init__(self, folder: Path) -> None:
        from rocrate.rocrate import ROCrate

        self.folder = folder
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms["sha256"] = SHA256
        self.files: dict[str, Entity] = {}

    def thing(self, identifier: str, kind: str, /, **properties: Any) -> "Entity":
        """Something that is no file. Properties without a value are left out; a list of one is written as the one."""
        from rocrate.model.contextentity import ContextEntity

        given = {key: alone(value) for key, value in properties.items() if value not in (None, "", [])}
        return self.crate.add(ContextEntity(self.crate, identifier, properties={"@type": kind, **given}))

    def file(self, name: str, /, **properties: Any) -> "Entity":
        """A file of the crate, by its path in it."""
        given = self.facts(name) | properties
        self.files[name] = self.crate.add_file(self.folder / name, name, properties=given)
        return self.files[name]

    def facts(self, name: str) -> dict[str, str]:
        """Name, size, hash, format and description of a file."""
        path = self.folder / name
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found = {"name": name, "sha256": digest, "contentSize": str(path.stat().st_size)}
        if path.suffix in FORMATS:
            found["encodingFormat"] = FORMATS[path.suffix]
        if name in DESCRIPTIONS:
            found["description"] = DESCRIPTIONS[name]
        return found


def add_files(graph: Graph) -> None:
    """All files of the crate; those of models/ and predictions/, which artefacts.csv lists, as one folder each."""
    index = graph.folder / "figures" / "index.json"
    titles = {entry["name"]: entry["title"] for entry in json.loads(index.read_text())} if index.is_file() else {}
    for folder in ("models", "predictions"):
        if (graph.folder / folder).is_dir():
            graph.files[folder] = graph.crate.add_dataset(dest_path=f"{folder}/", properties={"name": folder})
    for path in sorted(graph.folder.rglob("*")):
        name = path.relative_to(graph.folder).as_posix()
        if path.is_dir() or name in graph.files or name.startswith(("models/", "predictions/")):
            continue
        more: dict[str, Any] = {"about": graph.crate.root_dataset} if name == "README.md" else {}
        if name.startswith("figures/") and path.stem in titles:
            more["name"] = titles[path.stem]
        graph.file(name, **more)

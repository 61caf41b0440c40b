"""CITATION.cff, and the links of the pages that every repository is expected to have."""

import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.conftest import REPOSITORY

PAGES = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "config/README.md", "README.md"]
DOI = {"type": "string", "pattern": r"^10\.\d{4,9}(\.\d+)?/\S+$"}
PERSON = {"type": "object", "required": ["family-names", "given-names"]}
ENTITY = {"type": "object", "required": ["name"]}
AUTHORS = {"type": "array", "minItems": 1, "items": {"anyOf": [PERSON, ENTITY]}}
# What the Citation File Format 1.2.0 requires, and the fields that are used here.
CITATION = {
    "type": "object",
    "required": ["cff-version", "message", "title", "authors"],
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "type": {"enum": ["software", "dataset"]},
        "authors": AUTHORS,
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "string"}},
        "references": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["authors", "title", "type"],
                "properties": {"authors": AUTHORS, "doi": DOI, "year": {"type": "integer"}},
            },
        },
        **{name: {"type": "string"} for name in ("message", "title", "abstract", "license", "version")},
    },
}


def test_the_citation_is_valid_and_agrees_with_pyproject() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    jsonschema.validate(citation, CITATION)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    path = REPOSITORY / page
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if "://" not in link]
    assert all((path.parent / link.partition("#")[0]).exists() for link in links), links


def test_contributing_names_targets_and_folders_that_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z][a-z-]*)", text)) <= targets
    named = re.findall(r"(?:src|docs|tests)/[\w./]+\w", text)
    assert len(named) >= 5 and all(Path(REPOSITORY, name).exists() for name in named), named

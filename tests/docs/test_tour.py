"""The tour: its notebook runs from the first cell to its table, and what is committed is small and tells no secrets."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode

from tests.conftest import REPOSITORY

TOUR = REPOSITORY / "docs" / "tour.ipynb"
MOST_BYTES = 500_000


def outputs(notebook: NotebookNode, kind: str) -> list[str]:
    """The outputs of one kind, such as image/png, of all cells."""
    found = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [data[kind] for data in found if kind in data]


def tables(notebook: NotebookNode) -> list[pd.DataFrame]:
    """The tables as they are shown, numbers as numbers."""
    found = []
    for html in outputs(notebook, "text/html"):
        tree = BeautifulSoup(html, "html.parser")
        columns = [cell.get_text() for cell in tree.select("thead tr:first-child th")][1:]
        rows = [[cell.get_text() for cell in row.select("th, td")] for row in tree.select("tbody tr")]
        table = pd.DataFrame([row[1:] for row in rows], [row[0] for row in rows], columns)
        found.append(table.map(_number))
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """A copy, run by the script that also refreshes the notebook."""
    out = tmp_path_factory.mktemp("tour") / "tour.ipynb"
    command = [sys.executable, REPOSITORY / "docs" / "run_tour.py", "--out", out]
    done = subprocess.run(command, env=os.environ | {"MPLBACKEND": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return nbformat.read(out, as_version=4)


@pytest.mark.slow
def test_it_runs_to_its_table(ran: NotebookNode) -> None:
    assert len(outputs(ran, "image/png")) == 3
    contrasts, split, terms, scores = tables(ran)
    assert contrasts.loc["enhancing tumour"].astype(float).idxmax() == "T1ce", "only T1ce isolates the enhancing tumour"
    assert contrasts.loc["oedema"].astype(float).idxmax() == "FLAIR"
    assert split["split"].value_counts().to_dict() == {"train": 8, "test": 2}
    assert terms.loc["loss", "value"] == pytest.approx(terms["value"].iloc[:3].sum(), abs=0.02)
    methods = scores.loc[["student alone", "distilled (Choi 2023)"], ["WT", "TC", "ET"]].astype(float)
    assert methods.to_numpy().min() >= 0 and methods["WT"].between(0.4, 1).all(), "it has learnt something"


@pytest.mark.slow
def test_what_is_committed_is_what_its_cells_give(ran: NotebookNode) -> None:
    committed = nbformat.read(TOUR, as_version=4)
    assert [cell.source for cell in ran.cells] == [cell.source for cell in committed.cells]
    for fresh, kept in zip(tables(ran), tables(committed), strict=True):
        assert list(fresh.index) == list(kept.index) and list(fresh.columns) == list(kept.columns)


def test_what_is_committed_is_small_whole_and_of_no_computer() -> None:
    text = TOUR.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert len(text.encode()) < MOST_BYTES
    pictures = [base64.b64decode(image) for image in outputs(notebook, "image/png")]
    assert len(pictures) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)
    described = [cell for cell in notebook.cells if "image" in cell.metadata.get("mystnb", {})]
    assert all(cell.metadata["mystnb"]["image"]["alt"] for cell in described) and len(described) == 3
    prose = text.split('"image/png"')[0] + "".join(
        part.partition('"text/plain"')[2] for part in text.split('"image/png"')[1:]
    )
    for place in ("/tmp", "/home", "/Users", str(Path.home()), str(REPOSITORY), "execution_state", "iopub"):
        assert place not in prose

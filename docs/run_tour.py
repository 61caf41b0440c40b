"""Run docs/tour.ipynb and keep its outputs: python docs/run_tour.py [--out FILE]

What is written holds no times and nothing of this computer, so that the file changes only when the tour does.
"""

import argparse
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).with_name("tour.ipynb")
TIMEOUT_S = 600  # of a cell


def run(tour: Path = TOUR) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in a temporary folder with this Python.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message shows it.
    """
    notebook = nbformat.read(tour, as_version=4)
    described = notebook.metadata.copy()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=TIMEOUT_S, kernel_name="python3", resources=resources, record_timing=False
        ).execute()
    notebook.metadata = described  # the kernel adds versions
    return notebook


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TOUR, help="where to write; the notebook itself by default")
    nbformat.write(run(), parser.parse_args().out)

"""What figures need from heavy artefacts (models, predictions, images), as small files of figure_data/."""

from pathlib import Path

import numpy as np
import pandas as pd

from crossmodal.evaluate.per_case import write_table
from crossmodal.files import atomic_path


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """CSV with six significant digits, which is enough for a figure."""
    write_table(table, path, digits=6)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Compressed .npz; numpy stamps its members with a fixed date."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)

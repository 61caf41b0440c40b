"""The files that a cohort's check reads, so that Snakemake notices a change in one of them."""

import glob
from pathlib import Path

from crossmodal.cohort.table import read_table
from crossmodal.errors import UserError

READ = (".nii", ".nii.gz", ".csv", ".json", ".txt")


def files_read(path: str | Path) -> list[str]:
    """Sorted paths: the files below a folder of images or split lists; or a table and the files that it names.

    A table that cannot be read is listed alone: the check then says what is wrong with it.
    """
    path = Path(path)
    if path.is_dir():
        below = glob.glob("**/*", root_dir=path, recursive=True)  # noqa: PTH207 - follows links to folders, as the check does
        return [str(path / name) for name in sorted(below) if name.lower().endswith(READ)]
    try:
        named = {file for case in read_table(path).cases for file in case.files.values()}
    except UserError:
        named = set()
    return [str(path), *sorted(file for file in named if Path(file).is_file())]

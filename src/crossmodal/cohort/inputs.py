"""Which files a cohort's check reads, for whoever must know when one of them is another."""

import glob
from pathlib import Path

from crossmodal.cohort.table import read_table
from crossmodal.errors import UserError

READ = (".nii", ".nii.gz", ".csv", ".json", ".txt")


def files_read(path: str | Path) -> list[str]:
    """Files of a release's folder or of a folder of split lists, or a table and the files that it names; sorted.

    A table that cannot be read is listed alone: the check says what is wrong with it.
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

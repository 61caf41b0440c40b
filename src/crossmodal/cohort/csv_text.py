"""Reading tables and lists that people save themselves, with messages that say how to save them; writing tables."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossmodal.errors import UserError, nearest
from crossmodal.files import atomic_path


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        UserError: the file is missing, cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8; save it as UTF-8 (a table as 'CSV UTF-8')") from None
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}); check the path and its permissions") from None


def read_csv(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The columns of a CSV; and "path, line n" with the cells of each row that is not empty, without spaces around.

    Args:
        path: the file.
        required: columns that it must have.
        optional: other columns that have a meaning.

    Raises:
        UserError: see `read_text`; or it is not a CSV, has no row, lacks a column or has one twice.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        rows = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as fault:
        raise UserError(f"{path}: is not a CSV file ({fault}); save the table as 'CSV UTF-8'") from None
    (_, columns), *rows = [row for row in rows if any(row[1])] or [("", [])]
    needed = f"its header must name {', '.join(required)}"
    if not columns:
        raise UserError(f"{path}: is empty; {needed}")
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise UserError(f"{path}: its columns are not separated by commas; save the table as 'CSV UTF-8' with commas")
    for name in (*required, *optional):
        if columns.count(name) > 1:
            raise UserError(f"{path}: has the column '{name}' twice; keep one of them")
        if name in required and name not in columns:
            spare = [column for column in columns if column not in (*required, *optional)]
            raise UserError(f"{path}: has no column '{name}' ({nearest(name, spare)}); {needed}")
    if not rows:
        raise UserError(f"{path}: lists no case; add one line a case below the header")
    return columns, rows


def mapping_rows(path: Path) -> list[list[str]]:
    """The cells of a name mapping, row by row; separated by commas, semicolons or tabs, in any encoding.

    Raises:
        UserError: the file is missing or is not a CSV.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        mark = max(",;\t", key=text.partition("\n")[0].count)  # spreadsheets separate by the country's custom
        return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark)]
    except (OSError, csv.Error) as fault:
        raise UserError(f"{path}: cannot be read as a name mapping ({fault}); save it as 'CSV UTF-8'") from None


def write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table atomically; a cell that a row lacks is empty."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

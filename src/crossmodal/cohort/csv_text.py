"""Reading tables and lists that people save themselves, with messages that say how to save them."""

import csv
import io
from pathlib import Path

from crossmodal.errors import UserError


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


def csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells, without spaces around them, of each row of a CSV file that is not empty.

    Raises:
        UserError: see `read_text`; or the file is not a CSV.
    """
    text = read_text(path)
    if "\0" in text:
        raise UserError(f"{path}: is not a CSV file; save the table as 'CSV UTF-8'")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as fault:
        raise UserError(f"{path}: is not a CSV file ({fault}); save the table as 'CSV UTF-8'") from None
    return [(line, cells) for line, cells in rows if any(cells)]


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

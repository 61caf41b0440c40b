"""progress.csv: a row for each epoch of a training, without rows after the restored state."""

import csv
import time
from pathlib import Path

from crossmodal.files import atomic_path


class ProgressTable:
    """The table of a fold's folder: epoch, step, resumed_from, time, and each loss term.

    Args:
        path: progress.csv.
        epoch: epochs that the restored state has done: rows after them are trained again.
        resumed_from: step from which this process goes on; 0 when it began the training.
    """

    def __init__(self, path: Path, epoch: int, resumed_from: int) -> None:
        self.path, self.resumed_from = path, resumed_from
        rows = _read(path)
        self.rows = [row for row in rows if (row.get("epoch") or "").isdigit() and int(row["epoch"]) <= epoch]
        if len(self.rows) < len(rows):
            self._write()

    def append(self, epoch: int, step: int, terms: dict[str, float]) -> None:
        """Add the row of an epoch that is done, with the total of steps done and the epoch's terms."""
        row = {"epoch": epoch, "step": step, "resumed_from": self.resumed_from, "time": f"{time.time():.3f}"}
        self.rows.append(row | {name: f"{value:.9g}" for name, value in terms.items()})
        self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        return list(csv.DictReader(stream))

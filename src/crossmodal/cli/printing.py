"""Tables in the terminal."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable

from crossmodal.evaluate.render import Table

FILE_WIDTH = 160  # in a file or a pipe


def show(tables: Iterable[Table]) -> None:
    """Print tables, each with its title, caption and notes."""
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH, markup=False, highlight=False)
    for table in tables:
        console.print(table.title, style="bold")
        if table.caption:
            console.print(table.caption)
        if table.rows:
            grid = RichTable(box=None, pad_edge=False)
            for position, name in enumerate(table.header):
                grid.add_column(name, justify="left" if position < table.text_columns else "right")
            for row in table.rows:
                grid.add_row(*row)
            console.print(Padding(grid, (1, 0, 1, 2), expand=False))
        for note in table.notes:
            console.print(f"- {note}")
        console.print()

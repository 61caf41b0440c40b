"""Tables as Markdown and LaTeX (booktabs and longtable): the same cells, caption and notes in both."""

from dataclasses import dataclass, field

_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"●": r"$\bullet$", "○": r"$\circ$", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "<": "$<$"},
        **{"≥": r"$\ge$", "…": r"\ldots{}", "³": r"$^3$", "≤": r"$\le$", ">": "$>$"},
    }
)


@dataclass
class Table:
    """A table for print: cells are finished text."""

    title: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    text_columns: int = 2  # columns from the left that hold words and are set flush left


def markdown(tables: list[Table]) -> str:
    """One Markdown page."""
    return "\n".join(map(_markdown, tables))


def latex(tables: list[Table]) -> str:
    """One LaTeX file to \\input."""
    return "% needs \\usepackage{booktabs,longtable}\n" + "\n".join(map(_latex, tables))


def _markdown(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---" if column < table.text_columns else "---:" for column in range(len(table.header))]
    lines = [f"## {table.title}", "", table.caption, "", line(table.header), line(rule), *map(line, table.rows), ""]
    lines += [f"- {note}" for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def _latex(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    columns = "".join("l" if column < table.text_columns else "r" for column in range(len(table.header)))
    notes = " ".join(note.rstrip(".") + "." for note in table.notes)
    caption = f"{table.title}. {table.caption} {notes}".strip().translate(_LATEX)
    lines = [
        rf"\begin{{longtable}}{{{columns}}}",
        rf"\caption{{{caption}}} \\",
        r"\toprule",
        line(table.header),
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        line(table.header),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *map(line, table.rows),
        r"\end{longtable}",
    ]
    return "\n".join(lines) + "\n"

"""report.html: one page that holds everything, made from tables/, figures/ and config.yaml."""

import base64
import io
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from crossmodal.data import TEMPLATES
from crossmodal.errors import UserError
from crossmodal.evaluate.results import Results
from crossmodal.files import write_text
from crossmodal.report import answer, checklist, facts, sections, tables

PICTURES_BYTES = 3_500_000  # of all pictures: base64 adds a third, and the page should stay easy to send


def write_report(folder: str | Path, out: str | Path) -> Path:
    """Write the report of an experiment, and return the page.

    Args:
        folder: results/<experiment>, with config.yaml, tables/ and figures/ (index.json from `crossmodal figures`).
        out: the page to write; it refers to nothing outside itself.

    Raises:
        UserError: the folder or its figures are missing.
    """
    results = Results(folder)
    asked = checklist.checklist(results)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        title=answer.title(results),
        phantom=results.is_phantom,
        question=answer.question(results),
        answer=answer.answer(results),
        made_by=answer.made_by(results),
        warnings=sections.warnings(results),
        figures=load_figures(results.folder / "figures"),
        tables=tables.result_tables(results),
        cost_tables=tables.cost_tables(results),
        methods=[facts.data(results.config), facts.training_setup(results), facts.EVALUATION],
        recipes=facts.recipes(results.config),
        limits=sections.limits(results),
        citations=sections.citations(results),
        notes=sections.notes(results),
        checklist=asked,
        checklist_summary=checklist.summary(asked),
        checklist_sources=checklist.SOURCES,
        versions=results.versions,
    )
    write_text(out, page)
    return Path(out)


def load_figures(folder: Path) -> list[dict[str, Any]]:
    """index.json with each picture as a data URI and its size in pixels; a UserError where there are no figures yet."""
    index = folder / "index.json"
    if not index.is_file():
        raise UserError(f"{index}: not found; run `crossmodal figures {folder.parent} --out {folder}` first")
    entries = json.loads(index.read_text(encoding="utf-8"))
    pictures = fit([(folder / f"{entry['name']}.png").read_bytes() for entry in entries])
    for entry, data in zip(entries, pictures, strict=True):
        entry["src"] = "data:image/png;base64," + base64.b64encode(data).decode()
        entry["width"], entry["height"] = Image.open(io.BytesIO(data)).size
    return entries


def fit(pictures: list[bytes]) -> list[bytes]:
    """The PNGs; while they exceed PICTURES_BYTES together, the largest has 256 colours if that makes it smaller."""
    fitted = list(pictures)
    for i in sorted(range(len(fitted)), key=lambda i: -len(fitted[i])):
        if sum(map(len, fitted)) <= PICTURES_BYTES:
            break
        buffer, picture = io.BytesIO(), Image.open(io.BytesIO(fitted[i])).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
        fitted[i] = min(fitted[i], buffer.getvalue(), key=len)
    return fitted

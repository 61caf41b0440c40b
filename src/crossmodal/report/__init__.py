"""report.html: one page that holds everything, made from tables/, figures/ and config.yaml."""

import base64
import io
import json
from pathlib import Path
from typing import Any

from crossmodal.errors import UserError

TEMPLATE = "report.html.j2"
PICTURES_BYTES = 3_500_000  # of all pictures: base64 adds a third, and the page should stay easy to send


def write_report(folder: str | Path, templates: str | Path, out: str | Path) -> Path:
    """Write the report of the experiment in `folder` to `out`.

    Args:
        folder: results/<experiment>, with config.yaml, tables/ and figures/ (index.json from `crossmodal figures`).
        templates: the folder of report.html.j2, report.css and report.js.
        out: the page to write; it refers to nothing outside itself.

    Raises:
        UserError: the folder, its figures or the templates are missing.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from crossmodal.evaluate.results import Experiment
    from crossmodal.files import write_text

    folder, templates = Path(folder), Path(templates)
    if not (templates / TEMPLATE).is_file():
        raise UserError(f"{templates}: no {TEMPLATE} in it; --templates wants the folder workflow/report")
    experiment = Experiment(folder)
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(TEMPLATE).render(**content(experiment))
    write_text(out, page)
    return Path(out)


def content(experiment: Any) -> dict[str, Any]:
    """Everything the template shows, by section."""
    from crossmodal.report import answer, methods_text, sections, tables

    return {
        "title": answer.title(experiment),
        "phantom": experiment.is_phantom,
        "question": answer.question(experiment),
        "answer": answer.answer(experiment),
        "made_by": answer.made_by(experiment),
        "warnings": sections.warnings(experiment),
        "figures": load_figures(experiment.folder / "figures"),
        "tables": tables.result_tables(experiment),
        "cost_tables": tables.cost_tables(experiment),
        "methods": methods_text.paragraphs(experiment),
        "recipes": methods_text.recipes(experiment),
        "limits": sections.limits(experiment),
        "citations": sections.citations(experiment),
        "notes": sections.notes(experiment),
        "versions": experiment.versions,
    }


def load_figures(folder: Path) -> list[dict[str, Any]]:
    """index.json with each picture as a data URI and its size in pixels.

    Raises:
        UserError: when there are no figures yet.
    """
    index = folder / "index.json"
    if not index.is_file():
        raise UserError(f"{index}: not found; run `crossmodal figures {folder.parent} --out {folder}` first")
    entries = json.loads(index.read_text(encoding="utf-8"))
    pictures = fit([(folder / f"{entry['name']}.png").read_bytes() for entry in entries])
    figures = []
    for entry, data in zip(entries, pictures, strict=True):
        # Width and height stand in the PNG's header, after its signature and the chunk's length and name.
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        uri = "data:image/png;base64," + base64.b64encode(data).decode()
        figures.append(entry | {"src": uri, "width": width, "height": height})
    return figures


def fit(pictures: list[bytes]) -> list[bytes]:
    """The pictures, the largest with fewer colours as long as they exceed PICTURES_BYTES together."""
    fitted = list(pictures)
    for i in sorted(range(len(fitted)), key=lambda i: -len(fitted[i])):
        if sum(map(len, fitted)) <= PICTURES_BYTES:
            break
        fitted[i] = smaller(fitted[i])
    return fitted


def smaller(png: bytes) -> bytes:
    """The PNG with at most 256 colours, if that makes it smaller."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        buffer, "png", optimize=True
    )
    return min(png, buffer.getvalue(), key=len)

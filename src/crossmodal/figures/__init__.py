"""The figures: one module each, drawn from an experiment's tables/, figure_data/ and config.yaml alone."""

import importlib
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.files import write_json
from crossmodal.progress import track

if TYPE_CHECKING:
    from crossmodal.evaluate.results import Results

# The order of the report. Each module has TITLE, CATEGORY and draw(results) -> Drawing.
FIGURES = (
    "dice_by_method",
    "gain_over_student",
    "subset_matrix",
    "qualitative",
    "training_curves",
    "cross_correlation",
    "class_mean_intensities",
    "intra_vs_cross_dataset",
    "cost_vs_gain",
    "volume_agreement",
)


def draw_figures(folder: str | Path, out: str | Path, workers: int = 1) -> list[dict[str, Any]]:
    """Draw every figure of the experiment in `folder` as <out>/<name>.png and .pdf.

    A figure whose data is missing becomes a small picture that says so, one of a single point a sentence.

    Args:
        folder: results/<experiment>, with config.yaml, tables/ and figure_data/.
        out: folder of the figures, made when missing.
        workers: processes that draw; the files do not depend on it.

    Returns:
        What <out>/index.json holds: name, title, category, caption, alt and note (None for a figure that was
        drawn; else the result as a sentence, or "Not drawn: " and why) of each figure, in the order of the report.
    """
    # Here and not above: the workflow's rules read FIGURES, and matplotlib and pandas take a second to import.
    from crossmodal.evaluate.results import Results

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    draw = partial(draw_one, Results(folder), out)
    if workers == 1:
        index = list(track(map(draw, FIGURES), "figures drawn", len(FIGURES)))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            index = list(track(pool.map(draw, FIGURES), "figures drawn", len(FIGURES)))
    write_json(out / "index.json", index)
    return index


def draw_one(results: "Results", out: Path, name: str) -> dict[str, Any]:
    """Draw one of `FIGURES` as <out>/<name>.png and .pdf; returns its entry for the index."""
    from crossmodal.evaluate.results import MissingDataError, OneNumberError
    from crossmodal.figures import style

    module = importlib.import_module(f"crossmodal.figures.{name}")
    entry = {"name": name, "title": module.TITLE, "category": module.CATEGORY}
    with style.settings():
        try:
            drawing = module.draw(results)
            style.mark(drawing.figure, results.is_phantom)
            style.save(drawing.figure, out / name)
            return entry | {"caption": drawing.caption, "alt": drawing.alt, "note": None}
        except OneNumberError as error:
            note = str(error)
        except MissingDataError as error:
            note = f"Not drawn: {error}"
        except Exception as error:  # a damaged table must not cost the other nine figures
            note = f"Not drawn: its data cannot be read as expected ({type(error).__name__}: {error})."
            print(f"figures: {name}: {note}", file=sys.stderr)
        style.save(style.note_figure(module.TITLE, note), out / name)
    return entry | {"caption": note, "alt": f"{module.TITLE}. {note}", "note": note}

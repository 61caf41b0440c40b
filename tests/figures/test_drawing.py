"""Every figure: drawn, sized for print, readable, the same bytes each time."""

import importlib
import json
import os
import re
import subprocess
import sys
import zlib

import matplotlib as mpl
import numpy as np
import pytest
import synthetic
from matplotlib.text import Text
from PIL import Image

from crossmodal import figures
from crossmodal.evaluate.results import MissingDataError, Results
from crossmodal.figures import style

ALL_METHODS = tuple(style.LOOKS)
VARIANTS = {
    "demo": {"cohorts": ("phantom-a",), "seeds": (0,)},
    "usual": {"subsets": ("t1ce+flair", "t2"), "seeds": (0, 1, 2)}
    | {"methods": ("student", "choi2023", "hinton2015", "teacher", "big_teacher")},
    "large": {"methods": ALL_METHODS, "subsets": synthetic.FIFTEEN, "cohorts": ("brats2021", "hospital"), "cases": 8}
    | {"brats": "/data/BraTS2021", "seeds": (0,)},
    "study": {"methods": (*ALL_METHODS, *(f"a_method_of_ones_own_{n}" for n in range(10))), "cases": 3}
    | {"subsets": ("t1", "t2", "t1+t2", "t1ce+flair"), "seeds": (0, 1, 2)},
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, tmp_path_factory):
    """An experiment as the figures read it, its name, and each drawn figure."""
    folder = synthetic.build(tmp_path_factory.mktemp(request.param) / "made-up", **VARIANTS[request.param])
    results, drawings = Results(folder), {}
    with style.settings():
        for name in figures.FIGURES:
            try:
                drawings[name] = importlib.import_module(f"crossmodal.figures.{name}").draw(results)
            except MissingDataError:
                continue
            style.mark(drawings[name].figure, results.is_phantom)
            drawings[name].figure.draw_without_rendering()
        yield request.param, results, drawings


def texts_of(figure):
    """What is written on a figure; labels of ticks beyond the limits exist and are not drawn."""
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = [tick for axis in axes for tick in (*axis.majorTicks, *axis.minorTicks)]
    hidden = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and id(t) not in hidden]


def test_nothing_is_missing_where_the_data_is_there(variant):
    name, _, drawings = variant
    absent = {"demo": {"subset_matrix", "intra_vs_cross_dataset"}}.get(name, set())
    assert set(drawings) == set(figures.FIGURES) - absent


@pytest.mark.parametrize("variant", ["usual"], indirect=True)
def test_a_second_upper_bound_is_in_every_figure(variant):
    """A method of one's own with `modalities: all`, whose results lie under all four sequences."""
    _, results, drawings = variant
    assert results.roles.upper_bounds == ["big_teacher", "teacher"] and results.subsets == ["t2", "t1ce+flair"]
    for figure in set(drawings) - {"cross_correlation", "class_mean_intensities"}:  # these are of other things
        rows = [label for axes in drawings[figure].figure.axes for label in axes.get_yticklabels()]
        shown = {text.get_text().partition("\n")[0] for text in (*texts_of(drawings[figure].figure), *rows)}
        assert "Big teacher" in shown and "Big teacher" in drawings[figure].alt, figure


def test_text_is_seven_points_or_more_and_stays_on_the_page(variant):
    for name, drawing in variant[2].items():
        page = drawing.figure.bbox
        for text in texts_of(drawing.figure):
            assert text.get_fontsize() >= 7, (name, text.get_text())
            if text.axes is not None and not text.axes.get_visible():
                continue
            box = text.get_window_extent()
            inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
            assert inside, (name, text.get_text(), box)


def test_legends_lie_off_the_data(variant):
    for name, drawing in variant[2].items():
        for legend in drawing.figure.legends:
            for axes in drawing.figure.axes:
                if axes.get_visible() and axes.axison:
                    overlap = legend.get_window_extent().intersection
                    assert overlap(legend.get_window_extent(), axes.get_tightbbox()) is None, name


def test_widths_are_those_of_a_column_or_a_page(variant):
    for name, drawing in variant[2].items():
        width, height = drawing.figure.get_size_inches()
        assert width in (style.ONE_COLUMN, style.TWO_COLUMNS), name
        assert height <= 10.2, f"{name} does not fit on a page"


def test_captions_and_alternatives_are_sentences(variant):
    for name, drawing in variant[2].items():
        for words in (drawing.caption, drawing.alt):
            assert words.endswith(".") and "nan" not in words.lower().split() and "  " not in words, (name, words)


def test_a_phantom_is_marked_and_a_patient_is_not(variant):
    _, results, drawings = variant
    for name, drawing in drawings.items():
        marks = [t for t in drawing.figure.texts if "phantom cohort" in t.get_text().lower()]
        assert len(marks) == int(results.is_phantom), name


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = synthetic.build(tmp_path_factory.mktemp("drawn") / "made-up", **VARIANTS["usual"])
    return folder, figures.draw_figures(folder, folder / "figures")


def test_index_lists_what_was_drawn(drawn):
    folder, index = drawn
    assert [e["name"] for e in index] == list(figures.FIGURES)
    assert json.loads((folder / "figures" / "index.json").read_text()) == index
    assert [e["note"] for e in index] == [None] * len(index)


def test_png_has_300_dpi(drawn):
    folder, index = drawn
    for entry in index:
        with Image.open(folder / "figures" / f"{entry['name']}.png") as image:
            assert np.allclose(image.info["dpi"], 300, atol=0.1)
            assert set(image.info) == {"dpi"}, "no date, no version"


def test_pdf_holds_real_text_in_embedded_fonts(drawn):
    folder, index = drawn
    for entry in index:
        data = (folder / "figures" / f"{entry['name']}.pdf").read_bytes()
        assert b"/FontFile2" in data and b"/Type3" not in data
        assert b"/CreationDate" not in data
        streams = [unpack(s) for s in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)]
        assert any((b"BT" in s and b"Tj" in s) or b"TJ" in s for s in streams)


def unpack(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


def test_another_process_writes_the_same_bytes_without_torch(drawn, tmp_path):
    """Another language, zone and hash seed, and settings as nnU-Net's log leaves them behind, change nothing."""
    folder, _ = drawn
    code = (
        "import sys, seaborn; seaborn.set_theme(font_scale=2.5);"
        "from crossmodal.figures import draw_figures; draw_figures(sys.argv[1], sys.argv[2]);"
        "sys.exit('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code, folder, tmp_path], env=environment, cwd=tmp_path, check=True)
    assert read_all(tmp_path) == read_all(folder / "figures")


def test_several_processes_draw_the_same(drawn, tmp_path):
    folder, index = drawn
    assert figures.draw_figures(folder, tmp_path, workers=2) == index
    assert read_all(tmp_path) == read_all(folder / "figures")


def read_all(folder):
    """Each file by its name; a comparison of checksums fails with a line that can be read."""
    return {path.name: zlib.crc32(path.read_bytes()) for path in folder.iterdir()}


def test_importing_and_drawing_leave_matplotlib_and_the_environment_alone(drawn, tmp_path):
    code = (
        "import os, sys, matplotlib as mpl; mpl.rcParams['font.size'] = 33.0; mpl.rcParams['backend'] = 'svg'\n"
        "before = dict(os.environ), dict(mpl.rcParams)\n"
        "from crossmodal import figures; figures.FIGURES = figures.FIGURES[:1]\n"
        "assert figures.draw_figures(sys.argv[1], sys.argv[2])[0]['note'] is None\n"
        "assert (dict(os.environ), dict(mpl.rcParams)) == before and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, drawn[0], tmp_path], check=True)


def test_colours_of_methods_can_be_told_apart():
    signs = [style.look(method) for method in ALL_METHODS]
    assert len(set(signs)) == len(signs)
    # Machado et al. 2009, severity 1, on linear RGB: what the colour-blind see of methods with the same marker.
    blind = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    for i, (colour, marker) in enumerate(signs):
        for other, same in signs[:i]:
            for matrix in blind.values():
                seen = [np.array(matrix) @ np.array(mpl.colors.to_rgb(c)) ** 2.2 for c in (colour, other)]
                distance = np.linalg.norm(np.clip(seen[0], 0, 1) ** (1 / 2.2) - np.clip(seen[1], 0, 1) ** (1 / 2.2))
                assert marker != same or distance > 0.15, (colour, other, distance)


def test_a_method_of_ones_own_keeps_its_colour():
    assert style.look("my_method") == ("#009E73", "h")
    assert style.look("my_method")[0] not in (style.look("student")[0], style.look("teacher")[0])


def test_a_position_has_six_decimals():
    """The solver of the layout differs in the last bit from one process to the next, with the memory's addresses."""
    with style.settings():
        figure = style.new_figure(style.TWO_COLUMNS, 3)
        figure.subplots(3, 7)
        style.lay_out(figure)
    bounds = [value for axes in figure.axes for value in axes.get_position(original=True).bounds]
    assert bounds == pytest.approx([round(value, 6) for value in bounds], abs=1e-12)
    figure.draw_without_rendering()
    assert bounds == [value for axes in figure.axes for value in axes.get_position(original=True).bounds]

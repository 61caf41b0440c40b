"""The path from tables to pictures."""

import json

import pytest
import synthetic
from crossmodal import figures


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = synthetic.build(tmp_path_factory.mktemp("results") / "made-up", subsets=("t1ce+flair", "t2"))
    return folder, figures.draw_figures(folder, folder / "figures")


def test_every_figure_is_drawn_twice_and_listed(drawn):
    folder, index = drawn
    assert [e["name"] for e in index] == list(figures.FIGURES)
    assert json.loads((folder / "figures" / "index.json").read_text()) == index
    for entry in index:
        assert entry["note"] is None, entry
        assert (folder / "figures" / f"{entry['name']}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / f"{entry['name']}.pdf").read_bytes().startswith(b"%PDF")

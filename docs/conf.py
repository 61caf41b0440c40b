"""The docs site: Sphinx reads these Markdown pages and the notebook (MyST), Furo draws them. `make docs` builds it.

Sphinx, because MkDocs 1 has had no release since August 2024, Material for MkDocs is at the end of its support, and
their successor, Zensical, is before its version 1.
"""

from crossmodal import __version__

project = "Crossmodal"
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nb_execution_mode = "off"  # the notebook holds its outputs; tests/docs/test_tour.py runs it
myst_heading_anchors = 4  # links such as data.md#splits, as GitHub has them
smartquotes_action = "D"  # two dashes become one, quotes stay
highlight_language = "none"  # a block without a language is a terminal or a table

# Docstrings are plain text with `code` in single backticks.
default_role = "code"
autodoc_typehints = "none"
python_maximum_signature_line_length = 60
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "Crossmodal"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def escape_bars(_app, _what, _name, _thing, _options, lines: list[str]) -> None:
    """|x| is a size in our docstrings, and a substitution in reStructuredText."""
    lines[:] = [line.replace("|", r"\|") for line in lines]


def setup(app) -> None:
    app.connect("autodoc-process-docstring", escape_bars)

"""The docs site: built with warnings as errors, such as a broken link, and without anything from the network."""

import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees"]
    done = subprocess.run([*build, REPOSITORY / "docs", folder / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_builds_and_loads_nothing_from_the_network(site: Path) -> None:
    for page in site.glob("*.html"):
        tree = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        loaded = [tag.get("src") or tag.get("href", "") for tag in tree.select("script, img, iframe, link")]
        assert [place for place in loaded if "//" in place] == [], page.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert "url(http" not in text and "url(//" not in text and "@import" not in text, style.name


@pytest.mark.slow
def test_reference_holds_the_docstrings(site: Path) -> None:
    text = BeautifulSoup((site / "api.html").read_text(encoding="utf-8"), "html.parser").get_text()
    for words in ("crossmodal.distill.BarlowTwins", "Zbontar et al. 2021", "crossmodal.nnunet.predict.Predictor"):
        assert words in text

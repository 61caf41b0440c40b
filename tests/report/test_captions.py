"""Captions for `snakemake --report`: Jinja over the config, then reStructuredText."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment

from crossmodal.figures import FIGURES

CAPTIONS = Path(__file__).resolve().parents[2] / "workflow" / "report"
CONFIGS = {
    "bare": {},
    "phantom": {"methods": ["teacher", "student", "choi2023"], "subsets": ["t1ce+flair", "t2"], "budget": "demo"},
    "typed": {"methods": "student,choi2023", "subsets": "t1ce", "brats": "/data/BraTS2021"},
    "external": {"external": [{"name": "hospital", "path": "/data/hospital"}], "backbone": "resenc_m"},
}


def rendered(path, config):
    text = Environment(trim_blocks=True, lstrip_blocks=True).from_string(path.read_text(encoding="utf-8"))
    text = text.render(snakemake=SimpleNamespace(config=config), categories={}, files={})
    parts = publish_parts(text, writer="html", settings_overrides={"report_level": 2, "halt_level": 2})
    return parts["body"]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("name", [*FIGURES, "workflow"])
def test_every_caption_renders(name, config):
    body = rendered(CAPTIONS / f"{name}.rst", config)
    assert len(body) > 100 and "system-message" not in body
    assert ("simulated" in body) == (not config.get("brats"))


def test_captions_read_the_config():
    assert "Students were given T1ce+FLAIR, T2." in rendered(CAPTIONS / "dice_by_method.rst", CONFIGS["phantom"])
    assert "Students were given T1ce." in rendered(CAPTIONS / "dice_by_method.rst", CONFIGS["typed"])
    assert "hospital" in rendered(CAPTIONS / "intra_vs_cross_dataset.rst", CONFIGS["external"])
    assert "resenc_m" in rendered(CAPTIONS / "workflow.rst", CONFIGS["external"])


def test_snakemake_report_takes_them(drawn, tmp_path):
    """Snakemake's own renderer, on a rule that only copies the pictures."""
    shutil.copytree(drawn / "figures", tmp_path / "drawn")
    outputs = "\n".join(
        f"        report('out/{name}.png', caption='{CAPTIONS}/{name}.rst', category='Figures')," for name in FIGURES
    )
    (tmp_path / "Snakefile").write_text(
        f"report: '{CAPTIONS}/workflow.rst'\n"
        "config.update(methods=['teacher', 'student'], subsets=['t1ce+flair'])\n"
        f"rule draw:\n    output:\n{outputs}\n    shell:\n        'cp drawn/*.png out/'\n"
    )
    run = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*run, "--report", "report.html"], cwd=tmp_path, check=True, capture_output=True)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Dice by method for whole tumour" in page and "Bland and Altman" in page and "Phantom run" in page

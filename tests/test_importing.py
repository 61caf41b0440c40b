"""Importing the library changes nothing: no function of another library, no backend, no environment variable."""

import subprocess
import sys

CODE = """
import importlib, os, pkgutil, sys
import matplotlib, matplotlib.pyplot, threadpoolctl, torch
import nnunetv2.training.dataloading.data_loader, nnunetv2.training.nnUNetTrainer.nnUNetTrainer
import nnunetv2.inference.predict_from_raw_data, nnunetv2.imageio.simpleitk_reader_writer
import batchgeneratorsv2.transforms.spatial.spatial, surface_distance.metrics

LIBRARIES = ("nnunetv2", "batchgeneratorsv2", "surface_distance", "matplotlib", "threadpoolctl")

def state():
    functions = {
        (name, key): id(value)
        for name, module in list(sys.modules.items()) if name.partition(".")[0] in LIBRARIES
        for key, value in vars(module).items() if callable(value) or isinstance(value, (str, int, float))
    }
    return dict(os.environ), dict(matplotlib.rcParams), matplotlib.get_backend(), torch.get_num_threads(), functions

before = state()
import crossmodal
names = [found.name for found in pkgutil.walk_packages(crossmodal.__path__, "crossmodal.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
after = state()
assert len(names) > 80, names
for old, new in zip(before[:-1], after[:-1]):
    assert old == new, (old, new)
changed = [key for key, value in before[-1].items() if after[-1].get(key) != value]
assert not changed, changed
"""


def test_importing_every_module_changes_no_other_library() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

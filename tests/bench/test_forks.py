"""Commands that run as forks of one process: what they print, where, and their exit codes."""

import subprocess
import sys

from tests.conftest import REPOSITORY

# What each prints and its exit code; then several side by side.
SCRIPT = """
cd "$1"
crossmodal train --method student --modalities t9 --dataset none --out out 2>error; echo train $?
crossmodal predict-cases --model none --cases none.csv --cohort a --modalities t1 --out out 2>second; echo predict $?
crossmodal methods >list; echo methods $?; head -1 list
for number in 1 2 3; do crossmodal schemas $number >/dev/null && echo schemas $? & done; wait
exit 7
"""


def test_commands_run_as_forks_do_what_they_do_by_themselves(tmp_path):
    command = ["bash", "-c", SCRIPT, "bash", str(tmp_path)]
    forks = [sys.executable, str(REPOSITORY / "bench" / "forks.py"), "--predictors", "1", "--", *command]
    done = subprocess.run(forks, capture_output=True, text=True, timeout=300)
    assert done.stdout.split("\n")[:-1] == ["train 1", "predict 1", "methods 0", "choi2023", *["schemas 0"] * 3], done
    assert done.returncode == 7
    assert "t9" in (tmp_path / "error").read_text() and "none.csv" in (tmp_path / "second").read_text()
    assert {path.name for path in tmp_path.iterdir()} >= {"1", "2", "3"}  # relative to the client's folder

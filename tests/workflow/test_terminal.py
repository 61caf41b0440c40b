"""What a run looks like on a terminal: Snakemake on a pseudo-terminal, and the screens that pyte makes of it."""

import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

import pyte
import pytest
import yaml

from snakemake_logger_plugin_crossmodal.steps import Run, Step, last_lines
from tests.conftest import copy_workflow

COLUMNS, ROWS = 110, 60
TARGET = "results/t/cohort/cases.csv"
STEPS = """\
rule all:
    input: "a", "b", "broken"
rule slow:
    output: "{name,[ab]}"
    log: "logs/{name}.log"
    shell: "(for i in $(seq 8); do echo epoch $i/8; sleep 0.5; done; echo 'warning: [b] is odd'; touch {output}) >{log}"
rule break_down:
    output: "broken"
    log: "logs/broken.log"
    message: "Break [down]"
    shell: "(seq 101 140; echo 'crossmodal: broken.nii: [mend] it'; false) >{log}"
"""


# Many short steps, drawn as often as can be while their lines are printed.
MANY = """\
import logging, sys, time
from types import SimpleNamespace
from snakemake_interface_logger_plugins.common import LogEvent
import snakemake_logger_plugin_crossmodal as plugin
plugin.REDRAWN = 1e-5
sys.setswitchinterval(1e-5)
names = ("verbose", "printshellcmds", "debug_dag", "quiet", "dryrun", "stdout", "show_failed_logs")
settings = SimpleNamespace(**dict.fromkeys(names, False), nocolor=True, log_handler_settings=["crossmodal"])
handler = plugin.LogHandler(settings, None)
def say(event, **values):
    handler.handle(logging.makeLogRecord({"event": event, **values}))
say(LogEvent.RUN_INFO, stats={"count": int(sys.argv[1])})
for i in range(int(sys.argv[1])):
    say(LogEvent.JOB_INFO, jobid=i, rule_msg=f"step {i}", rule_name="count", wildcards={}, log=[])
    say(LogEvent.JOB_FINISHED, job_id=i)
handler.close()
"""


@dataclass
class Shown:
    """What a terminal has shown.

    Attributes:
        code: exit code of Snakemake.
        lines: what stays on the screen.
        screens: each screen on the way.
    """

    code: int
    lines: list[str]
    screens: list[str]


def snakemake(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}


def on_terminal(folder: Path, *arguments: str, interrupt_at: str | None = None) -> Shown:
    """Run Snakemake on a terminal, with Ctrl-C as soon as a screen matches `interrupt_at`."""
    return shown_by(folder, snakemake(*arguments), interrupt_at)


def shown_by(folder: Path, command: list[str], interrupt_at: str | None = None) -> Shown:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    run = subprocess.Popen(
        command, cwd=folder, env=environment(), start_new_session=True, preexec_fn=take_interrupts, **streams
    )
    os.close(terminal)
    screen, screens = pyte.Screen(COLUMNS, ROWS), []
    stream = pyte.ByteStream(screen)
    while data := read(controller):
        stream.feed(data)
        screens.append("\n".join(screen.display))
        if interrupt_at and re.search(interrupt_at, screens[-1]):
            os.killpg(run.pid, signal.SIGINT)
            interrupt_at = None
    os.close(controller)
    return Shown(run.wait(60), [line.rstrip() for line in screen.display if line.strip()], screens)


def take_interrupts() -> None:
    """Undo what a shell does to a process that it starts in the background, such as these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read(controller: int) -> bytes:
    """What was written to the terminal; nothing when its last user has ended (EIO on Linux)."""
    try:
        return os.read(controller, 65536)
    except OSError:
        return b""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with the profile, and a workflow of slow steps and one that fails."""
    shutil.copytree(Path(__file__).parents[2] / "profiles", tmp_path / "profiles")
    (tmp_path / "Snakefile").write_text(STEPS)
    return tmp_path


@pytest.fixture
def workflow(tiny_cases: Path, tmp_path: Path) -> Path:
    """A folder with this workflow, for a cohort of two phantoms."""
    copy_workflow(tmp_path)
    for case in sorted((tiny_cases.parent / "phantoms").iterdir())[:2]:
        shutil.copytree(case, tmp_path / "hospital" / case.name)
    config = {"experiment": "t", "brats": "hospital", "methods": ["student"], "budget": "smoke", "split": {"folds": 2}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_steps_that_run_are_shown_with_a_bar_and_then_a_line_each(small: Path) -> None:
    shown = on_terminal(small)
    assert shown.code == 1
    both = [screen for screen in shown.screens if "running Slow: a" in screen and "running Slow: b" in screen]
    assert any(re.search(r"epoch [3-8]/8[\s\S]*of 4 steps  at least", screen) for screen in both)
    first, second = (line.strip().split("  ")[0] for line in shown.lines if "Slow" in line)
    assert {first[4:], second[4:]} == {"Slow: a", "Slow: b"} and (first[:3], second[:3]) == ("1/4", "2/4")
    assert shown.lines.count("        warning: [b] is odd") == 2
    assert not [line for line in shown.lines if "running" in line or "epoch" in line or "Select jobs" in line]


def test_what_failed_is_shown_last_with_the_end_of_its_log(small: Path) -> None:
    lines = on_terminal(small, "broken", "a").lines
    at = lines.index("1 of 2 steps are done, 1 failed:")
    end = [f"    {number}" for number in range(130, 141)] + ["    crossmodal: broken.nii: [mend] it"]
    assert lines[at + 1 :] == ["failed: Break [down]", "the end of logs/broken.log:", *end]
    assert [line for line in lines[:at] if line.startswith(" failed Break [down]")]
    assert any(line.startswith("Complete log") for line in lines[:at]) and "CalledProcessError" not in "".join(lines)


def test_interrupted_steps_are_stopped_and_none_has_failed(small: Path) -> None:
    shown = on_terminal(small, "a", "b", interrupt_at=r"epoch [\s\S]*epoch ")  # both run
    assert shown.code == 1
    assert {line.split("  ")[0] for line in shown.lines if "Slow" in line} == {"stopped Slow: a", "stopped Slow: b"}
    assert not [line for line in shown.lines if "failed" in line or "running" in line]


def test_no_line_is_lost_however_often_what_runs_is_drawn(tmp_path: Path) -> None:
    for _ in range(5):
        lines = shown_by(tmp_path, [sys.executable, "-c", MANY, str(ROWS - 5)]).lines
        assert [line.split()[2] for line in lines if " step " in line] == [str(i) for i in range(ROWS - 5)], lines


@pytest.mark.slow
def test_lines_of_a_step_of_this_workflow_go_to_its_log_alone(workflow: Path) -> None:
    shown = on_terminal(workflow, TARGET)
    assert shown.code == 0
    assert [line for line in shown.lines if line.startswith("    1/1 Check and split the cohort in hospital  ")]
    assert not [screen for screen in shown.screens if "\nwrote results/t" in screen]  # as tee would write it
    assert "wrote results/t/cohort/cases.csv" in (workflow / "logs/t/check_cohort.log").read_text()
    assert "Nothing to be done" in on_terminal(workflow, TARGET).lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--printshellcmds", "--verbose"])
def test_who_asks_for_details_gets_snakemake_s_own_lines(workflow: Path, option: str) -> None:
    shown = "\n".join(screen for screen in on_terminal(workflow, TARGET, option).screens)
    for line in ("Select jobs to execute", "wrote results/t/cohort/cases.csv", "1 of 1 steps (100%) done"):
        assert line in shown


@pytest.mark.slow
def test_without_a_terminal_nothing_changes(workflow: Path) -> None:
    printed = [
        subprocess.run(
            snakemake(TARGET, "--forceall", *options), cwd=workflow, env=environment(), capture_output=True, text=True
        )
        for options in ((), ("--workflow-profile", "none"))
    ]
    for run in printed:
        assert run.returncode == 0, run.stderr
        assert "1 of 1 steps (100%) done" in run.stderr and "wrote results/t/cohort/cases.csv" in run.stdout


def step(name: str, log: Path, started: float = 0.0) -> Step:
    return Step(name, name.split()[0], [str(log)], started)


def test_time_left_is_known_from_a_log_s_pace_and_then_from_steps_of_the_rule(tmp_path: Path) -> None:
    log, run = tmp_path / "log", Run({"train": 4, "report": 1})
    run.begin(1, step("train a", log))
    assert run.left_in_words(5) == ""
    for now, line in ((10, "epoch 1/10"), (12, "epoch 1/10"), (30, "epoch 3/10  loss 0.1")):
        log.write_text(f"starts\n{line}\n\n")
        assert run.running[1].says(now) == line
    assert run.running[1].left(30) == pytest.approx(70)  # 10 s an epoch; what came before epoch 1 does not count
    assert run.left(30) == (pytest.approx(70 + 3 * 100), False)
    run.begin(2, step("train b", tmp_path / "none", 30))
    assert run.left(40) == (pytest.approx((60 + 90 + 2 * 100) / 2), False)
    run.finish(1, 50)
    assert run.left(60) == (pytest.approx((20 + 2 * 50) / 2), False)
    assert run.left_in_words(60) == "at least 60 s left"
    run.counts.pop("report")
    assert run.left_in_words(60) == "about 60 s left"


def test_a_log_that_begins_anew_begins_the_pace_anew(tmp_path: Path) -> None:
    log, one = tmp_path / "log", step("train a", tmp_path / "log")
    for now, line in ((1, "cases linked: 4/5"), (2, "cases linked: 5/5"), (3, "cases read: 1/5")):
        log.write_text(line)
        one.says(now)
    assert one.left(3) is None
    log.write_text("results/1/40 of 2026/11/26, done 0/0")
    one.says(4)
    assert one.left(4) is None


def test_a_step_that_failed_may_succeed_at_another_attempt(tmp_path: Path) -> None:
    run = Run({"train": 1})
    run.begin(1, step("train a", tmp_path / "log"))
    assert run.fail(1).name == "train a" and run.fail(1) is None and 1 in run.failed
    run.begin(1, step("train a", tmp_path / "log", 5))
    run.finish(1, 9)
    assert (run.done, run.total, run.failed) == (1, 1, {})


def test_the_last_lines_of_any_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 2) == []
    log.write_bytes(b"first\n" + b"x" * 20_000 + b"\n\xff second\n\n")
    assert last_lines(log, 1) == ["� second"] and len(last_lines(log, 9)) == 2

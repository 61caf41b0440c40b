"""Slurm's signals in a job that Snakemake runs: who gets them, and who has to.

Slurm warns before a time limit (`--signal=USR1@300`) and ends a job with TERM, and KILL half a minute later. Where
it tracks processes by cgroup, as most clusters do, only the first process of the step gets USR1 and TERM: Snakemake,
which USR1 would kill and which keeps TERM to itself, while the training below it hears nothing.
"""

import os
import signal
import threading
from pathlib import Path

import psutil

WARNINGS = (signal.SIGUSR1, signal.SIGTERM)


def pass_on_warnings() -> None:
    """From now on, each USR1 and TERM also goes to all processes below this one that have a handler for it.

    Must be called in the main thread. Handlers for TERM that are set later (Snakemake's own) keep working: the
    interpreter writes the number of each signal into a pipe, whatever handler it has, and a thread reads it there.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in WARNINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda *_: None)
    threading.Thread(target=_pass_on, args=(reading,), daemon=True).start()


def _pass_on(reading: int) -> None:
    while numbers := os.read(reading, 16):
        for number in numbers:
            if number in WARNINGS:
                signal_listeners(number)


def signal_listeners(number: int) -> list[int]:
    """Send a signal to the processes below this one that have a handler for it; returns their ids."""
    listeners = [child for child in psutil.Process().children(recursive=True) if listens(child.pid, number)]
    for child in listeners:
        try:
            child.send_signal(number)
        except psutil.NoSuchProcess:
            continue
    return [child.pid for child in listeners]


def listens(pid: int, number: int) -> bool:
    """Whether a process catches a signal (the SigCgt mask of /proc, see proc(5)); others would be killed by it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)

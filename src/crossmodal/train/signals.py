"""Signals: a training notes them and acts where its state is whole; Snakemake passes Slurm's on to the training.

Slurm warns before a time limit (`--signal=USR1@300`) and ends a job with TERM, and KILL half a minute later. Where
it tracks processes by cgroup, as most clusters do, only the first process of the step gets USR1 and TERM. That is
Snakemake: USR1 would kill it, it keeps TERM to itself, and the training below it receives nothing.
"""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

WARNINGS = (signal.SIGUSR1, signal.SIGTERM)
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # scancel or preemption, Ctrl-C, a lost terminal: save and stop
SAVE = signal.SIGUSR1  # Slurm's warning before a time limit: save and go on


class Interruption:
    """Notes signals between `__enter__` and `__exit__`; the training asks for them after each step.

    Under `nohup` the loss of the terminal stays ignored. The others are caught even where the shell that started this
    process ignores them, as the workflow's does in a cluster's job so that `tee` outlives them.

    Attributes:
        number: the signal that waits to be acted on, or None; one that stops is not displaced by one that saves.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        for number in (*STOP, SAVE):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @property
    def stops(self) -> bool:
        """Whether the waiting signal asks to stop."""
        return self.number in STOP

    def saved(self) -> None:
        """Called when the state is on disk: a signal that only asked for that is done with."""
        if not self.stops:
            self.number = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self.stops:
            self.number = number


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
        for number in filter(WARNINGS.__contains__, numbers):
            listeners = [child for child in psutil.Process().children(recursive=True) if _listens(child.pid, number)]
            for child in listeners:
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(number)


def _listens(pid: int, number: int) -> bool:
    """Whether a process catches a signal (the SigCgt mask of /proc, see proc(5)); others would be killed by it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)

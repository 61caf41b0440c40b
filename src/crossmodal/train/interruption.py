"""Signals while training: noted at once, acted on where the state is whole."""

import signal
from types import FrameType

STOP = ("SIGTERM", "SIGINT", "SIGHUP")  # scancel or preemption, Ctrl-C, a lost terminal: save and stop
SAVE = ("SIGUSR1",)  # Slurm's warning before a time limit: save and go on


class Interruption:
    """Notes signals between `__enter__` and `__exit__`; the training asks after each step.

    Under `nohup` the loss of the terminal stays ignored. The others are heeded even where the shell that started
    this process ignores them, as the workflow's does in a cluster's job so that `tee` outlives them.

    Attributes:
        number: the signal that waits to be acted on, or None; one that stops is not displaced by one that saves.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        for name in (*STOP, *SAVE):
            number = getattr(signal, name)
            if name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @property
    def stops(self) -> bool:
        """Whether the waiting signal asks to stop."""
        return self.number is not None and signal.Signals(self.number).name in STOP

    def saved(self) -> None:
        """Called when the state is on disk: a signal that only asked for that is done with."""
        if not self.stops:
            self.number = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self.stops:
            self.number = number

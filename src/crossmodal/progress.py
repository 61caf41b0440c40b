"""Progress of long work: a bar with time left on a terminal, plain lines now and then in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from operator import length_hint
from typing import TypeVar

T = TypeVar("T")

PLAIN_LINE_EVERY_S = 15.0


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield items, showing on stderr how many are done and how long the rest will take.

    Args:
        items: anything iterable; its length is used when `total` is not given.
        what: what is being counted, e.g. "cases checked".
        total: number of items, when `items` has no length.
    """
    total = total or length_hint(items) or None
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as rich_track

        yield from rich_track(items, description=what, total=total, console=Console(stderr=True))
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= PLAIN_LINE_EVERY_S or done == total:
            last = now
            say(f"{what}: {done}{f'/{total}' if total else ''}, {remaining(start, done, total)}")


def say(text: str) -> None:
    """A line for the reader, on stderr. Long work goes on when nobody reads any more.

    A signal to a whole job also ends the `tee` that writes its log: the state must be saved all the same.
    """
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def remaining(start: float, done: int, total: int | None) -> str:
    """Time left in words, from the monotonic `start` and the share that is done."""
    elapsed = time.monotonic() - start
    if not total or not done:
        return f"{elapsed:.0f} s so far"
    if done >= total:
        return f"{elapsed:.0f} s in all"
    return f"{in_words(elapsed * (total - done) / done)} left"


def in_words(seconds: float) -> str:
    """A duration: 90 s, 35 min, 9 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

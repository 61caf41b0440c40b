"""The one exception for what a user can mend: the command line prints it without a traceback and exits 1."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Says which file or setting, what is wrong with it, and what to do about it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The clause "did you mean 'x'?" for a misspelt word, or the list of what is known."""
    known = sorted(map(str, known))
    close = get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"

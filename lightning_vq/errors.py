"""The one exception for what a user can mend: its text is all she sees, and the command exits with status 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input. The message names the file, row or key and the nearest right value."""


def nearest(word: str, options: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or what there is to choose from.

    >>> nearest("ml100k", ["ml-100k", "planted"])
    "; did you mean 'ml-100k'?"
    >>> nearest("zzz", ["a", "b"])
    '; choose from a, b'
    """
    names = sorted(set(options))
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; choose from {', '.join(names)}"

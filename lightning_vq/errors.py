"""The one exception for what a user can mend: its text is all she sees, and the command exits with status 2."""

import errno
import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches

MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.ESTALE, errno.EMFILE, errno.ENFILE)


class UserError(ValueError):
    """Bad input. The message names the file, row or key and the nearest right value."""


def nearest(word: str, options: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or what there is to choose from.

    >>> nearest("ml100k", ["ml-100k", "planted"])
    "; did you mean 'ml-100k'?"
    >>> nearest("zzz", ["a", "b"])
    '; choose from a, b'
    >>> nearest("zzz", ["GMF, MGQE", "GMF, DPQ"])
    "; choose from 'GMF, DPQ', 'GMF, MGQE'"
    """
    names = sorted(set(options))
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    quoted = any("," in name for name in names)
    told = ", ".join(repr(name) if quoted else name for name in names)
    return f"; did you mean '{close[0]}'?" if close else f"; choose from {told}"


def exit_status(work: Callable[[], None]) -> int:
    """Do a command's work and return its exit status: 0, 2 for what the user can mend, 130 for Ctrl-C.

    1 is the machine's fault, as a full disk is, and may not come again.
    """
    try:
        work()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, OSError) and error.errno in MACHINE else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0

"""Run by its path before a child's own program: it hears SIGINT, and is told to end when its parent is gone.

A shell's background jobs and their children ignore SIGINT; a child of a process that is killed would run on. Imports
nothing of ours and is no `preexec_fn`: those are unsafe in processes of several threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>, of Linux; elsewhere a child outlives a parent that is killed


def main(parent: int, command: list[str]) -> None:
    """Become a program.

    Args:
        parent: its process id.
        command: program and arguments.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before that
        sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

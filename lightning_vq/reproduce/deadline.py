"""A limit of hours: what still runs then is interrupted, as by Ctrl-C, and can be gone on with."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 60.0  # seconds after which it rings again, should what it interrupts go on


class Deadline:
    """When a reproduction ends, whatever has run by then.

    Args:
        hours: from now; None: it ends when all has run.
    """

    def __init__(self, hours: float | None = None) -> None:
        self._end = None if hours is None else time.time() + 3600 * hours
        self._rung = False

    @property
    def over(self) -> bool:
        return self._rung or (self._end is not None and time.time() >= self._end)

    @property
    def hours(self) -> float | None:
        """Return how many are left."""
        return None if self._end is None else max(0.0, self._end - time.time()) / 3600

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Interrupt what is inside when the time is over, and go on behind it."""
        if self._end is None:
            yield
            return
        inside = True

        def ring(number: int, frame: FrameType | None) -> None:
            if inside:
                self._rung = True
                signal.raise_signal(signal.SIGINT)  # whoever handles Ctrl-C by now saves and ends

        before = {signal.SIGALRM: signal.signal(signal.SIGALRM, ring)}
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background jobs and their children
            before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(1e-3, self._end - time.time()), AGAIN)
                yield
            finally:
                inside = False
        except KeyboardInterrupt:
            if not self._rung:
                raise
            print("The hours are over: what runs has been stopped", file=sys.stderr, flush=True)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

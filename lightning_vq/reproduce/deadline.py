"""A limit of hours: what still runs then is interrupted, as by Ctrl-C, and can be gone on with."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Interrupt what is inside when the time is over, and go on behind it."""
        if self._end is None:
            yield
            return

        def ring(number: int, frame: FrameType | None) -> None:
            self._rung = True
            signal.raise_signal(signal.SIGINT)  # whoever handles Ctrl-C by now saves and ends

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, self._end - time.time()))
        try:
            yield
        except KeyboardInterrupt:
            if not self._rung:
                raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

"""Processes beside ours: they hear our signals wherever we were begun, end with us, and never wait for our reader."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest

from lightning_vq.child import run_beside, run_in_child

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_all_where_a_shell_ignores_ctrl_c(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `sh -c "... &"` does
    try:
        Timer(2.0, os.kill, (os.getpid(), number)).start()
        assert run_beside([SLEEPS, SLEEPS], dict(os.environ)) == [130, 130]
        Timer(2.0, os.kill, (os.getpid(), number)).start()
        assert run_in_child(SLEEPS) == (130, "")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


class Broken:
    """A standard output that takes nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), UnicodeEncodeError("ascii", "\xb1", 0, 1, ""), ValueError("closed")]
)
def test_a_child_whose_lines_nobody_reads_goes_on_to_its_end(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [sys.executable, "-c", r"print('\n'.join(['a line'] * 100_000)); import os; os.write(1, b'\xff\n')"]
    monkeypatch.setattr(sys, "stdout", Broken(error))
    assert run_beside([prints], dict(os.environ)) == [0]


SAYS = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w', 1)); time.sleep(600)"
BEGINS = "import sys; from lightning_vq.child import run_in_child; run_in_child([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a child outlives a parent that is killed")
def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    begun = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", BEGINS, SAYS, str(begun)])
    until = time.time() + 120
    while not (begun.is_file() and begun.read_text()):
        assert time.time() < until
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = Path(f"/proc/{begun.read_text().strip()}/stat")
    while child.is_file() and child.read_text().rpartition(")")[2].split()[0] != "Z":  # nobody may reap it here
        assert time.time() < until
        time.sleep(0.05)

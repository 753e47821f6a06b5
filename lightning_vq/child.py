"""Commands in a process of their own, which is told to stop once and waited for; a `fit` with no trace of our ranks."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from lightning_vq.runs import HANDED_DOWN

DISTRIBUTED_VARIABLES = (
    "LOCAL_", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "PL_GLOBAL_SEED",
    "SLURM_", "PMI_", "PMIX_", "OMPI_", "JSM_",
)  # fmt: skip
FIT = (sys.executable, "-m", "lightning_vq", "fit")
LISTENING = str(Path(__file__).with_name("listening.py"))


def fit_in_child(arguments: Sequence[str], folder: Path, **environment: str) -> int:
    """Run `fit` with arguments into a folder, and return its exit status.

    Args:
        arguments: of the verb.
        folder: of the run.
        environment: beside ours.
    """
    return run_in_child([*FIT, *arguments], _environment() | {HANDED_DOWN: str(folder)} | environment)[0]


def run_in_child(
    command: Sequence[str], environment: dict[str, str] | None = None, kept: bool = False
) -> tuple[int, str]:
    """Run a command, and return its exit status and what it printed; SIGINT and SIGTERM are passed on as one.

    Args:
        command: program and arguments.
        environment: None is ours.
        kept: return what it prints, in place of showing it.
    """
    # In a session of its own: Ctrl-C in a terminal reaches this process alone, as `kill` does, and is passed on once.
    out = subprocess.PIPE if kept else None
    child = subprocess.Popen(
        _heard(command), env=environment, stdout=out, text=True, errors="replace", start_new_session=True
    )
    before = {n: signal.signal(n, lambda *_: child.send_signal(signal.SIGINT)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        printed, _ = child.communicate()
        return _status(child), printed or ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_beside(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> list[int]:
    """Run commands at the same time, show what they print line by line, and return their exit statuses.

    SIGINT and SIGTERM are passed on to all as SIGINT.

    Args:
        commands: programs and arguments.
        environment: of all.
    """
    children = [
        subprocess.Popen(_heard(command), env=environment | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE,
                         text=True, errors="replace", stderr=subprocess.STDOUT, start_new_session=True)
        for command in commands
    ]  # fmt: skip

    def pass_on(*_: object) -> None:
        for child in children:
            child.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ThreadPoolExecutor(len(children)) as relays:
            for child in children:
                relays.submit(_show_lines, child)
        return [_status(child) for child in children]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_lines(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    heard = True
    for line in child.stdout:  # to its end, since a child whose pipe is full waits for ever
        try:
            if heard:
                print(line, end="", flush=True)
        except UnicodeEncodeError:  # of this line
            continue
        except (OSError, ValueError):  # who read ours is gone, as after `| head`
            heard = False


def _heard(command: Sequence[str]) -> list[str]:
    """Return a command whose process hears our signals, and ends with us, killed though we be."""
    return [sys.executable, "-I", "-S", LISTENING, str(os.getpid()), *command]


def _status(child: subprocess.Popen[str]) -> int:
    """Return an exit status as a shell tells it: 130 of SIGINT, whether the program has a handler or not."""
    status = child.wait()
    return 128 - status if status < 0 else status


def first_refused(fits: Sequence[Sequence[str]]) -> int | None:
    """Return the place of the first `fit` whose arguments are refused before any data is read, which says why.

    All are parsed in one process of their own, since it imports Lightning.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one:
        return one.submit(_first_refused, [list(arguments) for arguments in fits]).result()


def _first_refused(fits: list[list[str]]) -> int | None:
    for place, arguments in enumerate(fits):
        sys.argv = ["lightning_vq", "fit", *arguments, "--print_config"]
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                runpy.run_module("lightning_vq", run_name="__main__")
        except SystemExit as end:
            if end.code:
                return place
    return None


def _environment() -> dict[str, str]:
    # Lightning starts ranks by running the command again: what it left in ours is not for theirs.
    return {k: v for k, v in os.environ.items() if not k.startswith(DISTRIBUTED_VARIABLES)}

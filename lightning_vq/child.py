"""A `fit` in a process of its own, with no trace of the ranks of this one."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_vq.runs import HANDED_DOWN

DISTRIBUTED_VARIABLES = (
    "LOCAL_", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "PL_GLOBAL_SEED",
    "SLURM_", "PMI_", "PMIX_", "OMPI_", "JSM_",
)  # fmt: skip
FIT = (sys.executable, "-m", "lightning_vq", "fit")


def fit_in_child(arguments: Sequence[str], folder: Path, **environment: str) -> int:
    """Run `fit` with arguments into a folder, and return its exit status; SIGINT and SIGTERM are passed on as one.

    Args:
        arguments: of the verb.
        folder: of the run.
        environment: beside ours.
    """
    # In a session of its own: Ctrl-C in a terminal reaches this process alone, as `kill` does, and is passed on once.
    child = subprocess.Popen(
        [*FIT, *arguments], env=_environment() | {HANDED_DOWN: str(folder)} | environment, start_new_session=True
    )
    before = {n: signal.signal(n, lambda *_: child.send_signal(signal.SIGINT)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refused_by_fit(arguments: Sequence[str]) -> bool:
    """Return whether `fit` refuses arguments before it reads any data; it says why."""
    command = [*FIT, *arguments, "--print_config"]
    return subprocess.run(command, env=_environment(), stdout=subprocess.DEVNULL, check=False).returncode != 0


def _environment() -> dict[str, str]:
    # Lightning starts ranks by running the command again: what it left in ours is not for theirs.
    return {k: v for k, v in os.environ.items() if not k.startswith(DISTRIBUTED_VARIABLES)}

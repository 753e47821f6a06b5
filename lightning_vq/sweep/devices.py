"""Handing out devices, so that no two trials of a user's sweeps on a machine share one.

Held by the names of CUDA_VISIBLE_DEVICES: sweeps that name one card differently (0 and GPU-..., or renumbered by a
container) do not see each other.
"""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO


class Devices:
    """The devices that this process may use, each held by a lock that ends with the process.

    Args:
        names: of the devices, as CUDA_VISIBLE_DEVICES has them; none where trials run on the CPU.
        folder: of the locks, shared by all processes on the machine.
    """

    def __init__(self, names: list[str], folder: Path | None = None) -> None:
        self.names = names
        self.folder = folder or Path(tempfile.gettempdir()) / f"lightning_vq-devices-{os.getuid()}"
        self._held: dict[str, IO[str]] = {}

    def take(self, count: int) -> list[str] | None:
        """Return that many free devices, now held, or None where there are fewer. On the CPU there is nothing to hold.

        >>> Devices([]).take(2)
        []
        """
        if not self.names:
            return []
        taken: list[str] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            if len(taken) == count:
                break
            if name in self._held:
                continue
            file = (self.folder / name.replace("/", "-")).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            self._held[name] = file
            taken.append(name)
        if len(taken) < count:
            self.give_back(taken)
            return None
        return taken

    def give_back(self, names: list[str]) -> None:
        """Let others have devices."""
        for name in names:
            self._held.pop(name).close()


def threads(parallel: int, devices: int) -> int:
    """Return the threads of each process, where so many trials of so many processes run at a time.

    A share of the cores, or OMP_NUM_THREADS where that is less.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share, asked = max(1, cores // (parallel * devices)), os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(share, int(asked)) if asked.isdigit() and int(asked) else share

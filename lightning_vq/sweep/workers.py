"""Who works on a study: each worker says now and then that it lives, and others find out which do not."""

import os
import socket
import time
from pathlib import Path

import optuna

BEAT_SECONDS = 20.0
SILENT_SECONDS = 120.0  # a worker of another machine that has not been heard of for so long is dead
WORKER, BEAT = "worker", "beat of "  # attributes: of a trial, whose it is; of the study, when a worker was heard of


def myself() -> str:
    """Return this process's name as a worker: host, process, and when it began."""
    return f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"


def _began(process: int) -> str:
    """Return when a process began, in clock ticks since boot, or "" where that is not told; numbers are used again."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def beat(study: optuna.Study) -> None:
    """Say that this worker lives; to be called every BEAT_SECONDS."""
    study.set_user_attr(BEAT + myself(), time.time())


def farewell(study: optuna.Study) -> None:
    """Say that this worker leaves."""
    study.set_user_attr(BEAT + myself(), 0.0)


def living(study: optuna.Study) -> set[str]:
    """Return the workers on a study that are alive, this process left out."""
    beats = {key.removeprefix(BEAT): at for key, at in study.user_attrs.items() if key.startswith(BEAT)}
    return {worker for worker, at in beats.items() if worker != myself() and _alive(worker, at)}


def _alive(worker: str, last: float) -> bool:
    host, process, began = worker.rsplit("/", 2)
    if not last:
        return False
    if host == socket.gethostname():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _began(int(process)) == began
    return time.time() - last < SILENT_SECONDS

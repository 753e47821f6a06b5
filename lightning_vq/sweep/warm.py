"""A process that has imported Lightning and waits to be forked: a trial that begins there begins at once.

Preloaded by multiprocessing's forkserver. Nothing here may start a thread or touch a device: neither survives a fork.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import plotly.graph_objects  # noqa: F401
import pyarrow
import torch._dynamo  # Adam imports it at its first step
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import lightning_vq.cli
from lightning_vq.callbacks.history import read_history
from lightning_vq.errors import UserError, exit_status
from lightning_vq.figures import draw
from lightning_vq.modules.base import Recommender
from lightning_vq.runs import TRIAL, read_yaml
from lightning_vq.sweep.rehearsal import rehearse, tested_metrics
from lightning_vq.tree_folder import write_trees

pyarrow.array([""])  # looks for pandas, and imports it where it is


def fit(
    arguments: list[str], environment: dict[str, str], log: Path, reports: Connection, lifeline: Connection
) -> None:
    """Be the process of a `fit`, to its end; see processes.begin_fit."""
    started = time.time()
    os.setsid()
    os.environ.clear()
    os.environ.update(environment, **{TRIAL: f"{reports.fileno()},{lifeline.fileno()}"})
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # the library has read the variable long ago
    sys.argv = ["lightning_vq", "fit", *arguments]
    status = exit_status(lambda: lightning_vq.cli.main(sys.argv[1:], started))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # not by way of multiprocessing's clean-up, which waits for threads that Lightning has left


def check(base: list[str], variants: list[tuple[str, list[str]]], found: Connection) -> None:
    """Send what `rehearse` returns, or the message of what it raises."""
    _answer(found, lambda: _result(lambda: tuple(rehearse(base, variants))))


def tests(fits: list[list[str]], found: Connection) -> None:
    """Send what `tested_metrics` returns of each fit, or the message of what it raises."""
    sources: dict[str, Any] = {}
    _answer(found, lambda: [_result(partial(tested_metrics, fit, sources)) for fit in fits])


def _answer(found: Connection, answer: Callable[[], Any]) -> None:
    os.setsid()  # Ctrl-C is for the parent, which ends this process
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    found.send(answer())
    sys.stderr.flush()
    os._exit(0)


def _result(work: Callable[[], Any]) -> Any:
    """Return what work returns, or the message of what it raises, on one line."""
    try:
        return work()
    except (UserError, OSError, MisconfigurationException) as error:
        return " ".join(str(error).split())


def illustrate(runs: list[Path]) -> None:
    """Draw the figures that these trials went without."""
    os.setsid()
    for run in runs:
        draw(run / "figures", read_history(run), read_yaml(run / "config.yaml")["monitor"])
        write_trees(run, Recommender.load_from_checkpoint(run / "best.ckpt"))
    os._exit(0)

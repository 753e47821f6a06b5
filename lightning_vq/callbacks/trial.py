"""A fit that is a trial of a sweep: tells the sweep of every epoch, stops on all ranks when told to, dies with it."""

import os
import signal
import threading
import time
from multiprocessing.connection import Connection

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.callbacks.artifacts import Artifacts
from lightning_vq.callbacks.checkpoints import warming_up

LAST_WORDS_SECONDS = 10.0  # between asking a trial to save and leave, and killing it


class TrialReports(Callback):
    """Sends (epoch, value of the monitor) after every validation; the answer is whether to stop.

    Rank 0 alone speaks; all ranks stop at the same epoch. Epochs of a warm-up, which are the base model's, are not
    told. A run that was stopped leaves metrics.json with the state `pruned` and is not tested.

    Args:
        artifacts: of the run.
        monitor: validation metric.
        descriptors: "R,L", of the connection to the sweep and of one that ends with the sweep's process.
    """

    def __init__(self, artifacts: Artifacts, monitor: str, descriptors: str) -> None:
        self.artifacts, self.monitor, self.pruned = artifacts, monitor, False
        self._reports, lifeline = (int(number) for number in descriptors.split(","))
        self._connection: Connection | None = None
        if os.getpgrp() == os.getpid():  # the other ranks are its children
            threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or warming_up(pl_module):
            return
        value = float(trainer.callback_metrics[self.monitor])
        stop = trainer.is_global_zero and self._told(trainer.current_epoch, value)
        if trainer.strategy.reduce_boolean_decision(stop, all=False):
            self.pruned = trainer.should_stop = True

    def _told(self, epoch: int, value: float) -> bool:
        if self._connection is None:  # here and not in __init__: rank 0 may be a fork of the process that made this
            self._connection = Connection(self._reports)
        try:
            self._connection.send((epoch, value))
            return bool(self._connection.recv())
        except (EOFError, OSError):  # the sweep is gone: the lifeline sees to the end
            return False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pruned and trainer.is_global_zero:
            self.artifacts.write_unfinished("pruned", pl_module)


def _die_with(lifeline: int) -> None:
    """Wait until the sweep's process is gone, then end this trial's processes: a trial leads its own group."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(LAST_WORDS_SECONDS)
    os.killpg(0, signal.SIGKILL)

"""The first Ctrl-C (or SIGTERM) finishes the block at hand and saves; the second aborts at once."""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Interrupt(Callback):
    """Saves `last.ckpt` at the border of a block and leaves, so that a resumed run goes on bit for bit.

    A stop at the last block of an epoch waits for its end, where LastCheckpoint saves.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = False
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here and not in on_fit_start: Lightning's own handlers, which end a run unsaved, come between the two.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this block; once more aborts at once", file=sys.stderr, flush=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # After the last block come validation and the epoch's end, which a resumed run would skip: see below.
        if self._all_asked(trainer) and not trainer.is_last_batch:
            trainer.save_checkpoint(self.folder / "last.ckpt")
            raise KeyboardInterrupt

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._all_asked(trainer):  # LastCheckpoint has saved the whole epoch
            raise KeyboardInterrupt

    def _all_asked(self, trainer: Trainer) -> bool:
        if trainer.world_size > 1:  # all ranks leave at the same block
            self.asked = trainer.strategy.reduce_boolean_decision(self.asked, all=False)
        return self.asked

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

"""A stop in the middle of a training, for tests of going on."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.callbacks.interrupt import Interrupt


class StopAt(Callback):
    """Asks for a stop, as Ctrl-C does, after a number of blocks.

    Args:
        interrupt: of the training, which heeds it.
        left: how many blocks.
    """

    def __init__(self, interrupt: Interrupt, left: int) -> None:
        self.interrupt, self.left = interrupt, left

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.left -= 1
        self.interrupt.asked = self.interrupt.asked or self.left == 0

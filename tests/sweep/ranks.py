"""A callback for trials: each rank writes what it was given and who it is, and takes its time while it is told to."""

import json
import os
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.modules.collaborative import CollaborativeFiltering


class Ranks(Callback):
    """Writes <run folder>/rank<r>-<process>.json, and sleeps after every epoch while there is a file `slow`."""

    def __init__(self, slow: str) -> None:
        self.slow = Path(slow)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, CollaborativeFiltering)
        run = Path(os.environ["LIGHTNING_VQ_RUN_FOLDER"])
        run.mkdir(exist_ok=True)
        item = pl_module.quantizers["item"]
        told = {
            "process": os.getpid(), "lr": pl_module.lr, "sizes": list(item.codebook_sizes),  # type: ignore[arg-type]
            "epoch": trainer.current_epoch,
        }  # fmt: skip
        (run / f"rank{trainer.global_rank}-{os.getpid()}.json").write_text(json.dumps(told))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.slow.exists():
            time.sleep(0.4)

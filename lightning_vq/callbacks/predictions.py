"""Writes what `predict` makes, in the user's original ids."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.modules.base import Recommender
from lightning_vq.runs import write_parquet


class Predictions(Callback):
    """One Parquet file, which appears whole or not at all.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[tuple[torch.Tensor, ...]] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if outputs is not None:  # a batch of what is needed to predict, and not of whom
            self._parts.append(tuple(part.cpu() for part in outputs))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts = self._parts
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for rank in gathered for part in rank]
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Recommender)
        data = trainer.datamodule  # type: ignore[attr-defined]
        write_parquet(self.folder / pl_module.predicts, pl_module.predictions(data, parts))

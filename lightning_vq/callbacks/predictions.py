"""Writes the lists that `predict` makes, in the user's original ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.runs import write_parquet


class Predictions(Callback):
    """One row per user and place: user, place (1 is best), item, score.

    Args:
        path: of the Parquet file, which appears whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
        self._parts.append(tuple(part.cpu() for part in outputs))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts = self._parts
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for rank in gathered for part in rank]
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CollaborativeData)
        assert data.raw is not None
        users, items, scores = (torch.cat(column).numpy() for column in zip(*parts))
        kept = np.isfinite(scores)  # -inf: the user has seen all but fewer items than asked for
        rows, places = np.nonzero(kept)
        columns = {
            "user": data.raw.user_ids.take(pa.array(users[rows])),
            "place": pa.array(places + 1),
            "item": data.raw.item_ids.take(pa.array(items[kept])),
            "score": pa.array(scores[kept]),
        }
        write_parquet(self.path, columns)

"""Writes the rank and metrics of every test case, in the process that ranked them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.splits import TEST
from lightning_vq.metrics import hit_ratio, ndcg
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.runs import write_parquet


class CaseMetrics(Callback):
    """Writes user, item (original ids), rank and metrics by protocol after a test.

    Args:
        path: of the Parquet file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not (trainer.is_global_zero and isinstance(data, CollaborativeData)):
            return
        assert data.raw is not None
        assert isinstance(pl_module, CollaborativeFiltering)
        users, items = data.parts[TEST]
        columns: dict[str, Any] = {
            "user": data.raw.user_ids.take(pa.array(users.numpy())),
            "item": data.raw.item_ids.take(pa.array(items.numpy())),
        }
        for protocol, (cases, ranks) in pl_module.results.items():
            assert len(cases) == len(users)
            ranks = ranks.cpu()
            columns[f"rank/{protocol}"] = ranks.numpy()
            for k in pl_module.ks:
                columns[f"hr@{k}/{protocol}"] = hit_ratio(ranks, k).numpy()
                columns[f"ndcg@{k}/{protocol}"] = ndcg(ranks, k).numpy()
        write_parquet(self.path, columns)

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
    """Writes two files, in original ids, after a test.

    test_cases.parquet has a row for each held-out interaction: user, item and `rank/<protocol>`. test_users.parquet
    has a row for each test user: user and her `<metric>@<k>/<protocol>`.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not (trainer.is_global_zero and isinstance(data, CollaborativeData)):
            return
        assert data.raw is not None
        assert isinstance(pl_module, CollaborativeFiltering)
        users, items = data.parts[TEST]
        ids = data.raw.user_ids.take(pa.array(users.numpy()))
        cases: dict[str, Any] = {"user": ids, "item": data.raw.item_ids.take(pa.array(items.numpy()))}
        metrics: dict[str, Any] = {"user": ids}
        for protocol, (tested, ranks) in pl_module.results.items():
            assert len(tested) == len(users)
            ranks = ranks.cpu()
            cases[f"rank/{protocol}"] = ranks.numpy()
            for k in pl_module.ks:
                metrics[f"hr@{k}/{protocol}"] = hit_ratio(ranks, k).numpy()
                metrics[f"ndcg@{k}/{protocol}"] = ndcg(ranks, k).numpy()
        write_parquet(self.folder / "test_cases.parquet", cases)
        write_parquet(self.folder / "test_users.parquet", metrics)

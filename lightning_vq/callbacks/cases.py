"""Writes the rank of every test case and the metrics of every test user, in the process that ranked them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.splits import TEST
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.runs import write_parquet


class CaseMetrics(Callback):
    """Writes two files after a test, in original ids.

    test_cases.parquet has user, item and `rank/<protocol>` of every held-out interaction, test_users.parquet has
    `<metric>@<k>/<protocol>` of every user.

    Args:
        folder: of the run.
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
        ids = data.raw.user_ids
        cases: dict[str, Any] = {
            "user": ids.take(pa.array(users.numpy())),
            "item": data.raw.item_ids.take(pa.array(items.numpy())),
        }
        values: dict[str, Any] = {"user": ids.take(pa.array(torch.unique(users).numpy()))}
        for protocol, (found, _, ranks) in pl_module.results.items():
            assert len(found) == len(users)
            cases[f"rank/{protocol}"] = ranks.cpu().numpy()
            metrics = pl_module.user_values(protocol)
            values |= {f"{name}/{protocol}": value.cpu().numpy() for name, value in metrics.items()}
        write_parquet(self.folder / "test_cases.parquet", cases)
        write_parquet(self.folder / "test_users.parquet", values)

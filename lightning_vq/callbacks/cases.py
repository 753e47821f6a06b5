"""Writes what a test found of every case and every user, in the process that ranked them."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.modules.base import Recommender
from lightning_vq.runs import MORE, write_json, write_parquet


class CaseMetrics(Callback):
    """Writes two files after a test, in original ids.

    test_cases.parquet has user, item (of a table of samples its row) and `rank/<protocol>` of every held-out
    interaction, or prediction, score and squared_error; test_users.parquet has `<metric>@<k>/<protocol>` of every user,
    or `mse/user`. What else metrics.json is to tell goes by test_more.json: the ranks of ddp_fork and ddp_spawn are
    gone when it is written.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and isinstance(pl_module, Recommender):
            cases, users = pl_module.tested(trainer.datamodule)  # type: ignore[attr-defined]
            if not pl_module.given:  # vectors that are coded have no users
                write_parquet(self.folder / "test_cases.parquet", cases)
                write_parquet(self.folder / "test_users.parquet", users)
            more = pl_module.more(trainer.datamodule)  # type: ignore[attr-defined]
            if more:
                write_json(self.folder / MORE, more)

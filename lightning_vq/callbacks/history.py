"""What happened epoch by epoch: metrics.csv, kept in the checkpoint so that a resumed run goes on with it."""

import csv
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.data.base import share_of_data
from lightning_vq.runs import replacing
from lightning_vq.types import Block


class History(Callback):
    """One row an epoch: loss terms, validation metrics, code usage, training samples per second.

    Args:
        folder: metrics.csv is written here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self.samples, self.seconds = 0, 0.0  # of training alone, validation left out
        self._epoch_samples, self._epoch_seconds = 0, 0.0
        self._since: float | None = None
        self._validated = False

    def samples_per_second(self) -> float:
        """Return training samples a second over all epochs."""
        return self.samples / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since, self._validated = time.perf_counter(), False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Block, batch_idx: int
    ) -> None:
        self._epoch_samples += batch.length * share_of_data(trainer)[1]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since, self._validated = time.perf_counter(), True

    def _pause(self) -> None:
        if self._since is not None:
            self._epoch_seconds += time.perf_counter() - self._since
            self._since = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()
        self.samples += self._epoch_samples
        self.seconds += self._epoch_seconds
        rate = self._epoch_samples / max(self._epoch_seconds, 1e-9)
        self._epoch_samples, self._epoch_seconds = 0, 0.0
        pl_module.log("samples_per_second", rate)
        row: dict[str, float] = {"epoch": trainer.current_epoch, "samples_per_second": rate}
        for name, value in trainer.callback_metrics.items():
            if name.startswith(("loss/", "codes/")) or (name.startswith("val/") and self._validated):
                row[name] = float(value)
        self.rows.append(row)
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with replacing(self.folder / "metrics.csv") as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        part = (self._epoch_samples, self._epoch_seconds + running)  # of an epoch that is stopped within
        return {"rows": self.rows, "samples": self.samples, "seconds": self.seconds, "part": part}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.samples, self.seconds = state_dict["rows"], state_dict["samples"], state_dict["seconds"]
        self._epoch_samples, self._epoch_seconds = state_dict.get("part", (0, 0.0))  # none in old checkpoints


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a run folder's metrics.csv."""
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]

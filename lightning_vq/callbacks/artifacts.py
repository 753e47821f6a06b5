"""What a run leaves in its folder: config.yaml, id maps, metrics.json, trees."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

import lightning_vq
from lightning_vq.callbacks.health import codes_used
from lightning_vq.callbacks.history import History
from lightning_vq.data.base import RecommenderData
from lightning_vq.direction import lower_is_better
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.served import served_bits
from lightning_vq.runs import MORE, TRIAL, read_json, replacing, write_json
from lightning_vq.tree import code_paths, recovery, write_codes
from lightning_vq.tree_folder import write_trees
from lightning_vq.vocabulary import write_vocabulary


class Artifacts(Callback):
    """Writes config and id maps when training starts, and the rest when `fit` asks for it after the test.

    Args:
        folder: of the run.
        config: text of config.yaml; written once a resumed run's checkpoint has been accepted.
        history: of the same run.
        monitor: validation metric that chooses the best epoch.
        seed: for the record.
        started: time.time() of the start of the command.
    """

    def __init__(self, folder: Path, config: str, history: History, monitor: str, seed: Any, started: float) -> None:
        self.config, self.started = config, started
        self.folder, self.history, self.monitor, self.seed = folder, history, monitor, seed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        earlier = self.folder / "metrics.json"
        if earlier.is_file():  # of an earlier command's part of this run
            told = read_json(earlier)
            self.started -= told.get("seconds", 0.0)
            if trainer.is_global_zero:
                write_json(earlier, {**told, "state": "running"})
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            with replacing(self.folder / "config.yaml") as path:
                path.write_text(self.config)
        if trainer.is_global_zero and isinstance(data, RecommenderData):
            for name, vocabulary in data.vocabularies().items():
                write_vocabulary(self.folder, name, vocabulary)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero and self.history.rows:
            self.write_unfinished("stopped", pl_module)

    def write_unfinished(self, state: str, module: LightningModule) -> None:
        """Write what there is to say of a run that ended before its test."""
        write_json(self.folder / "metrics.json", {"state": state, **self._training(module, None)})

    def unfinished(self) -> str | None:
        """Return the state of a run that ended before its test."""
        path = self.folder / "metrics.json"
        state = read_json(path)["state"] if path.is_file() else "finished"
        return None if state == "finished" else state

    def _training(self, module: LightningModule, epoch: int | None) -> dict[str, Any]:
        validated = [row for row in self.history.rows if self.monitor in row]
        if epoch is not None:
            validated = [row for row in validated if row["epoch"] == epoch]
        better = min if lower_is_better(self.monitor) else max
        best = better(validated, key=lambda row: row[self.monitor]) if validated else {}
        return {
            "version": lightning_vq.__version__,
            "seed": self.seed,
            "monitor": self.monitor,
            "device": str(module.device),
            "threads": torch.get_num_threads(),
            "epochs": len(self.history.rows),
            "train_seconds": self.history.seconds,
            "seconds_per_epoch": self.history.seconds / max(1, len(self.history.rows)),
            "seconds": time.time() - self.started,
            "samples_per_second": self.history.samples_per_second(),
            "best": best,
            "final": self.history.rows[-1] if self.history.rows else {},
        }

    def write(
        self,
        module: Recommender,
        data: RecommenderData,
        epoch: int,
        max_epochs: int | None,
        test: dict[str, float],
        test_seconds: float,
    ) -> dict[str, Any]:
        """Write everything and return the content of metrics.json.

        Args:
            module: at its best epoch, just tested.
            data: that it was tested on.
            epoch: the best one, from 0.
            max_epochs: that there could have been.
            test: metrics of the test.
            test_seconds: that it took.
        """
        summary = {"state": "finished", **self._training(module, epoch), "max_epochs": max_epochs}
        summary |= {"test": test, "test_seconds": test_seconds}
        summary["codes"] = {name: [list(pair) for pair in used] for name, used in codes_used(module).items()}
        served, full = served_bits(module)
        of = [name for name, quantizer in module.quantizers.items() if quantizer.replaces]
        summary["storage"] = {name: (full[name], served[name]) for name in of}
        summary["bytes"], whole = (sum(-(-bits // 8) for bits in parts.values()) for parts in (served, full))
        summary["size"] = summary["bytes"] / whole
        summary["recovery"] = {}
        trees = write_trees(self.folder, module, figures=TRIAL not in os.environ)
        for table in summary["codes"]:
            vocab = module.specs[table].vocab
            if table in trees:
                summary["recovery"][table] = recovery(trees[table].codes, data.truth(vocab))
            else:
                write_codes(self.folder / "tree", table, data.vocabularies()[vocab].ids, *code_paths(module, table))
        with torch.no_grad():
            module.leave(self.folder, data)
        more = self.folder / MORE
        known = self.history.seconds + test_seconds  # of a process that was killed no other seconds are left
        seconds = max(time.time() - self.started, known)
        summary |= {**(read_json(more) if more.is_file() else {}), "seconds": seconds}
        write_json(self.folder / "metrics.json", summary)
        return summary

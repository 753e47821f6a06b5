"""What each process holds of a large table while it trains: whole under one process, cut by rows over several.

    python benchmarks/row_sharded.py [--rows 2000000] [--processes 1 2]

Each row of the printed table is a run of `trainer.fit` (BPRMF, width 64, one epoch of one block) in processes of its
own on gloo, without evaluation and checkpoints: the size of a process's tables and of their moments, what its resident
memory has grown by since before the model was made, and the time of a step. The loss is the same in all rows.
"""

import argparse
import os
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.multiprocessing as mp
from large_ranking import RandomData
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from memory import held
from ours import DIM, quiet_trainer

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.sharding import is_sharded

USERS = 10_000


class Seen(Callback):
    """Notes what this process holds after its last block, before anything is evaluated."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self._began = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        state = trainer.optimizers[0].state
        tables = list(pl_module.tables.values())
        kept = [t for table in tables for t in (table, state[table]["exp_avg"], state[table]["exp_avg_sq"])]
        numbers = sum((t.to_local() if is_sharded(t) else t).numel() for t in kept)
        self.told = {
            "held": 4 * numbers / 2**20,
            "resident": held("VmRSS"),
            "step": (time.perf_counter() - self._began) / len(batch.batches()),
        }


def train(rank: int, processes: int, rows: int, folder: str) -> None:
    for key, value in {"LOCAL_RANK": rank, "WORLD_SIZE": processes, "NODE_RANK": 0, "MASTER_ADDR": "127.0.0.1"}.items():
        os.environ[key] = str(value)
    os.environ["MASTER_PORT"] = (Path(folder) / "port").read_text()
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    data = RandomData(USERS, rows, 20)
    data.setup("fit")
    before = held("VmRSS")
    seen = Seen()
    several = {"strategy": ModelParallelStrategy(process_group_backend="gloo"), "devices": processes}
    trainer = quiet_trainer(
        seen, max_epochs=1, limit_train_batches=1, limit_val_batches=0, **several if processes > 1 else {}
    )
    trainer.fit(CollaborativeFiltering(BPRMF(dim=DIM)), datamodule=data)
    seen.told |= {"before": before, "loss": float(trainer.callback_metrics["loss/task"])}
    torch.save(seen.told, Path(folder) / f"{rank}.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(f"{options.rows:,} items x {DIM}, {USERS:,} users\n")
    print("| processes | tables and moments, MiB a process | resident, MiB (less before) | s a step | loss |")
    print("|---|---|---|---|---|")
    for processes in options.processes:
        with TemporaryDirectory() as folder, socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            (Path(folder) / "port").write_text(str(free.getsockname()[1]))
            free.close()
            mp.start_processes(train, (processes, options.rows, folder), nprocs=processes, start_method="spawn")
            told = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(processes)]
        tables, resident = max(t["held"] for t in told), max(t["resident"] - t["before"] for t in told)
        step = max(t["step"] for t in told)
        print(f"| {processes} | {tables:,.0f} | {resident:,.0f} | {step:.2f} | {told[0]['loss']:.6f} |", flush=True)


if __name__ == "__main__":
    main()

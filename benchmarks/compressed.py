"""The training step of compressed tables beside the full one's, and MGQE's beside DPQ's. See README.md.

    python benchmarks/compressed.py --out compressed.json

The paper's settings: d = 64, 64 subspaces, 256 centroids, of MGQE's tail 64. GMF and SASRec on what ml-1m and ml-1m-seq
hold. A step is lookup, scores, losses, backward and Adam, of the same batches; the models take turns.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from timing import Row, divided, table, timed

from lightning_vq.backbones.collaborative.gmf import GMF
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import CollaborativeData, ListData
from lightning_vq.modules import CollaborativeFiltering, ListCompletion
from lightning_vq.modules.base import Recommender
from lightning_vq.quantizers import DPQ, MGQE

DIM, STEPS = 64, 16
TABLES: dict[str, Any] = {
    "full": None,
    "DPQ": partial(DPQ, subspaces=DIM, centroids=256),
    "MGQE": partial(MGQE, subspaces=(DIM, DIM), centroids=(256, 64)),
}
Step = Callable[[], None]


def gmf() -> tuple[Recommender, list[Any], list[str]]:
    """Return GMF, its batches and the vocabularies to be compressed."""
    data = CollaborativeData("ml-1m", min_user=5, min_item=5, batch_size=1024, negatives=4, seed=0)
    return *_built(CollaborativeFiltering(GMF(DIM), loss="bce"), data), ["user", "item"]


def sasrec() -> tuple[Recommender, list[Any], list[str]]:
    """Return SASRec, the same."""
    data = ListData("ml-1m-seq", protocol="next", max_length=50, negatives=1, batch_size=128, seed=0)
    return *_built(ListCompletion(SASRec(DIM, layers=2, heads=1, dropout=0.2), loss="bce"), data), ["item"]


def _built(module: Recommender, data: Any) -> tuple[Recommender, list[Any]]:
    data.prepare_data()
    data.setup("fit")
    module.build(data.facts())
    return module, [batch for block in data.train_dataloader() for batch in block.batches()][:STEPS]


def walk(make: Callable[[], tuple[Recommender, list[Any], list[str]]], quantizer: Any) -> Step:
    """Return what walks through the batches once."""
    torch.manual_seed(0)
    module, batches, vocabularies = make()
    hook = QuantizationCallback(dict.fromkeys(vocabularies, quantizer) if quantizer else {})
    hook.attach(module)
    optimizer = module.configure_optimizers()
    optimizer = optimizer["optimizer"] if isinstance(optimizer, dict) else optimizer

    def run() -> None:
        for batch in batches:
            optimizer.zero_grad()
            torch.stack(list(module.step_losses(batch, [hook]).values())).sum().backward()
            optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    rows = []
    for name, make, limits in (
        ("GMF, batch 1,024", gmf, (None, None, 1.15)),
        ("SASRec, batch 128", sasrec, (1.5, 1.5, None)),
    ):
        runs = {kind: walk(make, quantizer) for kind, quantizer in TABLES.items()}
        times: dict[str, list[float]] = {kind: [] for kind in runs}
        for _ in range(o.repeats):
            turns = [{kind: 1e3 * timed(run, 1) / STEPS for kind, run in runs.items()} for _ in range(3)]
            for kind in runs:
                times[kind].append(median(turn[kind] for turn in turns))
        for kind, beside, limit in (
            ("DPQ", "full", limits[0]),
            ("MGQE", "full", limits[1]),
            ("MGQE", "DPQ", limits[2]),
        ):
            share = divided(times[kind], times[beside])
            rows.append(Row(f"{name}: {kind}", "ms", times[kind], [], times[beside], share, f"x {beside}", limit))
    content = [row._asdict() | {"met": row.met()} for row in rows]
    o.out.write_text(json.dumps({"threads": o.threads, "torch": torch.__version__, "rows": content}, indent=1))
    print(table(rows, "no rival"))


if __name__ == "__main__":
    main()

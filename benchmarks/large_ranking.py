"""Full ranking at a size that does not fit a dense matrix: 100,000 users x 1,000,000 items, memory and time.

    python benchmarks/large_ranking.py [--threads 2]

One process makes random interactions, a BPRMF of width 64 that is not trained, and tests it with `trainer.test`: the
package's own batches, mask, scores, ranks, coverage and popularity. `--users` of the users are ranked, since every
batch costs the same. Exits with 1 where the peak resident memory is over `--limit` GB.
"""

import argparse
import logging
import resource
import sys
import time
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from lightning.pytorch import Callback
from ours import DIM, quiet_trainer

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.data import CollaborativeData
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.sources.interactions import Interactions


class RandomData(CollaborativeData):
    """Interactions at random, as many for each user.

    Args:
        users, items: how many there are.
        each: interactions of a user.
    """

    def __init__(self, users: int, items: int, each: int) -> None:
        super().__init__(source="random", eval_protocols=("full",), val_protocols=("full",), seed=0)
        self.sizes = (users, items, each)

    def prepare_data(self) -> None:
        """Nothing is to be downloaded."""

    def read(self) -> Interactions:
        users, items, each = self.sizes
        rng = np.random.default_rng(0)
        owner = np.arange(users).repeat(each)
        # One stride for all of a user's items, which are thus distinct without a look at each.
        first, stride = rng.integers(items, size=users), rng.integers(1, items // each, size=users)
        chosen = (first.repeat(each) + np.tile(np.arange(each), users) * stride.repeat(each)) % items
        row = np.arange(len(owner))
        ids = [pa.array(np.arange(n)) for n in (users, items)]
        return Interactions("random", ids[0], ids[1], owner, chosen, row, None, row)


class StageClock(Callback):
    """Notes when the first batch has ended, which pays for what is done once, and when the last one has."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.users = 0

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.ends.append(time.perf_counter())
        self.users = len(batch.users)


def resident() -> float:
    """Return the peak resident memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all-users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=20, help="interactions of a user")
    parser.add_argument("--users", type=int, default=512, help="that are ranked")
    parser.add_argument("--limit", type=float, default=8.0, help="GB of resident memory")
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    steps = [("imports", resident(), 0.0)]
    began = time.perf_counter()
    data = RandomData(o.all_users, o.items, o.each)
    data.setup("test")
    steps.append(("data", resident(), time.perf_counter() - began))
    began = time.perf_counter()
    module = CollaborativeFiltering(BPRMF(DIM), ks=(5, 10))
    module.build(data.facts())
    steps.append(("model", resident(), time.perf_counter() - began))
    began = time.perf_counter()
    batch = data.test_dataloader().parts[0]
    clock = StageClock()
    trainer = quiet_trainer(clock, limit_test_batches=-(-o.users // len(batch)))
    trainer.test(module, datamodule=data, verbose=False)
    steps.append(("ranking", resident(), time.perf_counter() - began))
    print("| After | Peak resident memory, GB | Seconds |\n|---|---|---|")
    for name, memory, seconds in steps:
        print(f"| {name} | {memory:.2f} | {seconds:.2f} |")
    spent = (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)
    print(
        f"\n{o.all_users:,} users x {o.items:,} items, d={DIM}: {len(clock.ends)} batches of {clock.users} users, "
        f"{1e3 * spent:.0f} ms each, **{1e3 * spent / clock.users:.1f} s per 1,000 users**, all users in "
        f"{spent / clock.users * o.all_users / 60:.0f} min; peak **{steps[-1][1]:.2f} GB** (limit {o.limit:g})"
    )
    if steps[-1][1] > o.limit:
        sys.exit(1)


if __name__ == "__main__":
    main()

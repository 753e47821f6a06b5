"""DQVAE's codebooks learned two ways on a trained run's vectors: by gradient as the paper does, and by k-means.

    python benchmarks/dqvae.py RUN [--seeds 3]

RUN is the first stage of a chain, whose representations of users and of items are taken, or any run of collaborative
filtering without a quantizer on its items, whose item table is. The error is the mean squared reconstruction error over
the vectors' variance. The problem is the same (see the head of quantizers/dqvae.py), so the figures tell which way is
nearer to its solution and what it costs. DQRec's settings: 4 groups, 128 codes, Adam at 1e-3, batches of 1,024, beta
0.25.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from lightning_vq.data import VectorData
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.quantizers import DQVAE
from lightning_vq.types import Table

GROUPS, CODES, BETA, BATCH, LR = 4, 128, 0.25, 1024, 1e-3


@torch.no_grad()
def error(quantizer: DQVAE, table: torch.Tensor) -> float:
    gap = quantizer.decode(quantizer.encode(table, torch.arange(len(table))), torch.arange(len(table))) - table
    return float(gap.square().mean() / (table - table.mean(0)).square().mean())


def by_gradient(table: torch.Tensor, seed: int, epochs: int) -> tuple[float, float]:
    torch.manual_seed(seed)
    began = time.perf_counter()
    quantizer = DQVAE(*table.shape, groups=GROUPS, codes=CODES)
    quantizer.start(Table(table))
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=LR, fused=True)
    for _ in range(epochs):
        for ids in torch.randperm(len(table)).split(BATCH):
            got = quantizer(table[ids], ids)
            optimizer.zero_grad()
            (got.codebook.mean() + BETA * got.commitment.mean()).backward()
            optimizer.step()
    return error(quantizer, table), time.perf_counter() - began


def by_kmeans(table: torch.Tensor, seed: int) -> tuple[float, float, float]:
    torch.manual_seed(seed)
    began = time.perf_counter()
    quantizer = DQVAE(*table.shape, groups=GROUPS, codes=CODES, init="kmeans")
    quantizer.start(Table(table))
    return error(quantizer, table), time.perf_counter() - began, float(quantizer.spread)


def read(run: Path) -> dict[str, torch.Tensor]:
    """Return the vectors to be coded, by vocabulary."""
    if not (run / "representations").is_dir():
        return {"item": CollaborativeFiltering.load_from_checkpoint(run / "best.ckpt").tables["item"].detach()}
    data = VectorData(str(run))
    data.setup()
    return data.tables


def show(name: str, table: torch.Tensor, seeds: int) -> None:
    print(f"\n{name}: {tuple(table.shape)}; {GROUPS} groups, {CODES} codes; mean ± sd over {seeds} seeds\n")
    print("| Codebooks by | Error / variance | Seconds |\n|---|---|---|")
    for epochs in (0, 20, 100, 500, 2000):
        found = np.array([by_gradient(table, seed, epochs) for seed in range(seeds)])
        way = "data points alone" if not epochs else f"Adam, {epochs} epochs"
        print(f"| {way} | {found[:, 0].mean():.4f} ± {found[:, 0].std(ddof=1):.4f} | {np.median(found[:, 1]):.2f} |")
    found = np.array([by_kmeans(table, seed) for seed in range(seeds)])
    print(f"| k-means | {found[:, 0].mean():.4f} ± {found[:, 0].std(ddof=1):.4f} | {np.median(found[:, 1]):.2f} |")
    print(f"\nGroups' squared singular values: (max - min) / mean = {found[0, 2]:.6f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    for vocab, table in read(o.run).items():
        show(f"{vocab} vectors", table, o.seeds)


if __name__ == "__main__":
    main()

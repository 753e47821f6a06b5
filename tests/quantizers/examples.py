"""One or more small instances of every quantizer, for tests that hold for all of them."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lightning_vq.quantizers import DPQ, DQVAE, MGQE, Cascaded, LowRank, Quantizer, Residual, Scalar
from lightning_vq.types import Table

ROWS, DIM = 60, 6
Factory = Callable[[int, int], Quantizer]

EXAMPLES: dict[str, Factory] = {
    "cascaded": partial(Cascaded, codebook_sizes=[9, 4]),
    "cascaded-concat": partial(Cascaded, codebook_sizes=[9, 4, 2], fusion="concat", gradient="both"),
    "cascaded-kmeans": partial(Cascaded, codebook_sizes=[9, 4], init="kmeans", alpha=0.5),
    "cascaded-ema": partial(Cascaded, codebook_sizes=[9, 4], learning="ema"),
    "cascaded-one-code": partial(Cascaded, codebook_sizes=[1]),
    "residual": partial(Residual, codebook_sizes=[5, 9, 5]),
    "residual-ema": partial(Residual, codebook_sizes=[5, 5], init="kmeans", learning="ema"),
    "dpq": partial(DPQ, subspaces=3, centroids=7),
    "dpq-numbers": partial(DPQ, subspaces=DIM, centroids=8, init="data"),
    "dpq-one-code": partial(DPQ, subspaces=2, centroids=1, learning="ema"),
    "mgqe": partial(MGQE, shares=[0.1, 0.9], centroids=[8, 3], subspaces=[3, 3]),
    "mgqe-own-centroids": partial(MGQE, shares=[0.2, 0.8], centroids=[8, 3], subspaces=[3, 3], shared=False),
    "mgqe-own-subspaces": partial(MGQE, shares=[0.2, 0.8], centroids=[8, 8], subspaces=[6, 2], shared=False),
    "mgqe-ema": partial(MGQE, shares=[0.2, 0.8], centroids=[8, 8], subspaces=[6, 2], shared=False, learning="ema"),
    "dqvae": partial(DQVAE, groups=3, codes=8),
    "dqvae-kmeans": partial(DQVAE, groups=2, codes=8, init="kmeans"),
    "lowrank": partial(LowRank, rank=2),
    "scalar": partial(Scalar, bits_each=3),
}


def started(name: str, rows: int = ROWS, dtype: torch.dtype = torch.float64) -> tuple[Quantizer, Tensor]:
    """Return a quantizer of the examples, started, and its table (N, D)."""
    torch.manual_seed(1)
    table = torch.randn(rows, DIM, dtype=dtype)
    quantizer = EXAMPLES[name](rows, DIM).to(dtype)
    assert not quantizer.active
    quantizer.start(Table(table, counts=torch.randint(1, 50, (rows,))))
    return quantizer, table

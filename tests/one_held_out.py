"""The metrics of lists with one held-out item, by their textbook formulas."""

import torch
from torch import Tensor


def hit_ratio(ranks: Tensor, k: int) -> Tensor:
    """HR@k of lists with one held-out item: 1 if rank <= k, else 0.

    >>> hit_ratio(torch.tensor([1, 5, 6]), 5)
    tensor([1., 1., 0.])
    """
    return (ranks <= k).float()


def ndcg(ranks: Tensor, k: int) -> Tensor:
    """NDCG@k of lists with one held-out item: 1 / log2(rank + 1) if rank <= k, else 0.

    >>> ndcg(torch.tensor([1, 3, 6]), 5)
    tensor([1.0000, 0.5000, 0.0000])
    """
    return torch.where(ranks <= k, 1.0 / torch.log2(ranks + 1.0), 0.0)

"""How evenly the codes of a level are used by the entities of a table. Shapes: N entities, K codes."""

from typing import NamedTuple

import torch
from torch import Tensor


class Usage(NamedTuple):
    """Use of one level's K codes by entities, each counted once."""

    used: float  # share of the codes that at least one entity has
    dead: int  # codes that none has
    perplexity: float  # exp of the entropy of the codes' shares: 1 to K, the number of codes in effective use
    gini: float  # of the codes' shares: 0 all alike, 1 - 1/K one code has all


def usage(codes: Tensor, size: int) -> Usage:
    """Return the use of K = size codes by entities with codes (N,); no entity uses nothing.

    >>> usage(torch.tensor([0, 0, 1, 1]), 4)
    Usage(used=0.5, dead=2, perplexity=2.0, gini=0.5)
    """
    counts = torch.bincount(codes, minlength=size).double()
    total = counts.sum()
    if not total:
        return Usage(0.0, size, 0.0, 0.0)
    shares = counts / total
    entropy = -torch.special.xlogy(shares, shares).sum()
    ranks = torch.arange(1, size + 1, dtype=torch.float64, device=codes.device)
    gini = (2 * ranks - size - 1) @ shares.sort().values / size
    dead = int((counts == 0).sum())
    return Usage((size - dead) / size, dead, round(entropy.exp().item(), 12), round(gini.item(), 12))


def evenness(perplexity: float, size: int) -> float:
    """Return (perplexity - 1) / (K - 1): 0 for a level collapsed to one code, 1 for even use; 1 for K = 1."""
    return (perplexity - 1) / (size - 1) if size > 1 else 1.0


def collisions(codes: Tensor) -> float:
    """Return the share of entities (N, L) whose whole path of codes another entity has too.

    >>> collisions(torch.tensor([[0, 1], [0, 1], [0, 2], [1, 1]]))
    0.5
    """
    if not codes.numel():
        return 0.0
    counts = codes.unique(dim=0, return_counts=True)[1]
    return float(counts[counts > 1].sum()) / len(codes)

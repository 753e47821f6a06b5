"""Codes that no vector chooses are moved to where vectors are badly served. Shapes: N vectors, K codes, D dim."""

import torch
from torch import Tensor


@torch.no_grad()
def restart(
    book: Tensor, vectors: Tensor, codes: Tensor, weights: Tensor | None = None, among: slice = slice(None)
) -> Tensor:
    """Move each unused code of a codebook (K, D) to a vector, in place, and return the indices of those moved.

    Vectors are drawn without repetition with probability proportional to weight * squared distance to their present
    code (the seeding of k-means++, Arthur and Vassilvitskii 2007), from the global torch generator. Vectors that are
    served exactly draw nobody: with fewer distinct vectors than codes some codes stay unused.

    Args:
        book: (K, D).
        vectors: (N, D) of the whole table.
        codes: (N,) their present codes.
        weights: (N,) how many entities each vector stands for, 0 for none; 1 by default.
        among: the codes that these vectors may choose; others are left alone.
    """
    weights = torch.ones(len(vectors), device=vectors.device) if weights is None else weights
    used = torch.zeros(len(book), device=book.device).index_add_(0, codes, weights.float())
    dead = torch.arange(len(book), device=book.device)[among]
    dead = dead[used[dead] == 0]
    chances = (vectors - book[codes]).square().sum(1).float() * weights
    count = min(len(dead), int((chances > 0).sum()))
    if count:
        dead = dead[:count]
        # Gumbel top-k: a weighted draw without repetition, for any N (torch.multinomial stops at 2^24).
        noise = -torch.empty_like(chances).exponential_().log()
        book[dead] = vectors[(chances.log() + noise).topk(count).indices].to(book)
    return dead[:count]

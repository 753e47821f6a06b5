"""Lloyd's k-means, for codebooks that start from a table. Shapes: N vectors, K centres, D dim."""

import torch
from torch import Tensor

from lightning_vq.quantizers.search import nearest_code


@torch.no_grad()
def kmeans(
    vectors: Tensor, clusters: int, weights: Tensor | None = None, iterations: int = 30
) -> tuple[Tensor, Tensor]:
    """Return centres (K, D) and the centre (N,) of each vector; draws from the global torch generator.

    Starts from distinct random vectors. A centre that loses all its vectors moves to the vector that is farthest
    from its own centre, so that K distinct vectors keep K clusters in use.

    Args:
        vectors: (N, D), finite.
        clusters: K, at most N.
        weights: (N,) how many vectors each stands for; 1 by default.
        iterations: at most; fewer where nothing changes any more.
    """
    weights = torch.ones(len(vectors), device=vectors.device) if weights is None else weights
    weights = weights.to(vectors.dtype)
    centres = vectors[torch.randperm(len(vectors), device=vectors.device)[:clusters]].clone()
    codes = nearest_code(vectors, centres)
    for _ in range(iterations):
        sizes = weights.new_zeros(clusters).index_add_(0, codes, weights)
        sums = vectors.new_zeros(centres.shape).index_add_(0, codes, vectors * weights[:, None])
        full = sizes > 0
        centres[full] = sums[full] / sizes[full, None]
        if not full.all():
            gaps = (vectors - centres[codes]).square().sum(1) * (weights > 0)
            empty = (~full).nonzero().squeeze(1)
            centres[empty] = vectors[gaps.topk(len(empty)).indices]
        before, codes = codes, nearest_code(vectors, centres)
        if torch.equal(before, codes) and bool(full.all()):
            break
    return centres, codes

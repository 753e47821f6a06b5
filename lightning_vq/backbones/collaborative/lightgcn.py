"""LightGCN: vectors smoothed over the user-item graph, s_ui = mean_k(E^k)_u . mean_k(E^k)_i, E^k = A E^(k-1).

He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020, eq. 3-8.

Layers are averaged, alpha_k = 1/(K+1), as the paper. Shapes: D dim, U users, N items, K layers.
"""

from typing import Literal

from torch import Tensor

from lightning_vq.backbones.graph import GraphBackbone
from lightning_vq.backbones.layers import propagate
from lightning_vq.errors import UserError


class LightGCN(GraphBackbone):
    """Graph convolution without weights.

    Args:
        dim: width of user and item vectors (D).
        layers: propagations (K); 0 is matrix factorization.
        init: "xavier" (ReChorus and the paper) or "normal" N(0, 0.01^2).
    """

    def __init__(self, dim: int = 64, layers: int = 3, init: Literal["xavier", "normal"] = "xavier") -> None:
        super().__init__(dim, init)
        if layers < 0:
            raise UserError(f"backbone.init_args.layers is {layers}; it must be at least 0")
        self.layers = layers

    def smooth(self, adjacency: Tensor, table: Tensor) -> Tensor:
        """Return the mean of all layers (U + N, D)."""
        total = layer = table
        for _ in range(self.layers):
            layer = propagate(adjacency, layer)
            total = total + layer
        return total / (self.layers + 1)

"""NGCF: E^l = LeakyReLU((A + I) E^(l-1) W1 + (A E^(l-1) * E^(l-1)) W2), s_ui = the product of all layers, concatenated.

Wang et al., "Neural Graph Collaborative Filtering", SIGIR 2019, eq. 7-12, with two things of the authors' code that the
paper leaves out: each layer's output is normalized to length 1 before it is concatenated, and both products have a
bias. Message dropout as there; no node dropout, which the authors' best settings do not use.
Shapes: D dim, U users, N items.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from lightning_vq.backbones.graph import GraphBackbone
from lightning_vq.backbones.layers import dropped, propagate
from lightning_vq.errors import UserError


class NGCF(GraphBackbone):
    """Graph convolution with weights and products of neighbours.

    Args:
        dim: width of user and item vectors (D).
        layers: width of each propagation's output; none is matrix factorization.
        dropout: share of each propagation's output that is dropped in training.
        init: of user and item vectors, "xavier" as the authors, or "normal" N(0, 0.01^2).
    """

    def __init__(
        self,
        dim: int = 64,
        layers: Sequence[int] = (64, 64, 64),
        dropout: float = 0.1,
        init: Literal["xavier", "normal"] = "xavier",
    ) -> None:
        super().__init__(dim, init)
        if min(layers, default=1) < 1:
            raise UserError(f"backbone.init_args.layers is {list(layers)}; every width must be above 0")
        if not 0 <= dropout < 1:
            raise UserError(f"backbone.init_args.dropout is {dropout}; it must be in [0, 1)")
        self.layers, self.dropout = tuple(layers), dropout
        widths = list(zip((dim, *layers), layers))
        self.sums = nn.ModuleList(nn.Linear(a, b) for a, b in widths)  # W1
        self.products = nn.ModuleList(nn.Linear(a, b) for a, b in widths)  # W2
        for layer in (*self.sums, *self.products):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def smooth(self, adjacency: Tensor, table: Tensor) -> Tensor:
        """Return all layers side by side (U + N, D + their widths)."""
        layer, all_layers = table, [table]
        for sums, products in zip(self.sums, self.products):
            neighbours = propagate(adjacency, layer)
            layer = leaky_relu(sums(neighbours + layer) + products(neighbours * layer), 0.2)
            layer = dropped(layer, self.dropout, self.training)
            all_layers.append(normalize(layer, dim=1))
        return torch.cat(all_layers, 1)

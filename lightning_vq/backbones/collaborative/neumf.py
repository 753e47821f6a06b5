"""NeuMF: matrix factorization and a perceptron, each with tables of its own, s_ui = h . [p_u * q_i, MLP([u, i])].

He et al., "Neural Collaborative Filtering", WWW 2017, eq. 12, without pre-training, as ReChorus trains it (RecBole
drops what goes into each layer, ours what comes out).

A quantizer named for a vocabulary acts on both of its tables; the tree of tables `user` and `item` is that of the
matrix factorization. The perceptron's first layer is applied to users and to items once each and summed per pair, which
is the same product. Shapes: B batch, C candidates, D dim, H width of a layer, N items.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.layers import dropped
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.types import Output, Pairs, TableSpec

BLOCK = 1 << 20  # numbers of a hidden layer held at a time in full ranking: 4 MiB of float32 stay in cache


class NeuMF(Backbone):
    """Neural matrix factorization, a pair scorer.

    Args:
        dim: width of each of the four tables (D).
        layers: widths of the perceptron's hidden layers, ReLU after each (H).
        dropout: share of each hidden layer that is dropped in training.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})
    inner_product: ClassVar[bool] = False

    def __init__(self, dim: int = 64, layers: Sequence[int] = (64,), dropout: float = 0.2) -> None:
        super().__init__()
        if not layers or min(layers) < 1:
            raise UserError(
                f"backbone.init_args.layers is {list(layers)}; it must name one width or more, each above 0"
            )
        if not 0 <= dropout < 1:
            raise UserError(f"backbone.init_args.dropout is {dropout}; it must be in [0, 1)")
        self.dim, self.layers, self.dropout = dim, tuple(layers), dropout
        self.first = nn.Linear(2 * dim, layers[0])
        self.rest = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(layers))
        self.output = nn.Linear(dim + layers[-1], 1, bias=False)  # h
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.01)

    def tables(self) -> dict[str, TableSpec]:
        return {f"{vocab}{part}": TableSpec(vocab, self.dim) for part in ("", "_mlp") for vocab in ("user", "item")}

    def forward(self, look: Lookup, batch: Pairs) -> Output:
        left, right = self.first.weight.split(self.dim, 1)  # (H, D) each
        weight, last = self.output.weight[0].split((self.dim, self.layers[-1]))  # (D), (H)
        user = look("user", batch.users) * weight  # (B, D)
        user_part = linear(look("user_mlp", batch.users), left, self.first.bias)  # (B, H)
        if batch.items is None:
            items = look.all("item")  # (N, D)
            item_part = look.once("item_part", lambda: linear(look.all("item_mlp"), right))  # (N, H)
            rows = max(1, BLOCK // (len(user_part) * max(self.layers)))
            blocks = [self._perceptron(user_part[:, None] + part) @ last for part in item_part.split(rows)]
            return Output(scores=torch.addmm(torch.cat(blocks, 1), user, items.T))
        item_part = linear(look("item_mlp", batch.items), right)  # (B, C, H)
        deep = self._perceptron(user_part[:, None] + item_part) @ last  # (B, C)
        return Output(scores=(user[:, None] * look("item", batch.items)).sum(-1) + deep)

    def _perceptron(self, first: Tensor) -> Tensor:
        """Return the last hidden layer (..., H) of what the first one takes in (..., H), which is overwritten."""
        x = dropped(first.relu_(), self.dropout, self.training)
        for layer in self.rest:
            x = dropped(layer(x).relu_(), self.dropout, self.training)
        return x

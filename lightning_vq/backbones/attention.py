"""Parts of models that attend to the items of a list: heads, attention, positions, layers on each item.

Shapes: B batch, T items of a list, Q queries, K keys, D dim, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lightning_vq.backbones.layers import dropped
from lightning_vq.backbones.sequences import check_share, check_sizes
from lightning_vq.errors import UserError
from lightning_vq.lookup import rows_of

CELLS = 1 << 25  # weights that are held whole, with 12 bytes each for the backward pass


def check_attention(dim: int, layers: int, heads: int, dropout: float) -> None:
    """Refuse what no attention can have.

    Raises:
        UserError: with the key.
    """
    check_sizes(dim=dim, layers=layers, heads=heads)
    check_share("dropout", dropout)
    if dim % heads:
        near = min((h for h in range(1, dim + 1) if dim % h == 0), key=lambda h: abs(h - heads))
        raise UserError(f"backbone.init_args.heads is {heads}, which does not divide dim {dim}; the nearest is {near}")


def split(x: Tensor, heads: int) -> Tensor:
    """Return the parts (B, H, T, D / H) of vectors (B, T, D) that the heads have."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, there: Tensor | None = None, causal: bool = False, drop: float = 0.0
) -> Tensor:
    """Return softmax(Q K' / sqrt(D / H)) V of all heads side by side (B, Q, D).

    Args:
        queries: (B, H, Q, D / H).
        keys: (B, H, K, D / H).
        values: (B, H, K, D / H).
        there: (B, K) which keys may be looked at, one at least; None: all.
        causal: query number n sees the first n + 1 keys; not with `there`.
        drop: share of the weights to be dropped.
    """
    few = drop and queries.shape[:3].numel() * keys.shape[2] <= CELLS
    if few and queries.device.type == "cpu":  # torch's dropout takes half as long as all the rest
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)
        size = scores.shape[2:]
        seen = torch.ones(size, dtype=torch.bool).tril() if causal else None if there is None else there[:, None, None]
        scores = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
        context = dropped(scores.softmax(-1), drop, True).to(values.dtype) @ values
    else:
        mask = None if there is None else there[:, None, None]
        context = scaled_dot_product_attention(queries, keys, values, mask, drop, causal)
    return context.transpose(1, 2).flatten(2)


def position_table(rows: int, dim: int) -> nn.Parameter:
    """Return vectors (rows, D) for the places of a list, Glorot uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, dim)))


def numbered(positions: Tensor, numbers: Tensor) -> Tensor:
    """Return position vectors (..., D) of numbers (...); those past the end of the table have its last."""
    return rows_of(positions, numbers.clamp_max(len(positions) - 1))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with Glorot uniform weights and a bias of zeros."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class PointWise(nn.Module):
    """x + dropout(W_2 dropout(ReLU(W_1 x + b_1)) + b_2), for each item by itself (SASRec eq. 6)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer, self.dropout = linear(dim, dim), linear(dim, dim), dropout

    def forward(self, x: Tensor) -> Tensor:
        inner = dropped(self.inner(x).relu_(), self.dropout, self.training)
        return x + dropped(self.outer(inner), self.dropout, self.training)

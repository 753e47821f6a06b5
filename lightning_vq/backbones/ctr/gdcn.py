"""GDCN: c_(l+1) = c_0 * (W_l c_l + b_l) * sigmoid(G_l c_l) + c_l, beside a perceptron (GDCN-P) or below it (GDCN-S).

Wang et al., "Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction", CIKM 2023, section 3.
GDCN-P ("parallel"): logit = w . [c_L, MLP(c_0)] + b; GDCN-S ("stacked"): logit = w . MLP(c_L) + b.
Departures: no batch normalization, which the authors' code has in its perceptron; b_l starts at zero, where theirs is
drawn from U(0, 1); no dimension of its own for each field (the paper's FDO), since tables of equal width are what is
compressed. Shapes: B batch, F fields, D dim.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_vq.backbones.fields import FieldBackbone, Perceptron, check_perceptron, glorot_linear
from lightning_vq.errors import UserError

Kind = Literal["parallel", "stacked"]


class GDCN(FieldBackbone):
    """Cross layers of full matrices, each with a gate.

    Args:
        dim: width of a field's vector (D).
        kind: whether the perceptron takes what the cross layers take, or what they give.
        cross_layers: how many; none leaves the perceptron.
        hidden: widths of the perceptron's layers.
        dropout: share of each of them that is dropped in training.
    """

    def __init__(
        self,
        dim: int = 64,
        kind: Kind = "parallel",
        cross_layers: int = 3,
        hidden: Sequence[int] = (500, 500, 500),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim)
        check_perceptron(hidden, dropout)
        if kind not in get_args(Kind):
            raise UserError(f"backbone.init_args.kind is {kind!r}; it must be one of {get_args(Kind)}")
        if cross_layers < 0:
            raise UserError(f"backbone.init_args.cross_layers is {cross_layers}; it must not be negative")
        self.kind, self.cross_layers, self.hidden, self.dropout = kind, cross_layers, tuple(hidden), dropout

    def make(self, fields: int) -> None:
        width = fields * self.dim
        self.cross = nn.ModuleList(glorot_linear(width, width) for _ in range(self.cross_layers))  # W_l, b_l
        self.gates = nn.ModuleList(glorot_linear(width, width, bias=False) for _ in range(self.cross_layers))  # G_l
        self.deep = Perceptron(width, self.hidden, self.dropout)
        self.output = glorot_linear(self.hidden[-1] + (width if self.kind == "parallel" else 0), 1)

    def logits(self, vectors: Tensor) -> Tensor:
        first = vectors.flatten(1)  # c_0 (B, F D)
        x = first
        for cross, gate in zip(self.cross, self.gates):
            x = torch.addcmul(x, first * cross(x), gate(x).sigmoid_())
        if self.kind == "stacked":
            return self.output(self.deep(x)).squeeze(1)
        return self.output(torch.cat([x, self.deep(first)], 1)).squeeze(1)

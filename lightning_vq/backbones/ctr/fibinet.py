"""FiBiNET: logit = w_0 + sum_i w_i x_i + MLP([p, q]), p and q all pairs (v_i W) * v_j of raw and of weighted vectors.

Huang et al., "FiBiNET: Combining Feature Importance and Bilinear feature Interaction for Click-Through Rate
Prediction", RecSys 2019, section 3. SENET weights field i by a_i: squeeze z_i = the mean of v_i, excitation
a = ReLU(W_2 ReLU(W_1 z)) over max(1, F // reduction) units without biases, v_i' = a_i v_i. A pair (i, j) has the matrix
W of all ("all"), W_i ("each") or W_ij ("interaction"); raw and weighted vectors have matrices of their own, as in
FuxiCTR. Departures: "each" makes no W_F, which no pair uses; one bias, that of first order; no batch normalization; W_2
is not negative at first (with two fields and one unit, weights of both signs leave q at zero for good three times in
four). Shapes: B batch, F fields, P = F (F - 1) / 2 pairs, D dim.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_vq.backbones.fields import FieldBackbone, Perceptron, check_perceptron, glorot_linear
from lightning_vq.errors import UserError

Matrices = Literal["all", "each", "interaction"]


class Bilinear(nn.Module):
    """The pairs (v_i W) * v_j, i < j.

    Args:
        kind: which pairs share a matrix.
        fields: F.
        dim: D.
    """

    def __init__(self, kind: Matrices, fields: int, dim: int) -> None:
        super().__init__()
        # "interaction" has field i's F - 1 - i matrices side by side: one product for all of its pairs.
        counts = {"all": [1], "each": [1] * (fields - 1), "interaction": range(fields - 1, 0, -1)}[kind]
        squares = ([nn.init.xavier_normal_(torch.empty(dim, dim)) for _ in range(count)] for count in counts)
        self.matrices = nn.ParameterList(nn.Parameter(torch.cat(several, 1)) for several in squares)

    def forward(self, vectors: Tensor) -> list[Tensor]:
        """Return P pairs (B, D) of vectors (B, F, D): (1, 2), (1, 3), ..."""
        fields = vectors.unbind(1)
        pairs: list[Tensor] = []
        for i, (field, matrix) in enumerate(zip(fields[:-1], cycle(self.matrices))):
            lefts = (field @ matrix).split(len(matrix), 1)  # one for each j > i, or the same for all
            pairs.extend(left * right for left, right in zip(cycle(lefts), fields[i + 1 :]))
        return pairs


class FiBiNET(FieldBackbone):
    """Bilinear pairs of vectors, raw and weighted by importance, into a perceptron.

    Args:
        dim: width of a field's vector (D).
        bilinear: which pairs share a matrix.
        reduction: how many fields there are to a unit of SENET's hidden layer.
        hidden: widths of the perceptron's layers.
        dropout: share of each of them that is dropped in training.
    """

    first_order: ClassVar[bool] = True

    def __init__(
        self,
        dim: int = 64,
        bilinear: Matrices = "interaction",
        reduction: int = 3,
        hidden: Sequence[int] = (500, 500, 500),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim)
        check_perceptron(hidden, dropout)
        if bilinear not in get_args(Matrices):
            raise UserError(f"backbone.init_args.bilinear is {bilinear!r}; it must be one of {get_args(Matrices)}")
        if reduction < 1:
            raise UserError(f"backbone.init_args.reduction is {reduction}; it must be at least 1")
        self.bilinear, self.reduction, self.hidden, self.dropout = bilinear, reduction, tuple(hidden), dropout

    def make(self, fields: int) -> None:
        if fields < 2:
            raise UserError("FiBiNET takes pairs of fields, and the data has one field alone")
        units = max(1, fields // self.reduction)
        self.squeezed = glorot_linear(fields, units, bias=False)  # W_1
        self.excited = glorot_linear(units, fields, bias=False)  # W_2
        with (
            torch.no_grad()
        ):  # ReLU shuts a field out for good, with its pairs, whose weights are all negative at first
            self.excited.weight.abs_()
        self.raw = Bilinear(self.bilinear, fields, self.dim)
        self.weighted = Bilinear(self.bilinear, fields, self.dim)
        self.deep = Perceptron(fields * (fields - 1) * self.dim, self.hidden, self.dropout)
        self.output = glorot_linear(self.hidden[-1], 1, bias=False)

    def logits(self, vectors: Tensor) -> Tensor:
        importance = self.excited(self.squeezed(vectors.mean(2)).relu_()).relu_()  # a (B, F)
        pairs = self.raw(vectors) + self.weighted(vectors * importance[:, :, None])
        return self.output(self.deep(torch.cat(pairs, 1))).squeeze(1)

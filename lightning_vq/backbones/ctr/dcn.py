"""DCN: x_(l+1) = x_0 (x_l . w_l) + b_l + x_l beside a perceptron, logit = w . [x_L, MLP(x_0)].

Wang et al., "Deep & Cross Network for Ad Click Predictions", ADKDD 2017, eq. 3 and 5. Departures: no bias on the logit
(the last cross layer's b_L adds one already), no batch normalization; dropout as CAGE's appendix B.3.
Shapes: B batch, F fields, D dim.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_vq.backbones.fields import FieldBackbone, Perceptron, check_perceptron, glorot_linear
from lightning_vq.errors import UserError


class DCN(FieldBackbone):
    """Cross layers of growing degree beside a perceptron.

    Args:
        dim: width of a field's vector (D).
        cross_layers: how many; none leaves the perceptron.
        hidden: widths of the perceptron's layers.
        dropout: share of each of them that is dropped in training.
    """

    def __init__(
        self, dim: int = 64, cross_layers: int = 3, hidden: Sequence[int] = (500, 500, 500), dropout: float = 0.1
    ) -> None:
        super().__init__(dim)
        check_perceptron(hidden, dropout)
        if cross_layers < 0:
            raise UserError(f"backbone.init_args.cross_layers is {cross_layers}; it must not be negative")
        self.cross_layers, self.hidden, self.dropout = cross_layers, tuple(hidden), dropout

    def make(self, fields: int) -> None:
        width = fields * self.dim
        self.cross = nn.ModuleList(glorot_linear(width, 1, bias=False) for _ in range(self.cross_layers))  # w_l
        self.cross_bias = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in range(self.cross_layers))  # b_l
        self.deep = Perceptron(width, self.hidden, self.dropout)
        self.output = glorot_linear(width + self.hidden[-1], 1, bias=False)

    def logits(self, vectors: Tensor) -> Tensor:
        """Return logits (B,).

        A cross layer keeps x_l = a_l x_0 + c_l, a number for each sample and a vector for all: with the products of x_0
        with every w at hand, what is left of the layers is a few numbers a sample.
        """
        first = vectors.flatten(1)  # x_0 (B, F D)
        crossed, deep = self.output.weight[0].split((first.shape[1], self.hidden[-1]))
        weights = torch.cat([*self.cross.parameters(), crossed[None]])  # (L + 1, F D): w_l, and the output's
        products = (first @ weights.T).unbind(1)  # (B,) each
        scale, shift = torch.ones_like(products[-1]), torch.zeros_like(crossed)  # a_l (B,), c_l (F D)
        for weight, bias, product in zip(weights, self.cross_bias, products):
            scale = scale + scale * product + shift @ weight
            shift = shift + bias
        return scale * products[-1] + shift @ crossed + self.deep(first) @ deep

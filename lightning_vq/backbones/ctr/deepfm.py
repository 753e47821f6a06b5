"""DeepFM: logit = <w, x> + sum_(i<j) <v_i, v_j> x_i x_j + MLP([x_1 v_1, ..., x_F v_F]), the vectors shared.

Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017, eq. 1 and 2.
Departures: one bias, that of first order; no sigmoid around the perceptron's part, which the paper's equation of it has
in addition to that of eq. 1. A field of many values is one feature, their mean, as in our FM.
Shapes: B batch, F fields, D dim.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from lightning_vq.backbones.fields import FieldBackbone, Perceptron, check_perceptron, glorot_linear, pair_products


class DeepFM(FieldBackbone):
    """A factorization machine beside a perceptron.

    Args:
        dim: width of a field's vector (D).
        hidden: widths of the perceptron's layers.
        dropout: share of each of them that is dropped in training.
    """

    first_order: ClassVar[bool] = True

    def __init__(self, dim: int = 64, hidden: Sequence[int] = (500, 500, 500), dropout: float = 0.1) -> None:
        super().__init__(dim)
        check_perceptron(hidden, dropout)
        self.hidden, self.dropout = tuple(hidden), dropout

    def make(self, fields: int) -> None:
        self.deep = Perceptron(fields * self.dim, self.hidden, self.dropout)
        self.output = glorot_linear(self.hidden[-1], 1, bias=False)

    def logits(self, vectors: Tensor) -> Tensor:
        return pair_products(vectors) + self.output(self.deep(vectors.flatten(1))).squeeze(1)

"""FM: logit = w_0 + sum_i w_i x_i + sum_(i<j) <v_i, v_j> x_i x_j.

Rendle, "Factorization Machines", ICDM 2010, eq. 1, the pairs as its lemma 3.1 has them. Departures: of a field of many
values the mean of weights and vectors is one feature (as if each had x = 1 / their number, without the pairs among
them). Shapes: B batch, F fields, D dim.
"""

from typing import ClassVar

from torch import Tensor

from lightning_vq.backbones.fields import FieldBackbone, pair_products


class FM(FieldBackbone):
    """Weights of first order and the inner products of all pairs, no perceptron.

    Args:
        dim: width of a field's vector (D).
    """

    first_order: ClassVar[bool] = True

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim)

    def make(self, fields: int) -> None:
        """Nothing to make: tables are all it has."""

    def logits(self, vectors: Tensor) -> Tensor:
        return pair_products(vectors)

"""Two towers that know no ids: an entity is its features, and the mean of the features of those it has met.

DQRec, section 4.2.1: what its first stage trains, to represent behaviour and attributes rather than single entities.
Shapes: M of either kind.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_vq.backbones.timed.features import FeatureInputs
from lightning_vq.backbones.towers import TwoTowers, Vocab
from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Side, TableSpec


class FeatureTower(TwoTowers):
    """Two towers of features.

    Args:
        dim: width of the vectors of values, and of users and items (D).
        layers: widths of hidden layers.
    """

    described: FeatureInputs

    def __init__(self, dim: int = 64, layers: Sequence[int] = (128,)) -> None:
        super().__init__(dim, layers)

    def prepare(self, facts: Facts) -> None:
        self.described = FeatureInputs(facts, self.dim)
        self.make_towers(self.described.widths)

    def tables(self) -> dict[str, TableSpec]:
        return self.described.tables()

    def inputs(self, look: Lookup, vocab: Vocab, side: Side) -> Tensor:
        return torch.cat(self.described.inputs(look, vocab, side), dim=1)

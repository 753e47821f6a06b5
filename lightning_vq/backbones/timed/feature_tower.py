"""Two towers that know no ids: an entity is its features, and the mean of the features of those it has met.

DQRec, section 4.2.1: what its first stage trains, to represent behaviour and attributes rather than single entities.
Each field has vectors of its own; an entity of several values in a field has their mean, one of none zeros.
Shapes: M of either kind, N entities, F fields, W values of an entity in a field at most, D dim.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_vq.backbones.towers import OTHER, VOCABS, TwoTowers, Vocab
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup, mean_of
from lightning_vq.types import FEATURE, Facts, Side, TableSpec


class FeatureTower(TwoTowers):
    """Two towers of features.

    Args:
        dim: width of the vectors of values, and of users and items (D).
        layers: widths of hidden layers.
    """

    def __init__(self, dim: int = 64, layers: Sequence[int] = (128,)) -> None:
        super().__init__(dim, layers)
        self.described: list[str] = []  # vocabularies that have features

    def prepare(self, facts: Facts) -> None:
        """Take the features.

        Raises:
            UserError: there are none.
        """
        self.described = [vocab for vocab in VOCABS if vocab in facts.features]
        if not self.described:
            raise UserError(
                "FeatureTower reads no ids, so that without features of users or items there is nothing to tell them "
                "apart by: give a table of them by data.init_args.user_file and item_file"
            )
        for vocab in self.described:  # (N, F, W) rows, -1 after the last; in checkpoints they stand among the facts
            self.register_buffer(f"{vocab}_rows", facts.features[vocab], persistent=False)
        widths = {vocab: self.dim * facts.features[vocab].shape[1] for vocab in self.described}
        self.make_towers({vocab: widths.get(vocab, 0) + widths.get(OTHER[vocab], 0) for vocab in VOCABS})

    def tables(self) -> dict[str, TableSpec]:
        return {
            f"{vocab}{FEATURE}": TableSpec(f"{vocab}{FEATURE}", self.dim, quantizable=False) for vocab in self.described
        }

    def inputs(self, look: Lookup, vocab: Vocab, side: Side) -> Tensor:
        parts = []
        if vocab in self.described:
            parts.append(self._described(look, vocab).index_select(0, side.ids))
        if OTHER[vocab] in self.described:
            parts.append(mean_of(self._described(look, OTHER[vocab]), side.recent))
        return torch.cat(parts, dim=1)

    def _described(self, look: Lookup, vocab: Vocab) -> Tensor:
        """Return the features of every entity of a vocabulary (N, F * D)."""

        def make() -> Tensor:
            rows: Tensor = self.get_buffer(f"{vocab}_rows")
            table = look.all(f"{vocab}{FEATURE}")
            return mean_of(table, rows.flatten(0, 1)).view(len(rows), -1)

        return look.once(f"described {vocab}", make)

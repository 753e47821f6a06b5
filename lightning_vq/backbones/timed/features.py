"""What a tower is told by features: those of an entity, and the mean of those of whom it has met.

DQRec, section 4.2.1. Each field has vectors of its own; an entity of several values in a field has their mean, one of
none zeros. Shapes: M of either kind, N entities, F fields, W values of an entity in a field at most, D dim.
"""

from torch import Tensor, nn

from lightning_vq.backbones.towers import OTHER, VOCABS, Vocab
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup, mean_of
from lightning_vq.types import FEATURE, Facts, Side, TableSpec


class FeatureInputs(nn.Module):
    """The part of two towers' inputs that is of features.

    Args:
        facts: of the data.
        dim: width of the vectors of values (D).

    Raises:
        UserError: there are no features.
    """

    def __init__(self, facts: Facts, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.vocabs = [vocab for vocab in VOCABS if vocab in facts.features]  # vocabularies that have features
        if not self.vocabs:
            raise UserError(
                "the backbone reads features, and neither users nor items have any: give a table of them by "
                "data.init_args.user_file or item_file"
            )
        for vocab in self.vocabs:  # (N, F, W) rows, -1 after the last; in checkpoints they stand among the facts
            self.register_buffer(f"{vocab}_rows", facts.features[vocab], persistent=False)
        widths = {vocab: dim * facts.features[vocab].shape[1] for vocab in self.vocabs}
        self.widths = {vocab: widths.get(vocab, 0) + widths.get(OTHER[vocab], 0) for vocab in VOCABS}

    def tables(self) -> dict[str, TableSpec]:
        """Return the tables of values."""
        return {
            f"{vocab}{FEATURE}": TableSpec(f"{vocab}{FEATURE}", self.dim, quantizable=False) for vocab in self.vocabs
        }

    def inputs(self, look: Lookup, vocab: Vocab, side: Side) -> list[Tensor]:
        """Return what goes into a tower, in parts (M, F * D)."""
        parts = []
        if vocab in self.vocabs:
            parts.append(self._means(look, vocab).index_select(0, side.ids))
        if OTHER[vocab] in self.vocabs:
            parts.append(mean_of(self._means(look, OTHER[vocab]), side.recent))
        return parts

    def _means(self, look: Lookup, vocab: Vocab) -> Tensor:
        """Return the features of every entity of a vocabulary (N, F * D)."""

        def make() -> Tensor:
            rows: Tensor = self.get_buffer(f"{vocab}_rows")
            table = look.all(f"{vocab}{FEATURE}")
            return mean_of(table, rows.flatten(0, 1)).view(len(rows), -1)

        return look.once(f"described {vocab}", make)

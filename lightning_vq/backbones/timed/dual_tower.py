"""Two towers of ids, of whom an entity has met, of its semantic id, and of its neighbours by pattern.

DQRec, section 4.3.3, eq. 20-22: e_u = [own vector, vectors of the semantic id's codes, mean of the items met lately,
mean of the users linked to it], and items likewise; without semantic ids and links a plain dual tower. All vectors are
of one width, each code's too. Features may go in too: what semantic ids are made of, so that it can be told apart from
what coding it is worth. Shapes: M of either kind, L codes of a semantic id, J codes to choose from, D dim.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_vq.backbones.timed.features import FeatureInputs
from lightning_vq.backbones.towers import OTHER, VOCABS, TwoTowers, Vocab
from lightning_vq.lookup import Lookup
from lightning_vq.types import PATTERN, Facts, Side, TableSpec


class DualTower(TwoTowers):
    """Two towers of ids.

    Args:
        dim: width of all vectors (D).
        layers: widths of hidden layers.
        semantic_ids: whose semantic ids go in: "user", "item".
        links: whose neighbours by pattern go in.
        features: features of users and items go in, and the mean of those of whom they met, as in a FeatureTower.
    """

    def __init__(
        self,
        dim: int = 64,
        layers: Sequence[int] = (128,),
        semantic_ids: tuple[Vocab, ...] = (),
        links: tuple[Vocab, ...] = (),
        features: bool = False,
    ) -> None:
        super().__init__(dim, layers)
        self.semantic_ids, self.links = tuple(semantic_ids), tuple(links)
        self.groups: dict[str, int] = {}  # codes of a semantic id (L)
        self.features = features
        self.described: FeatureInputs | None = None

    def prepare(self, facts: Facts) -> None:
        self.groups = {vocab: len(facts.patterns[vocab]) for vocab in self.semantic_ids}
        self.described = FeatureInputs(facts, self.dim) if self.features else None
        vectors = {vocab: 2 + self.groups.get(vocab, 0) + (vocab in self.links) for vocab in VOCABS}
        more = self.described.widths if self.described is not None else dict.fromkeys(VOCABS, 0)
        self.make_towers({vocab: self.dim * vectors[vocab] + more[vocab] for vocab in VOCABS})

    def tables(self) -> dict[str, TableSpec]:
        ids = {vocab: TableSpec(vocab, self.dim) for vocab in VOCABS}
        codes = {
            f"{vocab}{PATTERN}": TableSpec(f"{vocab}{PATTERN}", self.dim, quantizable=False)
            for vocab in self.semantic_ids
        }
        return ids | codes | (self.described.tables() if self.described is not None else {})

    def inputs(self, look: Lookup, vocab: Vocab, side: Side) -> Tensor:
        parts = [look(vocab, side.ids)]
        if vocab in self.semantic_ids:
            assert side.codes is not None
            parts.append(look(f"{vocab}{PATTERN}", side.codes).flatten(1))
        parts.append(look.mean(OTHER[vocab], side.recent))
        if vocab in self.links:
            assert side.linked is not None
            parts.append(look.mean(vocab, side.linked))
        if self.described is not None:
            parts += self.described.inputs(look, vocab, side)
        return torch.cat(parts, dim=1)

"""Vectors that are given, of which nothing is predicted: what is learned are their codes.

Shapes: B entities, D dim.
"""

from typing import ClassVar

from lightning_vq.backbones.base import Backbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Entities, Facts, Output, TableSpec


class Vectors(Backbone):
    """A table of vectors for each vocabulary.

    Args:
        dim: width of the vectors (D).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.dim = dim
        self.vocabs: list[str] = []

    def prepare(self, facts: Facts) -> None:
        """Take the vocabularies."""
        self.vocabs = list(facts.rows)

    def tables(self) -> dict[str, TableSpec]:
        return {vocab: TableSpec(vocab, self.dim) for vocab in self.vocabs}

    def forward(self, look: Lookup, batch: Entities) -> Output:
        """Look entities up, which is all that their quantizers learn from."""
        for number, vocab in enumerate(self.vocabs):
            look(vocab, batch.rows[batch.vocabs == number])
        return Output()

"""The contract of every backbone."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Output, TableSpec


class Backbone(nn.Module, ABC):
    """Turns a batch of ids into scores. It declares the id tables that it needs and is handed a lookup of them.

    `__init__` takes hyperparameters only, each kept in an attribute of its name; `prepare` makes what depends on
    the data. An id's vector comes from `look` alone, never from an `nn.Embedding` of its own.
    """

    needs: ClassVar[frozenset[str]]  # of {"pairs", "triples", "history", "graph", "features"}
    inner_product: ClassVar[bool] = True  # scores are hidden . keys + bias; False: a pair scorer
    dim: int  # width of the quantizable tables

    def prepare(self, facts: Facts) -> None:
        """Make what depends on the data: a graph, layers as wide as a vocabulary."""

    @abstractmethod
    def tables(self) -> dict[str, TableSpec]:
        """Return the id tables by name."""

    def query_scale(self) -> Tensor | None:
        """Return what users' vectors (D,) are multiplied by to make queries; None: by nothing."""
        return None

    @abstractmethod
    def forward(self, look: Lookup, batch: Any) -> Output:
        """Score the batch's items, or every item where it names none.

        Args:
            look: the id tables, through their quantizers.
            batch: Pairs; in training also Triples, if the backbone needs "triples"; Samples, if it needs "features".
        """

"""What list completion backbones share: the item table, the output's, and the two ways of continuing a list.

Shapes: B batch, T items of a list, M predicted positions, C candidates, D dim, N items.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_vq import losses
from lightning_vq.backbones.base import Backbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Lists, Output, TableSpec

OUTPUT, BIAS = "item_output", "item_bias"  # tables of an output of its own


class ListBackbone(Backbone):
    """Predicts items of a list by a product of what it makes of the others with the items' vectors.

    Rows from N on of the table "item" are a backbone's own tokens (a mask); they are never quantized, and never
    predicted. Padding (-1) is no token: a backbone gives it zeros and lets nothing look at it.

    Args:
        dim: width of an item's vector (D).
        tied: score by the vectors that come in, quantized as those are; else by a table of the output's own with a
            bias, never quantized (CAGE eq. 14).
        tokens: how many of its own there are.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"lists"})
    length: int  # items of the longest list, from `prepare` on
    progress: float = 0.0  # share of the training that is behind, in epochs or what steps end it: a curriculum's place
    softmax_only: bool = False  # it learns by the softmax over all items, and by no sampled loss

    def __init__(self, dim: int, tied: bool, tokens: int = 0) -> None:
        super().__init__()
        self.dim, self.tied, self.tokens = dim, tied, tokens
        self.items = 0  # N, from `prepare` on; the first token's row

    def prepare(self, facts: Facts) -> None:
        self.items, self.length = facts.rows["item"], facts.length

    def tables(self) -> dict[str, TableSpec]:
        specs = {"item": TableSpec("item", self.dim, outside=self.tokens)}
        if not self.tied:
            specs[OUTPUT] = TableSpec("item", self.dim, quantizable=False)
            specs[BIAS] = TableSpec("item", 1, quantizable=False, decay=False)
        return specs

    def keys(self, look: Lookup, ids: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return vectors (..., D) and biases (...) that candidates (...) are scored by; of all items (N) for None.

        A tied output of all items must be asked for before any vector that comes in (Lookup.all).
        """
        if self.tied:
            return (look.all("item") if ids is None else look("item", ids)), None
        vectors, bias = (look.all(n) if ids is None else look(n, ids) for n in (OUTPUT, BIAS))
        return vectors, bias.squeeze(-1)

    def scores(self, hidden: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        """Return scores (M, N) of all items by hidden vectors (M, D), and what `keys` returns of all items."""
        return losses.all_scores(Output(hidden, keys, bias))

    def softmax(self, hidden: Tensor, keys: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        """Return the softmax loss over all items, a mean over predicted positions, see `losses.all_items`."""
        return losses.all_items(hidden, keys, bias, targets)

    def forward(self, look: Lookup, batch: Lists) -> Output:
        """Return what every position that is trained predicts, its target, and what that competes with."""
        whole = self.keys(look) if batch.negatives is None else None
        hidden, places = self.learned(look, batch)
        targets = batch.items.reshape(-1)[places]
        if batch.negatives is not None:
            whole = self.keys(look, torch.cat([targets[:, None], batch.negatives.flatten(0, 1)[places]], 1))
        assert whole is not None
        return Output(hidden, *whole, targets=targets)

    @abstractmethod
    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        """Return hidden vectors (M, D), and the place (M,) in the flattened items (B T) that each predicts."""


class Autoregressive(ListBackbone):
    """Continues a list item by item: each is predicted from all before it."""

    @abstractmethod
    def begin(self, look: Lookup, items: Tensor, creators: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the hidden vector (B, D) of the first item to come, and what `advance` needs.

        Args:
            look: the tables.
            items: (B, T) the given ones, -1 after the last; one or more in every list.
            creators: (B,) who made the lists, -1 where that is not known; None: of none.
        """

    @abstractmethod
    def advance(self, look: Lookup, state: Any, items: Tensor) -> tuple[Tensor, Any]:
        """Return the hidden vector (B, D) of the item after the next ones (B,), and the state with those."""


class Parallel(ListBackbone):
    """Fills all places of a list in one pass."""

    @abstractmethod
    def fill(self, look: Lookup, items: Tensor, counts: Tensor) -> Tensor:
        """Return the hidden vectors (B, most of the counts, D) of the items to come.

        Args:
            look: the tables.
            items: (B, T) the given ones, -1 after the last; one or more in every list.
            counts: (B,) how many are to come in each list.
        """

"""Two towers: a user's vector and an item's, each of what the entity is and whom it has met, scored by their product.

Huang et al., CIKM 2013; DQRec, section 4.3.3. Shapes: B users, C candidates, M of either kind, D dim, H layer's width.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import gelu

from lightning_vq.backbones.base import Backbone
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.types import Encounter, Output, Side

Vocab = Literal["user", "item"]
VOCABS: tuple[Vocab, Vocab] = ("user", "item")
OTHER: dict[Vocab, Vocab] = {"user": "item", "item": "user"}


class TwoTowers(Backbone):
    """A backbone of two towers, each a perceptron with GELU after its hidden layers (DQRec eq. 21).

    Args:
        dim: width of vectors (D).
        layers: widths of hidden layers (H).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"timed"})
    semantic_ids: tuple[Vocab, ...] = ()  # whose semantic ids it asks for
    links: tuple[Vocab, ...] = ()  # whose neighbours by pattern

    def __init__(self, dim: int, layers: Sequence[int]) -> None:
        super().__init__()
        if layers and min(layers) < 1:
            raise UserError(f"backbone.init_args.layers is {list(layers)}; its widths must be above 0")
        self.dim, self.layers = dim, tuple(layers)
        self.towers = nn.ModuleDict()

    def make_towers(self, widths: dict[Vocab, int]) -> None:
        """Make the perceptrons, once it is known how wide their inputs are."""
        for vocab, width in widths.items():
            sizes = [width, *self.layers, self.dim]
            self.towers[vocab] = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    @abstractmethod
    def inputs(self, look: Lookup, vocab: Vocab, side: Side) -> Tensor:
        """Return what goes into a tower (M, width)."""

    def vectors(self, look: Lookup, vocab: Vocab, side: Side) -> Tensor:
        """Return the vectors (M, D) of users or items as they were at their moments."""
        x = self.inputs(look, vocab, side)
        layers: Any = self.towers[vocab]
        for layer in layers[:-1]:
            x = gelu(layer(x))
        made: Tensor = layers[-1](x)
        return made

    def forward(self, look: Lookup, batch: Encounter) -> Output:
        users = self.vectors(look, "user", batch.user)
        items = self.vectors(look, "item", batch.item)
        return Output(hidden=users, keys=items.view(len(users), -1, self.dim))

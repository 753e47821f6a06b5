"""GRU4Rec: a recurrent network reads the list, h_t = GRU(x_t, h_(t-1)); what it holds predicts the next item.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, section 3.1. Dropout on each
layer's output; the state that is carried on is the whole one, where the authors' code carries the dropped one.

Departures: torch's units, whose reset gate acts behind the product with the state; items come in as vectors of a table,
not one-hot; lists are learned whole, every position at once, and not in session-parallel mini-batches; no activation on
the output; not the paper's losses (BPR is the module's `sampled_softmax` with one negative, TOP1 is not there). Layers
of another width than the vectors' are followed by a linear one back to it.
Shapes: B batch, T items of a list, D dim, W width of a layer.
"""

from torch import Tensor, nn

from lightning_vq.backbones.attention import linear
from lightning_vq.backbones.causal import Causal
from lightning_vq.backbones.layers import dropped
from lightning_vq.backbones.sequences import at, check_share, check_sizes
from lightning_vq.lookup import Lookup


class GRU4Rec(Causal):
    """Gated recurrent units.

    Args:
        dim: width of an item's vector (D).
        layers: how many there are.
        hidden: width of each (W); that of the vectors if none is given.
        dropout: share of each layer's output that is dropped in training.
        tied: score by the vectors that come in.
    """

    def __init__(
        self, dim: int = 64, layers: int = 3, hidden: int | None = None, dropout: float = 0.1, tied: bool = False
    ) -> None:
        super().__init__(dim, tied)
        width = dim if hidden is None else hidden
        check_sizes(dim=dim, layers=layers, hidden=width)
        check_share("dropout", dropout)
        self.layers, self.hidden, self.dropout = layers, hidden, dropout
        # One by one: the state of every layer after every item is wanted, of which torch returns only the last layer's.
        self.units = nn.ModuleList(nn.GRU(width if n else dim, width, batch_first=True) for n in range(layers))
        self.output = nn.Identity() if width == dim else linear(width, dim)

    def encode(self, look: Lookup, items: Tensor, creators: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        return self._read(look.padded("item", items), [None] * self.layers)

    def state(self, kept: list[Tensor], items: Tensor, last: Tensor) -> list[Tensor]:
        return [at(states, last) for states in kept]

    def advance(self, look: Lookup, state: list[Tensor], items: Tensor) -> tuple[Tensor, list[Tensor]]:
        hidden, states = self._read(look("item", items[:, None]), state)
        return hidden.squeeze(1), [after.squeeze(1) for after in states]

    def _read(self, x: Tensor, before: list[Tensor] | list[None]) -> tuple[Tensor, list[Tensor]]:
        """Return what the items (B, T, D) predict, and each layer's states (B, T, W) after them; `before`: (B, W)."""
        states = []
        for unit, start in zip(self.units, before):
            x, _ = unit(x, None if start is None else start[None])
            states.append(x)
            x = dropped(x, self.dropout, self.training)
        return self.output(x), states

"""Models that read a list in its order and learn all next items at once; those of causal attention among them.

What was made of an item does not change when the list grows, so that decoding keeps it and encodes nothing twice.
Shapes: B batch, T items of a list, M predicted positions, K items kept, D dim, H heads.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_vq.backbones.attention import check_attention, numbered, position_table
from lightning_vq.backbones.layers import dropped
from lightning_vq.backbones.lists import Autoregressive
from lightning_vq.backbones.sequences import at
from lightning_vq.lookup import Lookup, rows_of
from lightning_vq.types import Facts, Lists


class Causal(Autoregressive):
    """Reads a list in its order: what it makes of an item predicts the next, and all of a list are learned at once."""

    @abstractmethod
    def encode(self, look: Lookup, items: Tensor, creators: Tensor | None) -> tuple[Tensor, Any]:
        """Return what items (B, T) and those before them predict (B, T, D), and what `state` needs.

        Args:
            look: the tables.
            items: (B, T).
            creators: (B,) see `begin`.
        """

    @abstractmethod
    def state(self, kept: Any, items: Tensor, last: Tensor) -> Any:
        """Return what `advance` needs.

        Args:
            kept: of `encode`.
            items: (B, T) that it was given.
            last: (B,) where the last item of each list is.
        """

    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        """Every item but the first of its list is learned; a list's last is predicted alone, and not looked up."""
        items, width = batch.items, batch.items.shape[1]
        follows = items >= 0
        follows[:, :1] = False
        places = follows.reshape(-1).nonzero()[:, 0]
        given = items.masked_fill(~follows.roll(-1, 1), -1)[:, : max(width - 1, 1)]
        hidden, _ = self.encode(look, given, batch.creators)
        sources = places - 1 - places // width  # a row of `given` is one item shorter
        return rows_of(hidden.flatten(0, 1), sources), places

    def begin(self, look: Lookup, items: Tensor, creators: Tensor | None = None) -> tuple[Tensor, Any]:
        hidden, kept = self.encode(look, items, creators)
        last = (items >= 0).sum(1) - 1
        return at(hidden, last), self.state(kept, items, last)


Kept = tuple[Tensor, ...]  # (B, H, K, D / H) each: what a causal block keeps of the items so far


class Past(NamedTuple):
    """What causal blocks keep of the items so far. Columns are the lists' items, with padding between."""

    blocks: list[Kept]
    there: Tensor  # (B, K) which columns are items
    counts: Tensor  # (B,) how many items each list has
    creators: Tensor | None  # (B,) see `begin`


Encoded = tuple[list[Kept], Tensor | None]  # of the blocks, and creators


def longer(past: Kept, new: Kept) -> Kept:
    return tuple(torch.cat(pair, 2) for pair in zip(past, new))


class CausalBlock(nn.Module):
    """Items that see those before them and themselves."""

    @abstractmethod
    def forward(self, x: Tensor, past: Kept = (), there: Tensor | None = None) -> tuple[Tensor, Kept]:
        """Return x (B, T, D) after the block, and what it keeps of these items and the past ones.

        Args:
            x: (B, T, D) of the items.
            past: what was kept of the items before; x is of one more item of each list then, T = 1.
            there: (B, K) which of all, x's with them, are items; None: x is all there is.
        """


class CausalAttention(Causal):
    """Causal blocks on sqrt(D) times an item's vector plus its position's, and a norm behind them.

    Position n is that of a list's n-th item. A list's last item is predicted alone, so that the longest list needs a
    position less than it has items; items past that, which only a decoder asks for, share the last.

    Args:
        dim: width (D).
        layers: how many blocks.
        heads: of each block's attention (H).
        dropout: share that is dropped of what comes in, and in the blocks.
        tied: see ListBackbone.
    """

    def __init__(self, dim: int, layers: int, heads: int, dropout: float, tied: bool) -> None:
        super().__init__(dim, tied)
        check_attention(dim, layers, heads, dropout)
        self.layers, self.heads, self.dropout = layers, heads, dropout
        self.blocks = nn.ModuleList(self.block() for _ in range(layers))
        self.norm = nn.LayerNorm(dim, eps=1e-8)

    @abstractmethod
    def block(self) -> CausalBlock:
        """Return a new block."""

    def prepare(self, facts: Facts) -> None:
        super().prepare(facts)
        self.positions = position_table(max(self.length - 1, 1), self.dim)

    def through(
        self, look: Lookup, block: nn.Module, x: Tensor, past: Kept, there: Tensor | None, creators: Tensor | None
    ) -> tuple[Tensor, Kept]:
        """Return what a block makes of x; see CausalBlock, and `begin` for creators, which most models ignore."""
        made: tuple[Tensor, Kept] = block(x, past, there)
        return made

    def encode(self, look: Lookup, items: Tensor, creators: Tensor | None) -> tuple[Tensor, Encoded]:
        numbers = torch.arange(items.shape[1], device=items.device)
        x, kept = self._inputs(look, items, numbers), []
        for block in self.blocks:
            x, of_block = self.through(look, block, x, (), None, creators)
            kept.append(of_block)
        return self.norm(x), (kept, creators)

    def state(self, kept: Encoded, items: Tensor, last: Tensor) -> Past:
        return Past(kept[0], items >= 0, last + 1, kept[1])

    def advance(self, look: Lookup, state: Past, items: Tensor) -> tuple[Tensor, Past]:
        x, kept = self._inputs(look, items[:, None], state.counts[:, None]), []
        there = torch.cat([state.there, torch.ones_like(items[:, None], dtype=torch.bool)], 1)
        for block, past in zip(self.blocks, state.blocks):
            x, of_block = self.through(look, block, x, past, there, state.creators)
            kept.append(of_block)
        return self.norm(x).squeeze(1), Past(kept, there, state.counts + 1, state.creators)

    def _inputs(self, look: Lookup, items: Tensor, numbers: Tensor) -> Tensor:
        x = look.padded("item", items) * self.dim**0.5 + numbered(self.positions, numbers)
        return dropped(x, self.dropout, self.training)

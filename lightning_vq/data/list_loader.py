"""Mini-batches of lists: of like lengths together, padded only to the longest of each.

Lists lie one after the other in memory; a batch is gathered from there. Shapes: E entries of all lists, M stretches,
B lists of a batch, T items of its longest, C negatives of each position.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_vq.data.loaders import TrainLoader, whole_batches
from lightning_vq.data.negatives import KnownPairs, generator
from lightning_vq.types import Block, Lists

WINDOW = 64  # global batches within which lists are sorted by length
SPREAD = 0.2  # share of a list's length that chance adds or takes where it is sorted
NEGATIVE_DRAW = 5  # purpose of the generator


class Stretches(NamedTuple):
    """Stretches of lists, each a part of its list that a batch shows."""

    items: Tensor  # (E,) int64 of all lists, one after the other
    begins: Tensor  # (M,) int64 place of each stretch's first item there
    lengths: Tensor  # (M,) int64
    known: Tensor  # (M,) int64 how many of its items are given
    cases: Tensor  # (M,) int64 place of its list in the data
    creators: Tensor | None = None  # (M,) int64 row of who made its list, -1: unknown; None: not told

    def batch(self, rows: Tensor) -> Lists:
        """Return some stretches (B,), padded to the longest of them."""
        lengths = self.lengths[rows]
        place = torch.arange(int(lengths.max()) if len(rows) else 0)
        at = (self.begins[rows][:, None] + place).clamp_max_(len(self.items) - 1)
        items = self.items[at].masked_fill_(place >= lengths[:, None], -1)
        creators = None if self.creators is None else self.creators[rows]
        return Lists(items, self.known[rows], self.cases[rows], creators=creators)


class ListLoader(TrainLoader):
    """Training lists in an order drawn anew each epoch.

    All are shuffled, sorted by about their length within windows, cut into global batches, and those shuffled. Every
    rank draws the same and takes each world-th list of a global batch, so that one process at batch 2 * B and two at
    batch B see the same lists and negatives; shares differ by at most one list.

    Args:
        stretches: what is trained on (M).
        batch_size: lists of a mini-batch on each rank (B).
        negatives: for each position of a list (C), uniformly from all items that are not in it; 0: none.
        listed: the items of each stretch, which negatives are not among; None where there are none.
        seed, epoch: of the first draw.
        rank, world: whose share of it.
    """

    def __init__(
        self,
        stretches: Stretches,
        batch_size: int,
        negatives: int,
        listed: KnownPairs | None,
        seed: int,
        epoch: int,
        rank: int,
        world: int,
    ) -> None:
        super().__init__(seed, epoch)
        self.stretches, self.batch_size, self.negatives, self.listed = stretches, batch_size, negatives, listed
        self.rank, self.world = rank, world
        self.batches = whole_batches(len(stretches.lengths), batch_size, world)

    def __len__(self) -> int:
        return self.batches

    def draw(self, generator: torch.Generator) -> Callable[[int], Block]:
        size, lengths = self.batch_size * self.world, self.stretches.lengths
        order = torch.randperm(len(lengths), generator=generator)[: self.batches * size]
        window = torch.arange(len(order)) // (WINDOW * size)
        # About by length: by length alone an epoch of few batches would have the same ones every time.
        about = lengths[order] * (1 + SPREAD * (2 * torch.rand(len(order), generator=generator) - 1))
        order = order[torch.argsort(window * 2 * int(lengths.max()) + about, stable=True)]
        sizes, places = [size] * self.batches, torch.randperm(self.batches, generator=generator).tolist()
        if sizes:
            sizes[places[0]] -= self.batches * size - len(order)  # the one that is not full is any
        whole = order.split(sizes)
        return lambda at: self._block(whole[places[at]], at)

    def _block(self, rows: Tensor, at: int) -> Block:
        """Return this rank's share of the global batch of rows (B * world,) that is the epoch's at-th."""
        batch = self.stretches.batch(rows[self.rank :: self.world])
        if self.negatives:
            batch = batch._replace(negatives=self._negatives(rows, batch.items.shape[1], at))
        return Block(batch, self.batch_size)

    def _negatives(self, rows: Tensor, width: int, at: int) -> Tensor:
        """Return negatives (B, T, C) of a share's lists, T wide; where nothing stands, they mean nothing."""
        # Drawn for the entries of the whole global batch: which they are must not depend on how many share it.
        lengths = self.stretches.lengths[rows]
        draw = generator(self.seed, NEGATIVE_DRAW, self.epoch, at)
        assert self.listed is not None
        drawn = self.listed.negatives(rows.repeat_interleave(lengths), self.negatives, draw)
        begins = (lengths.cumsum(0) - lengths)[self.rank :: self.world]
        places = (begins[:, None] + torch.arange(width)).clamp_max_(len(drawn) - 1)
        return drawn[places]

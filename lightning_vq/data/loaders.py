"""Tensor loaders: an epoch is drawn in one vectorized go and cut into slices, with no per-sample Python.

Each is a plain iterable with a length; the training loader also says where it stands, so that a run stopped in the
middle of an epoch goes on bit for bit. Shapes: E rows of an epoch, B mini-batch, S mini-batches in a block.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from lightning_vq.data.negatives import generator
from lightning_vq.data.samplers import Sampler
from lightning_vq.types import Block, EvalBatch, Samples, cut

EPOCH_DRAW = 1  # purpose of the generator

Batch = TypeVar("Batch", bound=EvalBatch | Samples)


class BlockLoader:
    """Blocks of training mini-batches, drawn anew each epoch.

    Every rank draws the same epoch and takes its share of each global mini-batch, so that one process at batch
    2 * B and two at batch B see the same pairs; shares of an uneven last mini-batch differ by at most one row.

    Args:
        sampler: of the E rows of an epoch.
        batch_size: rows of a mini-batch on each rank (B).
        block: mini-batches in a block (S).
        seed, epoch: of the first draw.
        rank, world: whose share of it.
    """

    def __init__(
        self, sampler: Sampler, batch_size: int, block: int, seed: int, epoch: int, rank: int, world: int
    ) -> None:
        self.sampler, self.batch_size, self.block = sampler, batch_size, block
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch = epoch
        self.position, self._resumed = 0, False  # blocks of this epoch that were handed out
        whole, rest = divmod(sampler.count, batch_size * world)
        self.batches = whole + (rest >= world)  # a rest smaller than the ranks would leave one with nothing

    def __len__(self) -> int:
        return -(-self.batches // self.block)

    def __iter__(self) -> Iterator[Block]:
        # Here and not after the last block: Lightning, which knows the length, never asks for the end, and with
        # trainer.limit_train_batches leaves an epoch in its middle. Only a resumed run goes on there.
        if self.position >= len(self) or (self.position and not self._resumed):
            self.epoch, self.position = self.epoch + 1, 0
        self._resumed = False
        draw = generator(self.seed, EPOCH_DRAW, self.epoch)
        drawn = self.sampler.draw(draw)
        order = self._order(draw)
        rows = self.batch_size * self.block
        while self.position < len(self):
            start = self.position * rows
            self.position += 1
            yield Block(cut(drawn, order[start : start + rows]), self.batch_size)

    def _order(self, draw: torch.Generator) -> Tensor:
        """Return this rank's rows of the epoch in training order."""
        order = torch.randperm(self.sampler.count, generator=draw)
        if self.world > 1:
            shares = [part.tensor_split(self.world)[self.rank] for part in order.split(self.batch_size * self.world)]
            order = torch.cat(shares[: self.batches])
        return order

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position, self._resumed = state["epoch"], state["position"], True


class EvalLoader(Generic[Batch]):
    """Evaluation batches made on demand from users or rows, a contiguous share per rank.

    Args:
        what: (U,) users or rows that are evaluated.
        batch_size: how many of a batch.
        make: the batch of some.
        rank, world: whose share of them.
    """

    def __init__(self, what: Tensor, batch_size: int, make: Callable[[Tensor], Batch], rank: int, world: int) -> None:
        self.parts, self.make = what.tensor_split(world)[rank].split(max(1, batch_size)), make

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make, self.parts)

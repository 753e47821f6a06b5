"""Tensor loaders: an epoch is drawn in one vectorized go and cut into slices, with no per-sample Python.

Each is a plain iterable with a length; the training loader also says where it stands, so that a run stopped in the
middle of an epoch goes on bit for bit. Shapes: E rows of an epoch, B mini-batch, S mini-batches in a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from lightning_vq.data.negatives import generator
from lightning_vq.data.samplers import Sampler
from lightning_vq.types import Block, Entities, EvalBatch, Lists, Samples, ScoredPairs, cut

EPOCH_DRAW = 1  # purpose of the generator

Batch = TypeVar("Batch", bound=EvalBatch | Samples | ScoredPairs | Lists | Entities)


class TrainLoader(ABC):
    """Blocks of training mini-batches, drawn anew each epoch.

    Args:
        seed, epoch: of the first draw.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self.seed, self.epoch = seed, epoch
        self.position, self._resumed = 0, False  # blocks of this epoch that were handed out

    @abstractmethod
    def __len__(self) -> int:
        """Return how many blocks an epoch has."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Callable[[int], Block]:
        """Draw the epoch at hand, and return what makes each of its blocks."""

    def __iter__(self) -> Iterator[Block]:
        # Here and not after the last block: Lightning, which knows the length, never asks for the end, and with
        # trainer.limit_train_batches leaves an epoch in its middle. Only a resumed run goes on there.
        if self.position >= len(self) or (self.position and not self._resumed):
            self.epoch, self.position = self.epoch + 1, 0
        self._resumed = False
        block = self.draw(generator(self.seed, EPOCH_DRAW, self.epoch))
        while self.position < len(self):
            self.position += 1
            yield block(self.position - 1)

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position, self._resumed = state["epoch"], state["position"], True


def whole_batches(rows: int, batch_size: int, world: int) -> int:
    """Return how many global mini-batches of batch_size * world an epoch of so many rows has."""
    whole, rest = divmod(rows, batch_size * world)
    return whole + (rest >= world)  # a rest smaller than the ranks would leave one with nothing


class BlockLoader(TrainLoader):
    """Blocks of rows that a sampler draws.

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
        super().__init__(seed, epoch)
        self.sampler, self.batch_size, self.block = sampler, batch_size, block
        self.rank, self.world = rank, world
        self.batches = whole_batches(sampler.count, batch_size, world)

    def __len__(self) -> int:
        return -(-self.batches // self.block)

    def draw(self, generator: torch.Generator) -> Callable[[int], Block]:
        drawn = self.sampler.draw(generator)
        order = self._order(generator)
        rows = self.batch_size * self.block
        return lambda at: Block(cut(drawn, order[at * rows : (at + 1) * rows]), self.batch_size)

    def _order(self, draw: torch.Generator) -> Tensor:
        """Return this rank's rows of the epoch in training order."""
        order = torch.randperm(self.sampler.count, generator=draw)
        if self.world > 1:
            shares = [part.tensor_split(self.world)[self.rank] for part in order.split(self.batch_size * self.world)]
            order = torch.cat(shares[: self.batches])
        return order


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

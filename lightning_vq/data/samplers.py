"""What an epoch of training draws: pairs with sampled negatives, rows of a table. Shapes: E of them, N items."""

from typing import Protocol

import torch
from torch import Tensor

from lightning_vq.data.negatives import KnownPairs
from lightning_vq.types import Entities, Pairs, Samples, ScoredPairs, TimedPairs, Triples


class Sampler(Protocol):
    """Draws the rows of an epoch in the order of the data; the loader shuffles them."""

    count: int

    def draw(self, generator: torch.Generator) -> Pairs | Triples | Samples | ScoredPairs | TimedPairs | Entities: ...


class PairSampler:
    """Every observed pair with fresh negatives that its user does not know.

    Args:
        users, items: (E,) training pairs, sorted by user.
        known: what a negative must not be.
        negatives: per observed pair (n).
        weights: (N,) odds of each item as a negative; None: all alike.
    """

    def __init__(
        self, users: Tensor, items: Tensor, known: KnownPairs, negatives: int, weights: Tensor | None = None
    ) -> None:
        self.users, self.items, self.known, self.negatives = users, items, known, negatives
        self.weights, self.count = weights, len(users)

    def draw(self, generator: torch.Generator) -> Pairs:
        """Return users (E,), items (E, 1 + n) and, where odds differ, their logarithms."""
        drawn = self.known.negatives(self.users, self.negatives, generator, self.weights)
        items = torch.cat([self.items[:, None], drawn], dim=1)
        return Pairs(self.users, items, None if self.weights is None else self.weights.log()[items])


class SampleSampler:
    """Every row of a table as it is.

    Args:
        samples: (E) rows.
    """

    def __init__(self, samples: Samples | ScoredPairs | Entities) -> None:
        self.samples, self.count = samples, len(samples[0])

    def draw(self, generator: torch.Generator) -> Samples | ScoredPairs | Entities:
        """Return all rows; nothing of them is read before a mini-batch is cut from them."""
        return self.samples


def popularity(items: Tensor, item_count: int, power: float) -> Tensor:
    """Return each item's odds (N,) of being drawn: its training count, at least 1, to a power.

    Source of the power: Mikolov et al., NeurIPS 2013, where 0.75 was best.

    >>> popularity(torch.tensor([0, 0, 0, 0, 1]), 3, 0.5)
    tensor([2., 1., 1.])
    """
    return torch.bincount(items, minlength=item_count).clamp_min(1).float().pow(power)

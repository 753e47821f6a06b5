"""Uniform negatives that are never among a user's known items; exact, vectorized. Shapes: E rows, n negatives."""

import torch
from torch import Tensor

from lightning_vq.errors import UserError


class KnownPairs:
    """The set of known (user, item) pairs, as sorted keys user * items + item."""

    def __init__(self, users: Tensor, items: Tensor, item_count: int, where: str) -> None:
        self.item_count = item_count
        self.keys = torch.unique(users.long() * item_count + items.long())  # sorted
        full = torch.bincount(self.keys // item_count) >= item_count
        if full.any():
            raise UserError(f"{where}: user number {int(full.nonzero()[0])} knows all {item_count} items: no negatives")

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """Return which pairs are known; fast (50 ns a pair) where users come sorted."""
        wanted = users * self.item_count + items
        place = torch.searchsorted(self.keys, wanted).clamp_max_(len(self.keys) - 1)
        return self.keys[place] == wanted

    def negatives(self, users: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return (E, count) items unknown to users (E,), drawn uniformly with replacement; sort users for speed."""
        repeated = users.repeat_interleave(count)
        drawn = torch.randint(self.item_count, (len(repeated),), generator=generator)
        wrong = self.contains(repeated, drawn).nonzero().squeeze(1)
        while len(wrong):
            drawn[wrong] = torch.randint(self.item_count, (len(wrong),), generator=generator)
            wrong = wrong[self.contains(repeated[wrong], drawn[wrong])]
        return drawn.view(len(users), count)


def generator(*purpose: int) -> torch.Generator:
    """Return a generator of its own for (seed, purpose, epoch, ...), the same on every machine and rank.

    >>> int(torch.randint(10**6, (1,), generator=generator(0, 1))) == int(torch.randint(10**6, (1,), generator=generator(0, 2)))
    False
    """
    mixed = 0
    for number in purpose:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)

"""Negatives that are never among a user's known items; exact, vectorized. Shapes: E rows, n negatives, N items."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_vq.errors import UserError


class KeySet:
    """A set of integers, as flags where they take at most 64 MiB, twice as fast as the search elsewhere.

    Args:
        keys: any number of each.
        bound: above all of them.
    """

    def __init__(self, keys: Tensor, bound: int) -> None:
        self.keys = torch.unique(keys)  # sorted
        self.table: Tensor | None = None
        if bound <= 1 << 26:
            self.table = torch.zeros(bound, dtype=torch.bool)
            self.table[self.keys] = True

    def contains(self, wanted: Tensor) -> Tensor:
        """Return which are in the set; the search is fast (50 ns a key) where they come nearly sorted."""
        if self.table is not None:
            return self.table[wanted]
        place = torch.searchsorted(self.keys, wanted).clamp_max_(len(self.keys) - 1)
        return self.keys[place] == wanted


class KnownPairs:
    """The set of known (user, item) pairs, by keys user * items + item.

    Args:
        users, items: (E,) the pairs.
        item_count: items there are.
        where: file they come from, for messages.
        user_ids: original ids, for messages.

    Raises:
        UserError: a user knows all items, so that no negative can be drawn.
    """

    def __init__(
        self, users: Tensor, items: Tensor, item_count: int, where: str, user_ids: Sequence[object] | None = None
    ) -> None:
        self.item_count = item_count
        self.pairs = KeySet(users.long() * item_count + items.long(), (int(users.max()) + 1) * item_count)
        full = torch.bincount(self.pairs.keys // item_count) >= item_count
        if full.any():
            user = int(full.nonzero()[0])
            raise UserError(
                f"{where}: user {user if user_ids is None else user_ids[user]} knows all {item_count} items, "
                "so that no negative can be drawn; drop such users or add items"
            )

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """Return which pairs are known; sort users for speed."""
        return self.pairs.contains(users * self.item_count + items)

    def negatives(self, users: Tensor, count: int, generator: torch.Generator, weights: Tensor | None = None) -> Tensor:
        """Return (E, count) items unknown to users (E,), drawn with replacement; sort users for speed.

        Args:
            users: (E,).
            count: how many for each.
            generator: of all draws.
            weights: (N,) odds of each item, none of them zero; None: uniform.
        """
        sums = None if weights is None else weights.double().cumsum(0)

        def draw(size: int) -> Tensor:
            if sums is None:
                return torch.randint(self.item_count, (size,), generator=generator)
            point = torch.rand(size, generator=generator, dtype=torch.double) * sums[-1]
            return torch.searchsorted(sums, point, right=True).clamp_max_(self.item_count - 1)

        repeated = users.repeat_interleave(count)
        drawn = draw(len(repeated))
        wrong = self.contains(repeated, drawn).nonzero().squeeze(1)
        while len(wrong):
            drawn[wrong] = draw(len(wrong))
            wrong = wrong[self.contains(repeated[wrong], drawn[wrong])]
        return drawn.view(len(users), count)


def generator(*purpose: int) -> torch.Generator:
    """Return a generator of its own for (seed, purpose, epoch, ...), the same on every machine and rank.

    >>> [int(torch.randint(100, (1,), generator=generator(0, purpose))) for purpose in (1, 1, 2)]
    [82, 82, 19]
    """
    mixed = 0
    for number in purpose:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)

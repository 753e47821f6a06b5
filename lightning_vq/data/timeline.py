"""What each user, or each item, had met at any moment, without a look into the future.

An entity that met n others has n + 1 states: it before its first interaction, before its second, ... and now. States
are numbered through, so that what is known of one (its representation, its semantic id, its neighbours) is a row of a
tensor. Moments are numbers of interactions in the order of time. Shapes: E interactions, N entities, M any number, T
others of a sequence.
"""

import torch
from torch import Tensor

from lightning_vq.types import Side


class Timeline:
    """The interactions of one kind of entity, in time.

    Args:
        entities: (E,) whose they are.
        others: (E,) whom they met.
        moments: (E,) when, each another.
        count: entities there are (N).
        moments_in_all: above all moments, those of interactions that are not among these too.
    """

    def __init__(self, entities: Tensor, others: Tensor, moments: Tensor, count: int, moments_in_all: int) -> None:
        self.count, self.bound = count, moments_in_all + 1
        keys = entities * self.bound + moments
        self.keys, order = torch.sort(keys)  # (E,)
        self.others = others[order].int()
        lengths = torch.bincount(entities, minlength=count)
        self.starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])  # (N + 1,)
        self.first = self.starts[:-1] + torch.arange(count)  # (N,) state of each before it met anyone

    @property
    def states(self) -> int:
        """Return how many states there are: E + N."""
        return len(self.others) + self.count

    @property
    def now(self) -> Tensor:
        """Return the last state of each entity (N,)."""
        return self.first + self.starts.diff()

    def before(self, entities: Tensor, moments: Tensor) -> Tensor:
        """Return the states of entities (...) right before moments (...)."""
        return torch.searchsorted(self.keys, entities * self.bound + moments) + entities

    def during(self, entities: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (S,) of entities (C,) from the first to the last of moments (P,), and which of them each is
        in right before each moment (P, C): `before` of all pairs, in a fraction of its time.

        Args:
            entities: (C,).
            moments: (P,) rising.
        """
        first, last = (self.before(entities, moments[at].expand(len(entities))) for at in (0, -1))
        lengths = last - first + 1
        starts = lengths.cumsum(0) - lengths
        states = (first - starts).repeat_interleave(lengths) + torch.arange(int(lengths.sum()))
        column = torch.arange(len(entities)).repeat_interleave(lengths)
        met = torch.ones(len(states), dtype=torch.bool).index_fill_(0, starts, False)  # not their first: by a meeting
        column, owners = column[met], entities[column[met]]
        when = self.keys[states[met] - 1 - owners] - owners * self.bound
        steps = torch.zeros(len(moments), len(entities), dtype=torch.int64)
        ones = torch.ones_like(column)
        steps.index_put_((torch.searchsorted(moments, when, right=True), column), ones, accumulate=True)
        return states, steps.cumsum_(0).add_(starts)

    def owners(self, states: Tensor) -> Tensor:
        """Return the entities of states (...)."""
        return torch.searchsorted(self.first, states, right=True) - 1

    def recent(self, states: Tensor, length: int) -> Tensor:
        """Return the last others (..., T) int32 that were met before states (...), the latest last; -1 before them."""
        owners = self.owners(states)
        places = (states - owners)[..., None] + torch.arange(-length, 0)
        there = places >= self.starts[owners][..., None]
        return torch.where(there, self.others[places.clamp_min_(0)], -1)

    def side(self, states: Tensor, length: int) -> Side:
        """Return the entities of states (M,) as they were, with the last others (M, T) that they had met."""
        return Side(self.owners(states), states, self.recent(states, length))

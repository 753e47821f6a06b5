"""What the evaluation asks of a model: users with all that they hold out, what they have seen, sampled candidates.

Shapes: E interactions, U users, N items, B users of a batch, P their held-out interactions, n sampled negatives.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_vq.data.alone import Batches, drawn_batches
from lightning_vq.data.loaders import EvalLoader
from lightning_vq.data.negatives import KnownPairs, generator
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions
from lightning_vq.types import Alone, EvalBatch

Protocol = Literal["full", "sampled", "alone", "batch"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
EVAL_DRAW = 2  # purpose of the generator


class Evaluation:
    """Makes evaluation batches.

    Args:
        raw: the interactions.
        parts: users (E) and items (E) of train, dev and test, sorted by user and item.
        negatives: of the sampled protocol (n).
        batch: held-out interactions of a batch of the protocol "batch".
        seed: of negatives and batches that are drawn.
        memory_mib: size that a block of (users x items) scores may take.
    """

    def __init__(
        self,
        raw: Interactions,
        parts: dict[int, tuple[Tensor, Tensor]],
        negatives: int,
        batch: int,
        seed: int,
        memory_mib: int,
    ) -> None:
        self.raw, self.parts, self.negatives, self.batch = raw, parts, negatives, batch
        self.seed, self.memory_mib = seed, memory_mib
        self.users, self.items = len(raw.user_ids), len(raw.item_ids)
        everything = (torch.from_numpy(raw.users), torch.from_numpy(raw.items))
        self.known = KnownPairs(*everything, self.items, raw.where, raw.user_ids)
        self._starts = {
            p: torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(u, minlength=self.users).cumsum(0)])
            for p, (u, _) in parts.items()
        }
        self._sampled: dict[int, Tensor] = {}
        self._batches: dict[int, Batches] = {}

    def held_out(self, part: int, protocols: Sequence[Protocol], rank: int, world: int) -> EvalLoader[EvalBatch]:
        """Return the users of dev or test, with all that they hold out."""
        held, items = self.parts[part]
        sampled = self.sampled(part) if "sampled" in protocols else None

        def make(users: Tensor) -> EvalBatch:
            owners, cases = self._rows_of(users, part)
            seen = self.touched(users, (TRAIN,)) if "full" in protocols else None
            alone = self._alone(users, cases, part, protocols) if {"alone", "batch"} & set(protocols) else None
            drawn = None if sampled is None else sampled[cases]
            return EvalBatch(users, cases, owners, items[cases], seen, drawn, alone)

        users = torch.unique(held)
        return EvalLoader(users, self._users_in_memory(), make, rank, world)

    def everyone(self, rank: int, world: int) -> EvalLoader[EvalBatch]:
        """Return every user, with the items of train and dev as seen, so that lists can be held against test."""

        def make(users: Tensor) -> EvalBatch:
            nothing = users[:0]
            return EvalBatch(users, nothing, nothing, nothing, self.touched(users, (TRAIN, DEV)), None)

        return EvalLoader(torch.arange(self.users), self._users_in_memory(), make, rank, world)

    def sampled(self, part: int) -> Tensor:
        """Return the negatives (E, n) of each held-out interaction of a part, stored or drawn by the seed."""
        if part not in self._sampled:
            users, _ = self.parts[part]
            stored = self.raw.negatives.get({DEV: "dev", TEST: "test"}[part])
            if stored is None:
                self._sampled[part] = self.known.negatives(users, self.negatives, generator(self.seed, EVAL_DRAW, part))
            else:
                if stored[1].shape[1] != self.negatives:
                    raise UserError(
                        f"{self.raw.where}: a held-out interaction comes with {stored[1].shape[1]} stored negatives, "
                        f"but data.init_args.eval_negatives is {self.negatives}: "
                        f"--data.init_args.eval_negatives={stored[1].shape[1]}"
                    )
                order = np.argsort(stored[0], kind="stable")
                if not np.array_equal(stored[0][order], users.numpy()):
                    raise UserError(f"{self.raw.where}: stored negatives are not of the users of the split")
                self._sampled[part] = torch.from_numpy(stored[1][order])
        return self._sampled[part]

    def batches(self, part: int) -> Batches:
        """Return the batches of a part."""
        if part not in self._batches:
            self._batches[part] = drawn_batches(*self.parts[part], self.items, self.batch, self.seed + part)
        return self._batches[part]

    def _alone(self, users: Tensor, cases: Tensor, part: int, protocols: Sequence[Protocol]) -> Alone:
        known, everyone = self.touched(users, tuple(self.parts)), "alone" in protocols
        if "batch" not in protocols:
            return Alone(known, None, None, self.batch, everyone)
        batches = self.batches(part)
        mine, of = torch.unique(batches.of[cases], return_inverse=True)
        return Alone(known, of, batches.holds[mine], self.batch, everyone)

    def touched(self, users: Tensor, parts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return (row, item) of what users (B,) interacted with in some parts."""
        found = [(*self._rows_of(users, part), part) for part in parts]
        items = [self.parts[part][1].index_select(0, place) for _, place, part in found]
        return torch.cat([row for row, _, _ in found]), torch.cat(items)

    def _rows_of(self, users: Tensor, part: int) -> tuple[Tensor, Tensor]:
        """Return (row, place in the part) of each interaction of users (B,) in a part."""
        starts = self._starts[part]
        lengths = starts[users + 1] - starts[users]
        row = torch.arange(len(users)).repeat_interleave(lengths)
        shift = starts[users] - (lengths.cumsum(0) - lengths)
        return row, shift.repeat_interleave(lengths).add_(torch.arange(len(row)))

    def _users_in_memory(self) -> int:
        """Return how many users fit, each with a score per item and, at width 64, the vectors of its candidates.

        Of users who hold out several items as many of these are ranked at a time as there are users.
        """
        return max(1, (self.memory_mib << 20) // (4 * max(self.items, 64 * (1 + self.negatives))))

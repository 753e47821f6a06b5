"""What the evaluation asks of a model of two towers: items at every moment first, then held-out interactions.

An item's vector changes with whom it has met, so that candidates are taken as they were right before each held-out
interaction. All states of all items are few beside all pairs: a model makes their vectors once, and every held-out
interaction reads the rows it needs. Shapes: P held-out interactions, C candidates, N items, U users.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_vq.data.evaluation import Evaluation, Protocol
from lightning_vq.data.splits import DEV, TRAIN
from lightning_vq.data.timeline import Timeline
from lightning_vq.types import Alone, Side, TimedCases

CHUNK = 1 << 14  # states that travel together
WIDTH = 64  # of vectors, for the memory of those of candidates


class TimedEvaluation:
    """Makes the batches of an evaluation.

    Args:
        evaluation: batches of held-out interactions, and what users touched.
        timelines: of users and of items, what all interactions show.
        moments: by part, when each of its interactions happened.
        part: whose held-out interactions are ranked; None: every user's next item is to be predicted.
        protocols: "batch", "alone".
        recent: others of a sequence.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        timelines: dict[str, Timeline],
        moments: dict[int, Tensor],
        part: int | None,
        protocols: Sequence[Protocol],
        recent: int,
    ) -> None:
        self.evaluation, self.timelines, self.moments = evaluation, timelines, moments
        self.part, self.protocols, self.recent = part, protocols, recent
        every = torch.arange(timelines["item"].states) if part is not None else timelines["item"].now
        self.states = every.split(CHUNK)
        if part is None:
            self.groups = torch.arange(evaluation.users).split(max(1, self._rows(evaluation.items)))
        else:
            of = evaluation.batches(part).of
            self.groups = torch.argsort(of, stable=True).split(torch.bincount(of).tolist())

    def side(self, vocab: str, states: Tensor) -> Side:
        """Return entities as they were in states (M,)."""
        timeline = self.timelines[vocab]
        return Side(timeline.owners(states), states, timeline.recent(states, self.recent))

    def batch(self, number: int) -> TimedCases:
        """Return a batch of held-out interactions, or of users."""
        return self._next(self.groups[number]) if self.part is None else self._held_out(number, self.part)

    def _held_out(self, number: int, part: int) -> TimedCases:
        cases = self.groups[number]
        users, items = (of[cases] for of in self.evaluation.parts[part])
        moments, held = self.moments[part][cases], self.evaluation.batches(part).holds[number]
        everyone = "alone" in self.protocols
        candidates = torch.arange(len(held)) if everyone else held.nonzero()[:, 0]
        row, known = self.evaluation.touched(users, tuple(self.evaluation.parts))
        if not everyone:
            inside = held[known]
            row, known = row[inside], torch.searchsorted(candidates, known[inside])
        of = torch.zeros_like(cases) if "batch" in self.protocols else None
        alone = Alone((row, known), of, None if of is None else held[candidates][None], self.evaluation.batch, everyone)
        return TimedCases(
            self.side("user", self.timelines["user"].before(users, moments)),
            cases,
            torch.searchsorted(candidates, items),
            candidates,
            self.timelines["item"].before(candidates[None], moments[:, None]),
            alone,
            self._rows(len(candidates)),
        )

    def _next(self, users: Tensor) -> TimedCases:
        every, nothing = torch.arange(self.evaluation.items), users[:0]
        alone = Alone(self.evaluation.touched(users, (TRAIN, DEV)), None, None, self.evaluation.batch, True)
        side = self.side("user", self.timelines["user"].now[users])
        return TimedCases(side, nothing, nothing, every, every.expand(len(users), -1), alone, len(users))

    def _rows(self, candidates: int) -> int:
        """Return how many rows' candidates fit into memory."""
        return max(1, (self.evaluation.memory_mib << 20) // (4 * WIDTH * candidates))


class CaseLoader:
    """The states of all items, chunk by chunk, on every rank; then a share of the batches."""

    def __init__(self, of: TimedEvaluation, rank: int, world: int) -> None:
        self.of, self.mine = of, torch.arange(len(of.groups)).tensor_split(world)[rank].tolist()

    def __len__(self) -> int:
        return len(self.of.states) + len(self.mine)

    def __iter__(self) -> Iterator[Side | TimedCases]:
        for states in self.of.states:
            yield self.of.side("item", states)
        for number in self.mine:
            yield self.of.batch(number)

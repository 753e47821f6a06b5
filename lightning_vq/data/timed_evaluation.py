"""What the evaluation asks of a model of two towers: items at every moment first, then held-out interactions.

An item's vector changes with whom it has met, so that candidates are taken as they were right before each held-out
interaction. All states of all items are few beside all pairs: a model makes their vectors once, and every held-out
interaction reads the rows it needs. Shapes: P held-out interactions, C candidates, N items, U users.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_vq.data.evaluation import Evaluation, Protocol
from lightning_vq.data.splits import DEV, TRAIN
from lightning_vq.data.timeline import Timeline
from lightning_vq.errors import UserError
from lightning_vq.types import Alone, Side, TimedCases

CHUNK = 1 << 14  # states that travel together
NUMBERS = 16  # of 4 bytes that a candidate of a held-out interaction may take: its score under a few masks
LEAST = 64  # cases of a piece, of which every rank has a share
WIDE = 16  # times as many items as a batch has are candidates all the same, if only those of a batch are asked for


class TimedEvaluation(ABC):
    """Makes the batches of an evaluation.

    Args:
        evaluation: batches of held-out interactions, and what users touched.
        timelines: of users and of items.
        recent: others of a sequence.
        states: of items, whose vectors are needed.
        pieces: what is ranked together: of which batch, and cases or users (P,) that fit into memory.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        timelines: dict[str, Timeline],
        recent: int,
        states: Tensor,
        pieces: list[tuple[int, Tensor]],
    ) -> None:
        self.evaluation, self.timelines, self.recent = evaluation, timelines, recent
        self.states, self.pieces = states.split(CHUNK), pieces

    def side(self, vocab: str, states: Tensor) -> Side:
        """Return entities as they were in states (M,)."""
        return self.timelines[vocab].side(states, self.recent)

    @abstractmethod
    def batch(self, number: int, rows: Tensor) -> TimedCases:
        """Return some cases, or users, (P,) of a batch."""


class HeldOut(TimedEvaluation):
    """The held-out interactions of a part, each as of its moment.

    Args:
        evaluation, timelines, recent: see TimedEvaluation.
        moments: by part, when each of its interactions happened.
        part: of them.
        protocols: "batch", "alone".
    """

    def __init__(
        self,
        evaluation: Evaluation,
        timelines: dict[str, Timeline],
        moments: dict[int, Tensor],
        part: int,
        protocols: Sequence[Protocol],
        recent: int,
    ) -> None:
        self.moments, self.part, self.protocols = moments, part, protocols
        batches, pieces = evaluation.batches(part), list[tuple[int, Tensor]]()
        # In the order of time few items change between two cases: those of all batches go together.
        self.together = "alone" in protocols or evaluation.items <= WIDE * evaluation.batch
        order = torch.argsort(moments[part])
        groups = [order]
        if not self.together:
            order = order[torch.argsort(batches.of[order], stable=True)]
            groups = list(order.split(torch.bincount(batches.of).tolist()))
        changes = max(1, len(timelines["item"].others) // len(order))  # of items between two cases
        for number, cases in enumerate(groups):
            candidates = evaluation.items if self.together else int(batches.holds[number].sum())
            rows = min(_rows(evaluation, candidates), max(LEAST, candidates // changes))
            pieces += [(number, some) for some in cases.split(rows)]
        every = torch.arange(timelines["item"].states)
        super().__init__(evaluation, timelines, recent, every, pieces)

    def batch(self, number: int, rows: Tensor) -> TimedCases:
        users, items = (of[rows] for of in self.evaluation.parts[self.part])
        moments, batches = self.moments[self.part][rows], self.evaluation.batches(self.part)
        candidates = torch.arange(self.evaluation.items) if self.together else batches.holds[number].nonzero()[:, 0]
        row, known = self.evaluation.touched(users, tuple(self.evaluation.parts))
        if not self.together:
            inside = batches.holds[number][known]
            row, known = row[inside], torch.searchsorted(candidates, known[inside])
        of, among = None, None
        if "batch" in self.protocols:
            some, of = torch.unique(batches.of[rows], return_inverse=True)
            among = batches.holds[some][:, candidates]
        return TimedCases(
            self.side("user", self.timelines["user"].before(users, moments)),
            rows,
            torch.searchsorted(candidates, items),
            *self.timelines["item"].during(candidates, moments),
            Alone((row, known), of, among, self.evaluation.batch, "alone" in self.protocols),
        )


class NextItems(TimedEvaluation):
    """Every user's next item, once all that the timelines show has happened."""

    def __init__(self, evaluation: Evaluation, timelines: dict[str, Timeline], recent: int) -> None:
        pieces = [(0, users) for users in torch.arange(evaluation.users).split(_rows(evaluation, evaluation.items))]
        super().__init__(evaluation, timelines, recent, timelines["item"].now, pieces)

    def batch(self, number: int, rows: Tensor) -> TimedCases:
        nothing, every = rows[:0], torch.arange(self.evaluation.items)
        alone = Alone(self.evaluation.touched(rows, (TRAIN, DEV)), None, None, self.evaluation.batch, True)
        side = self.side("user", self.timelines["user"].now[rows])
        return TimedCases(side, nothing, nothing, every, every.expand(len(rows), -1), alone)


def _rows(evaluation: Evaluation, candidates: int) -> int:
    """Return how many rows' candidates fit into memory."""
    return max(1, (evaluation.memory_mib << 20) // (4 * NUMBERS * candidates))


class CaseLoader:
    """The states of all items, chunk by chunk, on every rank; then this rank's share of every batch.

    Raises:
        UserError: there is not a case for every rank.
    """

    def __init__(self, of: TimedEvaluation, rank: int, world: int) -> None:
        # Shares of batches and not whole ones: a rank without any would be waited for in vain.
        shares = [(number, rows[rank::world]) for number, rows in of.pieces]
        self.of, self.mine = of, [(number, rows) for number, rows in shares if len(rows)]
        if not self.mine:
            raise UserError(f"there are fewer held-out interactions in a batch than ranks ({world})")

    def __len__(self) -> int:
        return len(self.of.states) + len(self.mine)

    def __iter__(self) -> Iterator[Side | TimedCases]:
        for states in self.of.states:
            yield self.of.side("item", states)
        for number, rows in self.mine:
            yield self.of.batch(number, rows)

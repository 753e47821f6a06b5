"""What the evaluation asks of a model of lists: lists or histories to be continued, and what is to come of them.

Shapes: L lists, M stretches of a part, N items, B batch, n sampled negatives.
"""

import torch
from torch import Tensor

from lightning_vq.data.alone import Batches, drawn_batches
from lightning_vq.data.evaluation import EVAL_DRAW
from lightning_vq.data.list_loader import Stretches
from lightning_vq.data.list_range import Protocol
from lightning_vq.data.list_splits import before, entries, known_pairs, whole_lists
from lightning_vq.data.loaders import EvalLoader
from lightning_vq.data.negatives import generator
from lightning_vq.errors import UserError
from lightning_vq.sources.lists import RawLists
from lightning_vq.types import Alone, Lists


class ListEvaluation:
    """Makes evaluation batches.

    Args:
        raw: the lists.
        parts: stretches of train, dev and test.
        protocol: of ListData.
        size: lists that are evaluated at a time.
        negatives: of "next", sampled for each held-out item (n); 0: none.
        batch: of "each", held-out items of a batch.
        seed: of what is drawn.
    """

    def __init__(
        self,
        raw: RawLists,
        parts: dict[int, Stretches],
        protocol: Protocol,
        size: int,
        negatives: int,
        batch: int,
        seed: int,
    ) -> None:
        self.raw, self.parts, self.protocol, self.size = raw, parts, protocol, size
        self.negatives, self.batch, self.seed = negatives, batch, seed
        self.starts = torch.from_numpy(raw.starts)
        asked = protocol == "each" or (protocol == "next" and negatives)
        self.known = known_pairs(raw, whole_lists(raw), "eval_negatives") if asked else None
        self._candidates: dict[int, Tensor] = {}
        self._batches: dict[int, Batches] = {}

    def held_out(self, part: int, rank: int, world: int) -> EvalLoader[Lists]:
        """Return the lists of dev or test with their targets, the shortest first, so that little is padded."""
        lengths = self.parts[part].lengths
        if len(lengths) < world:
            raise UserError(f"{self.raw.where}: {len(lengths)} held-out lists for {world} ranks")
        order = torch.argsort(lengths, stable=True)
        return EvalLoader(order[rank::world], self.size, lambda rows: self._made(part, rows), 0, 1)

    def to_predict(self, part: int, rank: int, world: int) -> EvalLoader[Lists]:
        """Return each list once, as far as it goes before the part."""
        stretches = self.parts[part]
        order = torch.argsort(stretches.begins + stretches.lengths)  # which is also that of lists
        cases = stretches.cases[order]
        first = torch.cat([torch.ones(1, dtype=torch.bool), cases[1:] != cases[:-1]])
        rows = order[first]
        rows = rows[torch.argsort(stretches.lengths[rows], stable=True)]
        return EvalLoader(rows[rank::world], self.size, lambda some: self._made(part, some), 0, 1)

    def _made(self, part: int, rows: Tensor) -> Lists:
        stretches = self.parts[part]
        batch = stretches.batch(rows)
        if self.protocol == "halves":
            return batch
        if self.protocol == "next":
            candidates = self.candidates(part)
            drawn = None if candidates is None else candidates[batch.cases].long()
            return batch._replace(seen=before(stretches, rows, self.starts), candidates=drawn)
        lengths = self.starts.diff()[batch.cases]
        whole = stretches.items[entries(self.starts[batch.cases], lengths)]
        known = torch.arange(len(rows)).repeat_interleave(lengths), whole
        batches = self.batches(part)
        mine, of = torch.unique(batches.of[rows], return_inverse=True)
        alone = Alone(known, of, batches.holds[mine], self.batch, True)
        return batch._replace(rows=rows, alone=alone, seen=before(stretches, rows, self.starts))

    def candidates(self, part: int) -> Tensor | None:
        """Return the negatives (L, n) int32 of each list's held-out item in dev or test; of "next" only."""
        if self.protocol != "next" or self.known is None:
            return None
        if part not in self._candidates:
            draw, lists = generator(self.seed, EVAL_DRAW, part), torch.arange(len(self.raw.list_ids))
            self._candidates[part] = self.known.negatives(lists, self.negatives, draw).int()
        return self._candidates[part]

    def batches(self, part: int) -> Batches:
        """Return the batches of held-out items, one of each stretch; of "each" only."""
        if part not in self._batches:
            lists, items = self.pairs(part)
            self._batches[part] = drawn_batches(lists, items, len(self.raw.item_ids), self.batch, self.seed + part)
        return self._batches[part]

    def pairs(self, part: int) -> tuple[Tensor, Tensor]:
        """Return list and item (P,) of what is to come, lists and then items rising; each pair once, but of "each"."""
        stretches = self.parts[part]
        lengths = stretches.lengths - stretches.known
        items = stretches.items[entries(stretches.begins + stretches.known, lengths)]
        if self.protocol == "each":
            return stretches.cases, items
        both = torch.stack([stretches.cases.repeat_interleave(lengths), items], 1)
        one, other = torch.unique(both, dim=0).T.contiguous()
        return one, other

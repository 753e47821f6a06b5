"""Ranking each held-out interaction alone: among all items that its user never touched, or those of its batch.

DQRec (section 6.1.3) takes "all the non-interacted items in the current batch as negative samples". Batches are
drawn once: the held-out interactions of a part are shuffled by a seed and cut. A candidate is an item of the batch that
the user touched in no part, and the positive. Shapes: P held-out interactions, G batches, N items.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_vq.data.negatives import KnownPairs, generator

BATCH_DRAW = 4  # purpose of the generator


class Batches(NamedTuple):
    """The batches of a part."""

    of: Tensor  # (P,) int64 the batch of each held-out interaction
    holds: Tensor  # (G, N) bool whose items they have


def drawn_batches(users: Tensor, items: Tensor, item_count: int, size: int, seed: int) -> Batches:
    """Return the batches of held-out interactions (P,), which do not depend on their order.

    Args:
        users, items: (P,).
        item_count: items there are (N).
        size: of a batch.
        seed: of the draw.
    """
    order = torch.argsort(users * item_count + items)
    shuffled = order[torch.randperm(len(order), generator=generator(seed, BATCH_DRAW))]
    of = torch.empty_like(order)
    of[shuffled] = torch.arange(len(order)) // size
    holds = torch.zeros(int(of.max()) + 1, item_count, dtype=torch.bool)
    holds[of, items] = True
    return Batches(of, holds)


def candidates(batches: Batches | None, users: Tensor, known: KnownPairs) -> Tensor:
    """Return how many candidates each held-out interaction (P,) has, with itself.

    Args:
        batches: of a part; None: all items are candidates.
        users: (P,) of its held-out interactions.
        known: what users touched in any part.
    """
    if batches is None:
        touched = torch.bincount(known.pairs.keys // known.item_count, minlength=int(users.max()) + 1)
        return 1 + known.item_count - touched[users]
    counts = torch.empty(len(users), dtype=torch.int64)
    for batch, held in enumerate(batches.holds):
        of, items = (batches.of == batch).nonzero()[:, 0], held.nonzero()[:, 0]
        touched = known.contains(users[of].repeat_interleave(len(items)), items.repeat(len(of)))
        counts[of] = 1 + len(items) - touched.view(len(of), -1).sum(1)
    return counts


def chances(counts: Tensor, ks: Sequence[int]) -> dict[str, float]:
    """Return hit rate and NDCG at each k of a scorer that knows nothing, means over held-out interactions.

    Of one positive among c candidates at a random place, hr@k is min(k, c) / c, and ndcg@k the sum of
    1 / log2(r + 1) over the first min(k, c) places r, divided by c.

    Args:
        counts: (P,) candidates of each (c).
        ks: cut-offs.

    >>> {name: round(value, 3) for name, value in chances(torch.tensor([2, 4]), [2]).items()}
    {'hr@2': 0.75, 'ndcg@2': 0.612}
    """
    gains = torch.cat([torch.zeros(1), (1 / torch.log2(torch.arange(2.0, max(ks) + 2.0))).cumsum(0)]).double()
    values = {}
    for k in ks:
        within = counts.clamp_max(k)
        values[f"hr@{k}"] = float((within / counts).mean())
        values[f"ndcg@{k}"] = float((gains[within] / counts).mean())
    return values

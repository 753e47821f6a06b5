"""The knowledge graph of a data set: who interacted with what, how items are related, what categories they have.

Entities have one joint numbering, users, then items, then categories; relation 0 is that of the interactions.
Shapes: T triples, U users, N items, C categories, R relations.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_vq.data.base import category_rows
from lightning_vq.data.negatives import KeySet
from lightning_vq.sources.interactions import Interactions
from lightning_vq.types import Triples

Corruption = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]  # (rows, drawn) -> their triples


class KnowledgeGraph(NamedTuple):
    """Triples (head, relation, tail)."""

    heads: Tensor  # (T,) int64
    relations: Tensor  # (T,) int64
    tails: Tensor  # (T,) int64
    sizes: tuple[int, int, int]  # U, N, C
    names: tuple[str, ...]  # (R) of relations
    categories: tuple[str, ...]  # (C)


def relation_names(raw: Interactions) -> tuple[str, ...]:
    """Return the relations (R), the first that of the interactions, the last that of categories where there are any."""
    return (
        "interacts",
        *raw.relations,
        *(["category"] if raw.item_metadata and any(raw.item_metadata.categories) else []),
    )


def knowledge_graph(raw: Interactions, users: Tensor, items: Tensor) -> KnowledgeGraph:
    """Return the graph of training pairs (E,), of the source's relations between items, and of its categories."""
    user_count, item_count = len(raw.user_ids), len(raw.item_ids)
    parts = [(users.numpy(), items.numpy() + user_count)]
    parts += [(heads + user_count, tails + user_count) for heads, tails in raw.relations.values()]
    categories, of = category_rows(raw.item_metadata)
    if categories:
        heads, places = (of >= 0).numpy().nonzero()
        parts.append((heads + user_count, of.numpy()[heads, places] + user_count + item_count))
    heads, tails = (np.concatenate(column) for column in zip(*parts))
    relations = np.arange(len(parts)).repeat([len(heads) for heads, _ in parts])
    sizes = (user_count, item_count, len(categories))
    head, relation, tail = (torch.from_numpy(column.astype(np.int64)) for column in (heads, relations, tails))
    return KnowledgeGraph(head, relation, tail, sizes, relation_names(raw), tuple(categories))


class TripleSampler:
    """Every triple with another tail and another head of the same kind, so that neither triple is in the graph.

    Left out are the triples that have no such tail or head: an item that everybody bought says nothing of anybody.

    Args:
        graph: with its training interactions only.
    """

    def __init__(self, graph: KnowledgeGraph) -> None:
        self._bounds = torch.tensor([0, *graph.sizes]).cumsum(0)  # where each kind begins, and the end
        self._relations = len(graph.names)
        heads, relations, tails = graph.heads, graph.relations, graph.tails
        ends = int(self._bounds[-1])
        self._known = KeySet(self._key(heads, relations, tails), self._relations * ends**2)
        from_head, to_tail = relations * ends + heads, relations * ends + tails
        free = torch.bincount(from_head)[from_head] < self._kind(tails)[1]
        free &= torch.bincount(to_tail)[to_tail] < self._kind(heads)[1]
        self.heads, self.relations, self.tails = heads[free], relations[free], tails[free]
        self.count = len(self.heads)

    def draw(self, generator: torch.Generator) -> Triples:
        """Return all triples with their corruptions, in the order of the graph."""
        heads, relations, tails = self.heads, self.relations, self.tails
        other_tails = self._corrupted(tails, lambda rows, drawn: (heads[rows], relations[rows], drawn), generator)
        other_heads = self._corrupted(heads, lambda rows, drawn: (drawn, relations[rows], tails[rows]), generator)
        return Triples(heads, relations, tails, other_tails, other_heads)

    def _key(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        return (heads * self._relations + relations) * int(self._bounds[-1]) + tails

    def _kind(self, entities: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the kind of each entity begins, and how many there are of it."""
        kind = torch.bucketize(entities, self._bounds, right=True) - 1
        return self._bounds[kind], self._bounds[kind + 1] - self._bounds[kind]

    def _corrupted(self, ends: Tensor, triple: Corruption, generator: torch.Generator) -> Tensor:
        """Return for each end (T,) another entity of its kind, uniformly among those that make no known triple."""
        starts, size = self._kind(ends)
        drawn = torch.empty_like(ends)
        rows = torch.arange(len(ends))
        while len(rows):
            drawn[rows] = starts[rows] + (torch.rand(len(rows), generator=generator).double() * size[rows]).long()
            rows = rows[self._known.contains(self._key(*triple(rows, drawn[rows])))]
        return drawn

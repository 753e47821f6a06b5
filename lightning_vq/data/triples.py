"""The knowledge graph of a data set: who interacted with what, how items are related, what categories they have.

Entities have one joint numbering, users, then items, then categories; relation 0 is that of the interactions.
Shapes: T triples, U users, N items, C categories, R relations.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions
from lightning_vq.types import Triples

Corruption = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]  # (rows, drawn) -> their triples
ROUNDS = 200  # of redrawing corruptions that are true; so many are needed only where nearly all of them are


class KnowledgeGraph(NamedTuple):
    """Triples (head, relation, tail)."""

    heads: Tensor  # (T,) int64
    relations: Tensor  # (T,) int64
    tails: Tensor  # (T,) int64
    sizes: tuple[int, int, int]  # U, N, C
    names: tuple[str, ...]  # (R) of relations
    categories: tuple[str, ...]  # (C)


def knowledge_graph(raw: Interactions, users: Tensor, items: Tensor) -> KnowledgeGraph:
    """Return the graph of training pairs (E,), of the source's relations between items, and of its categories."""
    user_count, item_count = len(raw.user_ids), len(raw.item_ids)
    parts = [(users.numpy(), items.numpy() + user_count)]
    names = ["interacts"]
    for name, (heads, tails) in raw.relations.items():
        parts.append((heads + user_count, tails + user_count))
        names.append(name)
    known = raw.item_metadata.categories if raw.item_metadata else []
    categories = sorted({name for of in known for name in of})
    if categories:
        lengths = np.array([len(of) for of in known])
        place = {name: i for i, name in enumerate(categories)}
        tails = np.array([place[name] for of in known for name in of], dtype=np.int64)
        parts.append((np.arange(item_count).repeat(lengths) + user_count, tails + user_count + item_count))
        names.append("category")
    heads, tails = (np.concatenate(column) for column in zip(*parts))
    relations = np.arange(len(parts)).repeat([len(heads) for heads, _ in parts])
    sizes = (user_count, item_count, len(categories))
    head, relation, tail = (torch.from_numpy(column.astype(np.int64)) for column in (heads, relations, tails))
    return KnowledgeGraph(head, relation, tail, sizes, tuple(names), tuple(categories))


class TripleSampler:
    """Every triple with another tail and another head of the same kind, so that neither triple is in the graph.

    Args:
        graph: with its training interactions only.
        where: file it comes from, for messages.
    """

    def __init__(self, graph: KnowledgeGraph, where: str) -> None:
        self.graph, self.where, self.count = graph, where, len(graph.heads)
        self._bounds = torch.tensor([0, *graph.sizes]).cumsum(0)  # where each kind begins, and the end
        self._keys = torch.unique(self._key(graph.heads, graph.relations, graph.tails))  # sorted

    def draw(self, generator: torch.Generator) -> Triples:
        """Return all triples with their corruptions, in the order of the graph."""
        heads, relations, tails, *_ = self.graph
        other_tails = self._corrupted(tails, lambda rows, drawn: (heads[rows], relations[rows], drawn), generator)
        other_heads = self._corrupted(heads, lambda rows, drawn: (drawn, relations[rows], tails[rows]), generator)
        return Triples(heads, relations, tails, other_tails, other_heads)

    def _key(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        return (heads * len(self.graph.names) + relations) * int(self._bounds[-1]) + tails

    def _corrupted(self, ends: Tensor, triple: Corruption, generator: torch.Generator) -> Tensor:
        """Return for each end (T,) another entity of its kind, uniformly among those that make no known triple."""
        kind = torch.bucketize(ends, self._bounds, right=True) - 1
        starts = self._bounds[kind]
        size = self._bounds[kind + 1] - starts
        drawn = torch.empty_like(ends)
        rows = torch.arange(len(ends))
        for _ in range(ROUNDS):
            drawn[rows] = starts[rows] + (torch.rand(len(rows), generator=generator).double() * size[rows]).long()
            wanted = self._key(*triple(rows, drawn[rows]))
            place = torch.searchsorted(self._keys, wanted).clamp_max_(len(self._keys) - 1)
            rows = rows[self._keys[place] == wanted]
            if not len(rows):
                return drawn
        relation = self.graph.names[int(self.graph.relations[rows[0]])]
        raise UserError(
            f"{self.where}: no triple of the relation {relation!r} could be corrupted: nearly every entity has it"
        )

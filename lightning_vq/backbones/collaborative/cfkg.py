"""CFKG: users, items and categories in one knowledge graph, translated by relations: s(h, r, t) = -|h + r - t|^2.

Ai et al., "Learning Heterogeneous Knowledge Base Embeddings for Explainable Recommendation", Algorithms 2018, eq. 1-3,
as ReChorus trains it: a margin between each triple and the same one with another tail, and with another head
(`loss: margin`). A recommendation is the tail of (user, buy, ?), buy being relation 0.

A quantizer acts wherever a user or an item is head or tail; relations and categories are never quantized. Departure
from TransE: vectors are not normalized. Shapes: B batch, C candidates, D dim, M entities, N items.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Output, Pairs, TableSpec, Triples

KINDS = ("user", "item", "category")  # in the order of their joint numbering


class CFKG(Backbone):
    """Translation in a knowledge graph.

    Args:
        dim: width of all vectors (D).
        init: of all vectors, "normal" N(0, 0.01^2) or "xavier".
    """

    needs: ClassVar[frozenset[str]] = frozenset({"triples"})

    def __init__(self, dim: int = 64, init: Literal["normal", "xavier"] = "normal") -> None:
        super().__init__()
        self.dim, self.init = dim, init
        self._rows: dict[str, int] = {}

    def prepare(self, facts: Facts) -> None:
        self._rows = {kind: facts.rows[kind] for kind in KINDS if facts.rows[kind]}

    def tables(self) -> dict[str, TableSpec]:
        tables = {kind: TableSpec(kind, self.dim, self.init, quantizable=kind != "category") for kind in self._rows}
        return {**tables, "relation": TableSpec("relation", self.dim, self.init, quantizable=False)}

    def forward(self, look: Lookup, batch: Pairs | Triples) -> Output:
        if isinstance(batch, Triples):
            return Output(scores=self._triples(look, batch))
        # |u + r - i|^2 = |u + r|^2 - (2 (u + r) . i - |i|^2): the first term is the same for all items of a user
        buy = look("relation", torch.zeros(1, dtype=torch.long, device=batch.users.device))  # (1, D)
        hidden = 2 * (look("user", batch.users) + buy)  # (B, D)
        items = look.all("item") if batch.items is None else look("item", batch.items)  # (N, D) or (B, C, D)
        return Output(hidden, items, -items.square().sum(-1))

    def _triples(self, look: Lookup, batch: Triples) -> Tensor:
        """Return the scores (B, 3) of each triple, of it with the other tail and of it with the other head."""
        ids = torch.cat([batch.heads, batch.tails, batch.other_tails, batch.other_heads])
        head, tail, other_tail, other_head = self._entities(look, ids).chunk(4)  # (B, D) each
        relation = look("relation", batch.relations)
        ways = ((head, tail), (head, other_tail), (other_head, tail))
        return -torch.stack([(h + relation - t).square().sum(1) for h, t in ways], 1)

    def _entities(self, look: Lookup, ids: Tensor) -> Tensor:
        """Return the vectors (M, D) of entities in the joint numbering, each table looked up once."""
        ends = torch.tensor(list(self._rows.values()), device=ids.device).cumsum(0)
        kind = torch.bucketize(ids, ends, right=True)
        order = torch.argsort(kind, stable=True)
        counts = torch.bincount(kind, minlength=len(ends)).tolist()
        starts = [0, *ends.tolist()]
        # Of a kind that the mini-batch has none of as well: DDP waits for a gradient of every table.
        parts = [look(name, part - start) for name, part, start in zip(self._rows, ids[order].split(counts), starts)]
        return torch.cat(parts).index_select(0, torch.argsort(order))

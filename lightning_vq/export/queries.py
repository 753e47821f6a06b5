"""How a served model scores: which vectors are queries and keys, from tables where they are rows of them.

Shapes: U users, N items, D dim.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_vq.export.tables import Kept, Part, full
from lightning_vq.lookup import Lookup
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.modules.base import Recommender
from lightning_vq.sources.interactions import Array
from lightning_vq.types import Pairs

SCALE, BIAS = "query.scale", "key.bias.npy"


class Scoring(NamedTuple):
    """s(user, item) = (query * scale) . key + bias."""

    told: dict[str, Any]  # for the manifest
    vectors: dict[str, Kept]  # that are rows of no table, by name
    parts: dict[str, Part]  # scale and bias


@torch.no_grad()
def scoring(module: Recommender, orders: dict[str, Array]) -> Scoring | None:
    """Return how users and items are scored; None where that is no inner product of theirs.

    Args:
        module: in evaluation mode.
        orders: (N,) rows of each vocabulary in the artifact's order.
    """
    backbone = module.backbone
    if not isinstance(module, CollaborativeFiltering) or not backbone.inner_product:
        return None
    assert module.facts is not None
    look = module.lookup()
    output = backbone(look, Pairs(torch.arange(module.facts.rows["user"], device=module.device), None))
    assert output.hidden is not None
    assert output.keys is not None
    vectors, parts, scale = {}, {}, backbone.query_scale()
    queries = _table(module, look, "user", output.hidden, scale)
    if queries is None:
        queries, scale = "query", None
        vectors[queries] = full(queries, "user", output.hidden, orders["user"])
    keys = _table(module, look, "item", output.keys, None)
    if keys is None:
        keys = "key"
        vectors[keys] = full(keys, "item", output.keys, orders["item"])
    if scale is not None:
        parts[SCALE] = Part("scale of queries", 32 * len(scale), scale.float().cpu().numpy())
    if output.bias is not None:
        bias = output.bias.float().cpu().numpy()[orders["item"]]
        parts[BIAS] = Part("biases of keys", 32 * len(bias), bias, len(bias))
    told: dict[str, str | None] = {"queries": queries, "keys": keys}
    told |= {"scale": SCALE if SCALE in parts else None, "bias": BIAS if BIAS in parts else None}
    return Scoring(told, vectors, parts)


def _table(module: Recommender, look: Lookup, vocab: str, vectors: Tensor, scale: Tensor | None) -> str | None:
    """Return the table whose rows, times a scale, are vectors (N, D); None where they are made otherwise."""
    for name, spec in module.specs.items():
        if spec.vocab == vocab and spec.dim == vectors.shape[1]:
            rows = look.all(name)
            if torch.equal(rows if scale is None else rows * scale, vectors):
                return name
    return None

"""How a served model scores: by which vectors and which network, from tables where they are rows of them.

Shapes: U users, N items, D dim.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.lists import Autoregressive
from lightning_vq.data.relevance import SCORE
from lightning_vq.export.networks import FILE, ListEncoder, ListFiller, Network, PairScorer
from lightning_vq.export.tables import Kept, Part, full
from lightning_vq.lookup import Lookup
from lightning_vq.modules import CollaborativeFiltering, ListCompletion, RelevanceRegression
from lightning_vq.modules.base import Recommender
from lightning_vq.sources.interactions import Array
from lightning_vq.types import Pairs

SCALE, BIAS = "query.scale", "key.bias.npy"
MADE = ("query", "key")  # tables of an artifact that are none of the model: what a graph has made of its own


class Served(NamedTuple):
    """How an artifact scores, see lightning_vq.serving.scoring."""

    told: dict[str, Any]  # for the manifest
    vectors: dict[str, Kept]  # that are rows of no table, by name
    parts: dict[str, Part]  # scale and bias
    network: Network | None


@torch.no_grad()
def scoring(module: Recommender, orders: dict[str, Array]) -> Served | None:
    """Return how items are scored; None where vectors alone are served.

    Args:
        module: in evaluation mode.
        orders: (N,) rows of each vocabulary in the artifact's order.
    """
    if isinstance(module, ListCompletion):
        return _of_lists(module, orders)
    if not isinstance(module, CollaborativeFiltering | RelevanceRegression):
        return None
    mean, deviation = module.facts.moments[SCORE] if isinstance(module, RelevanceRegression) else (0.0, 1.0)  # type: ignore[union-attr]
    if module.backbone.inner_product:
        return _products(module, orders, mean, deviation)
    return _pairs(module, mean, deviation)


def _products(module: Recommender, orders: dict[str, Array], mean: float, deviation: float) -> Served:
    """s(user, item) = (query * scale) . key + bias + shift, in the units of the data."""
    backbone = module.backbone
    assert module.facts is not None
    look = module.lookup()
    output = backbone(look, Pairs(torch.arange(module.facts.rows["user"], device=module.device), None))
    assert output.hidden is not None
    assert output.keys is not None
    scale = backbone.query_scale()
    queries = _table(module, look, "user", output.hidden, scale)
    bias, vectors, parts = output.bias, {}, {}
    if queries is None:
        queries, scale = "query", None
        vectors[queries] = full(queries, "user", output.hidden, orders["user"])
    if (mean, deviation) != (0.0, 1.0):
        scale = deviation * (output.hidden.new_ones(output.hidden.shape[1]) if scale is None else scale)
        bias = None if bias is None else deviation * bias
    if scale is not None:
        parts[SCALE] = Part("scale of queries", 32 * len(scale), scale.float().cpu().numpy())
    told = {"kind": "products", "queries": queries, "scale": SCALE if SCALE in parts else None, "shift": mean}
    of_items, keys, biases = _keys(module, look, output.keys, bias, orders)
    return Served(told | of_items, vectors | keys, parts | biases, None)


def _of_lists(module: ListCompletion, orders: dict[str, Array]) -> Served | None:
    """s(list, item) = what the encoder makes of the list's vectors . key + bias."""
    backbone, look, tokens = module.backbone, module.lookup(), dict(module.outside).get("item")
    encoder: Network
    if isinstance(backbone, Autoregressive):
        encoder = ListEncoder(backbone, tokens)
    elif isinstance(backbone, FANS) and not backbone.two_stage:  # whose two stages make scores that are no products
        assert tokens is not None
        encoder = ListFiller(backbone, tokens)
    else:
        return None
    # A list was trained on less its last item, which was to be predicted.
    told = {"kind": "lists", "network": FILE, "given": "item", "longest": max(backbone.length - 1, 1)}
    told["at_once"] = isinstance(encoder, ListFiller)
    of_items, keys, biases = _keys(module, look, *backbone.keys(look), orders)
    return Served(told | of_items, keys, biases, encoder.eval())


def _pairs(module: Recommender, mean: float, deviation: float) -> Served:
    """s(user, item) = a network of both's vectors, in the units of the data."""
    specs = module.specs.items()
    told_given = [{"table": name, "of_users": spec.vocab == "user"} for name, spec in specs]
    told = {"kind": "pairs", "network": FILE, "given": told_given}
    given = [(name, spec.dim, None if spec.vocab == "user" else "items") for name, spec in specs]
    return Served(told, {}, {}, PairScorer(module.backbone, given, mean, deviation).eval())


def _keys(
    module: Recommender, look: Lookup, keys: Tensor, bias: Tensor | None, orders: dict[str, Array]
) -> tuple[dict[str, Any], dict[str, Kept], dict[str, Part]]:
    """Return what the manifest tells of items' keys (N, D) and biases (N,), and what has to be kept of them."""
    name, order = _table(module, look, "item", keys, None), orders["item"]
    vectors = {} if name is not None else {"key": full("key", "item", keys, order)}
    parts = {}
    if bias is not None:
        numbers = bias.float().cpu().numpy()[order]
        parts[BIAS] = Part("biases of keys", 32 * len(numbers), numbers, len(numbers))
    return {"keys": name or "key", "bias": BIAS if parts else None}, vectors, parts


def _table(module: Recommender, look: Lookup, vocab: str, vectors: Tensor, scale: Tensor | None) -> str | None:
    """Return the table whose rows, times a scale, are vectors (N, D); None where they are made otherwise."""
    for name, spec in module.specs.items():
        if spec.vocab == vocab and spec.dim == vectors.shape[1]:
            rows = look.all(name)
            if torch.equal(rows if scale is None else rows * scale, vectors):
                return name
    return None

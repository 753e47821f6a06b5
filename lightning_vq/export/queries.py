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
from lightning_vq.modules.served import Products, table_of
from lightning_vq.sources.interactions import Array

SCALE, BIAS = "query.scale", "key.bias.npy"
MADE = "key"  # name of vectors of items that score lists and are rows of no table


class Served(NamedTuple):
    """How an artifact scores, see lightning_vq.serving.scoring."""

    told: dict[str, Any]  # for the manifest
    vectors: dict[str, Kept]  # that are rows of no table, in the place of the table of their name where there is one
    parts: dict[str, Part]  # scale and bias
    network: Network | None


@torch.no_grad()
def scoring(module: Recommender, orders: dict[str, Array], scored: Products | None) -> Served | None:
    """Return how items are scored; None where vectors alone are served.

    Args:
        module: in evaluation mode.
        orders: (N,) rows of each vocabulary in the artifact's order.
        scored: vectors by which the model scores, if it does.
    """
    if scored is not None:
        return _products(scored, orders)
    if isinstance(module, ListCompletion):
        return _of_lists(module, orders)
    if not isinstance(module, CollaborativeFiltering | RelevanceRegression):
        return None
    mean, deviation = module.facts.moments[SCORE] if isinstance(module, RelevanceRegression) else (0.0, 1.0)  # type: ignore[union-attr]
    return _pairs(module, mean, deviation)


def _products(scored: Products, orders: dict[str, Array]) -> Served:
    """s(user, item) = (query * scale) . key + bias + shift, in the units of the data."""
    of = {"user": "user", "item": "item"} | scored.tables
    told: dict[str, Any] = {"kind": "products", "queries": of["user"], "keys": of["item"], "shift": scored.shift}
    told |= {"scale": None, "bias": None}
    parts = {}
    if scored.scale is not None:
        told["scale"] = SCALE
        parts[SCALE] = Part("scale of queries", 32 * len(scored.scale), scored.scale.float().cpu().numpy())
    if scored.bias is not None:
        told["bias"] = BIAS
        parts[BIAS] = _biases(scored.bias, orders)
    made = {vocab: full(vocab, vocab, vectors, orders[vocab]) for vocab, vectors in scored.made.items()}
    return Served(told, made, parts, None)


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
    name = table_of(module, look, "item", keys, None)
    vectors = {} if name is not None else {MADE: full(MADE, "item", keys, orders["item"])}
    parts = {} if bias is None else {BIAS: _biases(bias, orders)}
    return {"keys": name or MADE, "bias": BIAS if parts else None}, vectors, parts


def _biases(bias: Tensor, orders: dict[str, Array]) -> Part:
    numbers = bias.float().cpu().numpy()[orders["item"]]
    return Part("biases of keys", 32 * len(numbers), numbers, len(numbers))

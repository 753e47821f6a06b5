"""What it takes to serve a model: the vectors by which it scores, and their bits. Shapes: U users, N items, D dim."""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq.backbones.towers import VOCABS, TwoTowers
from lightning_vq.data.relevance import SCORE
from lightning_vq.data.vectors import FOLDER, read_vectors
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.modules.relevance import RelevanceRegression
from lightning_vq.types import Pairs, TableSpec


class Products(NamedTuple):
    """s(user, item) = (query * scale) . key + bias + shift, in the units of the data."""

    queries: Tensor  # (U, D)
    keys: Tensor  # (N, D)
    scale: Tensor | None  # (D,)
    bias: Tensor | None  # (N,)
    shift: float
    tables: dict[str, str]  # whose rows queries ("user") and keys ("item") are; those of none a graph or an offset made

    @property
    def made(self) -> dict[str, Tensor]:
        """Return the vectors, of "user" and of "item", that are rows of no table."""
        both = {"user": self.queries, "item": self.keys}
        return {vocab: vectors for vocab, vectors in both.items() if vocab not in self.tables}


@torch.no_grad()
def products(module: Recommender) -> Products | None:
    """Return by which vectors a model scores items for users; None where it does so otherwise.

    Args:
        module: in evaluation mode.
    """
    if not isinstance(module, CollaborativeFiltering | RelevanceRegression):
        return None
    backbone = module.backbone
    if not backbone.inner_product or isinstance(backbone, TwoTowers):  # whose vectors are of moments
        return None
    assert module.facts is not None
    look = module.lookup()
    output = backbone(look, Pairs(torch.arange(module.facts.rows["user"], device=module.device), None))
    queries, keys, bias, scale = output.hidden, output.keys, output.bias, backbone.query_scale()
    assert queries is not None
    assert keys is not None
    found = {"user": table_of(module, look, "user", queries, scale), "item": table_of(module, look, "item", keys, None)}
    tables = {vocab: name for vocab, name in found.items() if name is not None}
    if "user" in tables:
        queries = look.all(tables["user"])
    else:
        scale = None
    shift = 0.0
    if isinstance(module, RelevanceRegression):
        shift, deviation = module.facts.moments[SCORE]
        scale = deviation * (queries.new_ones(queries.shape[1]) if scale is None else scale)
        bias = None if bias is None else deviation * bias
    return Products(queries, keys, scale, bias, shift, tables)


def left(run: Path) -> tuple[dict[str, pa.Array], Products]:
    """Return the ids of users and items, and their vectors after training, that a run of two towers has left.

    Raises:
        UserError: it has left none.
    """
    ids: dict[str, pa.Array] = {}
    vectors: dict[str, Tensor] = {}
    for vocab in VOCABS:
        path = run / FOLDER / f"{vocab}.parquet"
        if not path.is_file():
            raise UserError(f"{run} has no {FOLDER}/{vocab}.parquet: its fit has not come to its end")
        ids[vocab], vectors[vocab] = read_vectors(path, vocab)
    return ids, Products(vectors["user"], vectors["item"], None, None, 0.0, {})


def table_of(module: Recommender, look: Lookup, vocab: str, vectors: Tensor, scale: Tensor | None) -> str | None:
    """Return the table whose rows, times a scale, are vectors (N, D); None where they are made otherwise."""
    for name, spec in module.specs.items():
        if spec.vocab == vocab and spec.dim == vectors.shape[1]:
            rows = look.all(name)
            if torch.equal(rows if scale is None else rows * scale, vectors):
                return name
    return None


def compressed(module: Recommender, name: str) -> bool:
    """Return whether a table is served in the form in which its quantizer stores it.

    Vectors of categories that are added to those of codes make them others: such a table is kept whole.
    """
    if name not in module.quantizers:
        return False
    spec, quantizer = module.specs[name], module.quantizers[name]
    added = spec.quantizable and module.categories.get(spec.vocab) == "after"
    return bool(quantizer.replaces and quantizer.active and not added)


@torch.no_grad()
def served_bits(module: Recommender) -> tuple[dict[str, int], dict[str, int]]:
    """Return the bits of the model's parts as they are served, and as float32: vectors, and the weights beside them.

    Vectors are float32 rows, or what stands in their place. A category tree adds nothing: its codes' vectors are added
    to the rows once. Of what a graph makes of its tables, and of two towers, the final vectors are served, and not the
    tables.

    Args:
        module: in evaluation mode.
    """
    assert module.facts is not None
    if isinstance(module.backbone, TwoTowers):
        final: dict[str, int] = {vocab: 32 * module.facts.rows[vocab] * module.backbone.dim for vocab in VOCABS}
        return final, final
    scored, specs = products(module), module.specs
    full = {name: 32 * module.facts.rows[spec.vocab] * spec.dim for name, spec in specs.items()}
    if scored is None:
        made = dict[str, Tensor]()
        full["weights"] = 32 * sum(w.numel() for w in chain(module.backbone.parameters(), module.outside.parameters()))
    else:
        made = scored.made
        full = {name: bits for name, bits in full.items() if is_scored(specs[name])}
        full |= {name: 32 * vectors.numel() for name, vectors in made.items()}
        full["weights"] = 32 * sum(of.numel() for of in (scored.scale, scored.bias) if of is not None)
    small = [name for name in specs if name in full and name not in made and compressed(module, name)]
    return full | {name: int(module.quantizers[name].bits()) for name in small}, full  # type: ignore[operator]


def is_scored(spec: TableSpec) -> bool:
    """Return whether a table of a model of products holds vectors of users or items, and not biases or categories."""
    return spec.vocab in ("user", "item") and not is_bias(spec)


def is_bias(spec: TableSpec) -> bool:
    """Return whether a table holds biases, a number of each entity."""
    return spec.dim == 1 and not spec.quantizable

"""A table of a model as an artifact keeps it: packed codes, factors, or its rows.

Shapes: N rows in the artifact's order, D dim, L columns of codes.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.served import compressed
from lightning_vq.quantizers import DPQ, DQVAE, MGQE, LowRank, Scalar
from lightning_vq.quantizers.base import bit_width
from lightning_vq.quantizers.codebook import Codebook
from lightning_vq.serving.packing import pack
from lightning_vq.sources.interactions import Array

BLOCK = 1 << 16  # rows that are coded at a time


class Part(NamedTuple):
    """An array of a table, and what the formula says of it."""

    name: str
    bits: int
    array: Array
    entities: int | None = None  # whose rows it holds: it is mapped from a file; None: it is read at once


class Kept(NamedTuple):
    """What is written of a table."""

    told: dict[str, Any]  # how it is read, for the manifest
    parts: dict[str, Part]  # by the name of its file or weight


def order_of(module: Recommender, vocab: str) -> Array:
    """Return a vocabulary's rows (N,) in the artifact's order: tier by tier where a table of it has tiers."""
    assert module.facts is not None
    rows = np.arange(module.facts.rows[vocab])
    for name, quantizer in module.quantizers.items():
        if module.specs[name].vocab == vocab and isinstance(quantizer, MGQE):
            return rows[np.argsort(quantizer.tiers.cpu().numpy(), kind="stable")]
    return rows


def kept(module: Recommender, name: str, order: Array) -> Kept:
    """Return a table as it is kept.

    Args:
        module: in evaluation mode.
        name: of the table.
        order: (N,) its rows in the artifact's order.
    """
    spec = module.specs[name]
    quantizer = dict(module.quantizers).get(name)
    if not compressed(module, name):
        made = full(name, spec.vocab, module.lookup().all(name), order)
    elif isinstance(quantizer, LowRank):
        made = _low_rank(name, quantizer, order)
    elif isinstance(quantizer, Scalar):
        made = _grid(name, quantizer, _codes(module, name, order))
    else:
        assert isinstance(quantizer, DPQ | MGQE | DQVAE)
        made = _product(name, quantizer, _codes(module, name, order))
    made.told.update(vocab=spec.vocab, dim=spec.dim, rows=len(order))
    if name in module.outside and not isinstance(module.backbone, ListBackbone):  # whose rows outside are tokens
        row = _numbers(module.outside[name])[0]
        made.parts[f"{name}.fallback"] = Part("vector of unknown ids", 32 * spec.dim, row)
    return made


def full(name: str, vocab: str, vectors: Tensor, order: Array) -> Kept:
    """Return vectors (N, D) kept as they are."""
    rows, file = _numbers(vectors)[order], f"{name}.npy"
    told = {"kind": "full", "file": file, "vocab": vocab, "dim": rows.shape[1], "rows": len(rows)}
    return Kept(told, {file: Part("rows", 32 * rows.size, rows, len(rows))})


def _low_rank(name: str, quantizer: LowRank, order: Array) -> Kept:
    file, right = f"{name}.left.npy", f"{name}.right"
    return Kept(
        {"kind": "low_rank", "file": file, "right": right},
        {
            file: Part("rows", 32 * quantizer.left.numel(), _numbers(quantizer.left)[order], len(order)),
            right: Part("right factor", 32 * quantizer.right.numel(), _numbers(quantizer.right)),
        },
    )


def _grid(name: str, quantizer: Scalar, codes: Array) -> Kept:
    file, low, step, bits = f"{name}.codes.npy", f"{name}.low", f"{name}.step", quantizer.bits_each
    return Kept(
        {"kind": "grid", "file": file, "bits": bits, "low": low, "step": step},
        {
            file: Part("codes", bits * codes.size, pack(codes, bits), len(codes)),
            low: Part("least values", 32 * quantizer.dim, _numbers(quantizer.low)),
            step: Part("steps", 32 * quantizer.dim, _numbers(quantizer.step)),
        },
    )


def _product(name: str, quantizer: DPQ | MGQE | DQVAE, codes: Array) -> Kept:
    """Return product codes: of one tier, or of several that may share a codebook."""
    if isinstance(quantizer, MGQE):
        sizes = list(zip(quantizer.sizes(), quantizer.subspaces, quantizer.centroids))
        books = [book for book in quantizer.codebooks if isinstance(book, Codebook)]
    else:
        books = [quantizer.codebook]
        sizes = [(len(codes), books[0].subspaces, books[0].codes)]
    first, tiers, parts = 0, [], {}
    for i, (rows, subspaces, centroids) in enumerate(sizes):
        file, bits = f"{name}.codes{i}.npy", bit_width(centroids)
        packed = pack(codes[first : first + rows, :subspaces], bits)
        parts[file] = Part(f"codes, tier {i + 1}" if len(sizes) > 1 else "codes", rows * subspaces * bits, packed, rows)
        tiers.append({"rows": rows, "bits": bits, "file": file, "book": f"{name}.book{min(i, len(books) - 1)}"})
        first += rows
    for i, book in enumerate(books):
        of = f"codebook, tier {i + 1}" if len(books) > 1 else "codebook"
        parts[f"{name}.book{i}"] = Part(of, 32 * book.weight.numel(), _numbers(book.weight))
    told: dict[str, Any] = {"kind": "codes", "tiers": tiers}
    if isinstance(quantizer, DQVAE):
        for part, value in (("rotation", quantizer.rotation), ("mean", quantizer.mean)):
            told[part] = f"{name}.{part}"
            parts[f"{name}.{part}"] = Part(part, 32 * value.numel(), _numbers(value))
    return Kept(told, parts)


@torch.no_grad()
def _codes(module: Recommender, name: str, order: Array) -> Array:
    """Return the codes (N, L) uint16 of a table's rows in an order; by blocks: int64 of all takes four times that."""
    look, parts = module.lookup(), []
    for first in range(0, len(order), BLOCK):
        rows = torch.from_numpy(order[first : first + BLOCK]).to(module.device)
        parts.append(look.codes(name, rows).cpu().numpy().astype(np.uint16))
    return np.concatenate(parts)


def _numbers(values: Tensor) -> Array:
    made: Array = np.ascontiguousarray(values.detach().float().cpu().numpy())
    return made

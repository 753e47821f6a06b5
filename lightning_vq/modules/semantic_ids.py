"""Semantic ids and links as files for others' use: entity -> codes, entity -> neighbours.

Shapes: N entities, L codes, K neighbours.
"""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq.modules.base import Recommender
from lightning_vq.quantizers.dqvae import DQVAE
from lightning_vq.quantizers.neighbours import Patterns, latent_patterns, others, without
from lightning_vq.quantizers.usage import collisions, usage
from lightning_vq.runs import write_parquet


def codes_of(module: Recommender, vocab: str, vectors: Tensor) -> Tensor:
    """Return the codes (N, L) of vectors (N, D) of a vocabulary, known ones or new."""
    codes: Tensor = module.quantizers[vocab].encode(vectors, torch.arange(len(vectors)))  # type: ignore[operator]
    return codes


def code_lists(codes: Tensor) -> pa.Array:
    """Return codes (N, L) as lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(codes.int().flatten().numpy()), codes.shape[1])


def told_of_codes(module: Recommender, vocab: str) -> dict[str, Any]:
    """Return what is known of a vocabulary's semantic ids.

    That is the share of entities that share theirs, the entropy in bits of each position beside the most that it could
    have, how many different vectors there are, and of a DQVAE how unequal its groups are: (max - min) / mean of the
    variance that each has.
    """
    vectors = module.tables[vocab]
    codes, different = codes_of(module, vocab, vectors), len(vectors.unique(dim=0))
    quantizer = module.quantizers[vocab]
    sizes: Any = quantizer.codebook_sizes
    entropy = [math.log2(usage(column, size).perplexity) for column, size in zip(codes.unbind(1), sizes)]
    told = {"collisions": collisions(codes), "entropy": entropy, "most": [math.log2(size) for size in sizes]}
    told |= {"different": different, "entities": len(vectors)}
    return told | ({"spread": float(quantizer.spread)} if isinstance(quantizer, DQVAE) else {})


def write_semantic_ids(folder: Path, module: Recommender, vocab: str, ids: pa.Array) -> None:
    """Write semantic_ids/<vocabulary>.parquet: id, and its codes."""
    codes = codes_of(module, vocab, module.tables[vocab])
    write_parquet(folder / "semantic_ids" / f"{vocab}.parquet", {vocab: ids, "codes": code_lists(codes)})


def write_links(folder: Path, module: Recommender, vocab: str, ids: pa.Array, links: int, latent_links: int) -> None:
    """Write links/<vocabulary>.parquet: id, its neighbours by pattern (the nearest first), their squared distances, and
    those of its latent patterns (DQRec, eq. 15-18)."""
    quantizer = module.quantizers[vocab]
    assert isinstance(quantizer, DQVAE)
    with torch.no_grad():
        vectors = module.tables[vocab]
        codes, every = codes_of(module, vocab, vectors), torch.arange(len(vectors))
        known = Patterns(codes, quantizer.distances())
        near = known.nearest(codes, links + 1)
        rows = without(near.rows, every, links)
        far = near.distances.gather(1, others(near.rows, every, links))
        columns = {
            vocab: ids,
            "neighbours": id_lists(ids, rows),
            "distances": ragged(rows, far),
        }
        if latent_links:
            swapped = latent_patterns(codes, quantizer.latent(vectors, codes))
            more = [without(known.nearest(one, latent_links + 1).rows, every, latent_links) for one in swapped]
            columns["latent"] = id_lists(ids, torch.cat(more, 1))
    write_parquet(folder / "links" / f"{vocab}.parquet", columns)


def id_lists(ids: pa.Array, rows: Tensor) -> pa.Array:
    """Return the ids of rows (N, K) as lists, without those that are -1."""
    return _lists(rows, ids.take(pa.array(rows[rows >= 0].numpy())))


def ragged(rows: Tensor, values: Tensor) -> pa.Array:
    """Return values (N, K) as lists, without those of rows (N, K) that are -1."""
    return _lists(rows, pa.array(values[rows >= 0].numpy()))


def _lists(rows: Tensor, values: pa.Array) -> pa.Array:
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), (rows >= 0).sum(1).cumsum(0)])
    return pa.ListArray.from_arrays(pa.array(offsets.int().numpy()), values)

"""The learned category tree as files, and how well it matches categories that are known.

Shapes: N entities, L levels (fine to coarse).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lightning_vq.modules.base import Recommender
from lightning_vq.quantizers import Cascaded
from lightning_vq.runs import write_json, write_parquet
from lightning_vq.sources.interactions import Array


@torch.no_grad()
def code_paths(module: Recommender, table: str) -> tuple[Array, Array]:
    """Return codes (N, L) of every entity of a table, and its Euclidean distance (N,) to what they stand for.

    In a tree that is its finest code.
    """
    quantizer, look = module.quantizers[table], module.lookup()
    weight, codes = look.raw(table, look.rows(table)), look.codes(table, look.rows(table))
    if isinstance(quantizer, Cascaded):
        near = quantizer.books()[0][codes[:, 0]]
    else:
        near = quantizer.decode(codes, look.rows(table))  # type: ignore[operator]
    return codes.cpu().numpy(), (weight - near).norm(dim=1).cpu().numpy()


def nested(ids: list[Any], codes: Array) -> dict[str, Any]:
    """Return the tree as nested nodes {level, code, size, children}, coarse to fine; leaves hold `entities`."""

    def nodes(rows: Array, level: int) -> list[dict[str, Any]]:
        made = []
        for code in np.unique(codes[rows, level]):
            inside = rows[codes[rows, level] == code]
            node: dict[str, Any] = {"level": level + 1, "code": int(code), "size": len(inside)}
            if level:
                node["children"] = nodes(inside, level - 1)
            else:
                node["entities"] = [ids[i] for i in inside]
            made.append(node)
        return made

    return {"size": len(ids), "levels": codes.shape[1], "children": nodes(np.arange(len(ids)), codes.shape[1] - 1)}


def write_tree(folder: Path, table: str, ids: pa.Array, codes: Array) -> None:
    """Write <folder>/<table>.json (nested)."""
    write_json(folder / f"{table}.json", nested(ids.to_pylist(), codes), indent=None)


def write_codes(folder: Path, table: str, ids: pa.Array, codes: Array, distance: Array) -> None:
    """Write <folder>/<table>.parquet: id, code of each level in the smallest dtype that holds it, distance."""
    small = codes.astype(np.min_scalar_type(int(codes.max(initial=0))))
    levels = {f"level{i + 1}": small[:, i] for i in range(codes.shape[1])}
    write_parquet(folder / f"{table}.parquet", {"id": ids, **levels, "distance": distance})


def recovery(codes: Array, truth: dict[str, Array]) -> dict[str, float]:
    """Return adjusted mutual information of learned level i with the i-th known level, both fine to coarse.

    1 is the same partition, 0 what chance gives at these cluster sizes (Vinh et al., JMLR 2010).
    """
    from sklearn.metrics import adjusted_mutual_info_score  # slow to import, needed once a run

    return {
        f"level{i + 1}/{name}": float(adjusted_mutual_info_score(known, codes[:, i]))
        for i, (name, known) in enumerate(list(truth.items())[: codes.shape[1]])
    }

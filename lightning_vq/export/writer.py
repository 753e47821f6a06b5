"""Writes an artifact: arrays, weights, ids, history, and the manifest that tells of them all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.numpy import save_file

import lightning_vq
from lightning_vq.errors import UserError
from lightning_vq.export.networks import write_network
from lightning_vq.export.queries import scoring
from lightning_vq.export.tables import Kept, Part, kept, order_of
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.served import Products, is_bias, is_scored
from lightning_vq.serving.artifact import WEIGHTS
from lightning_vq.serving.files import FORMAT, MANIFEST, VERSION, digest, sums
from lightning_vq.serving.ids import LARGEST
from lightning_vq.sources.interactions import Array
from lightning_vq.specs import describe

LONGEST_ID = 1024  # bytes


def write_artifact(
    folder: Path,
    module: Recommender,
    ids: dict[str, pa.Array],
    told: dict[str, Any],
    scored: Products | None,
    history: bool,
) -> None:
    """Write a model's artifact.

    Args:
        folder: empty.
        module: in evaluation mode.
        ids: (N,) original ids of each vocabulary that has tables.
        told: of the run, for the manifest.
        scored: vectors by which the model scores, if it does.
        history: whether what users had in training is written, where users are scored.

    Raises:
        UserError: ids that cannot be kept.
    """
    orders = {vocab: order_of(module, vocab) for vocab in ids}
    served = scoring(module, orders, scored)
    made = served.vectors if served else {}
    # Biases are numbers, which no one asks for as vectors; of products nothing but vectors of users and items is asked.
    asked = is_scored if served and served.told["kind"] == "products" else lambda spec: not is_bias(spec)
    own = {n: spec for n, spec in module.specs.items() if spec.vocab in ids and asked(spec) and n not in made}
    tables = {name: kept(module, name, orders[spec.vocab]) for name, spec in own.items()} | made
    known = history and served is not None and module.facts.pairs is not None  # type: ignore[union-attr]
    about: dict[str, Any] = {
        "model": {"class": type(module).__name__, "backbone": type(module.backbone).__name__},
        "quantizers": {name: describe(quantizer) for name, quantizer in module.quantizers.items()},
        "run": told,
        "scores": served.told if served else None,
        "history": _write_history(folder, module, orders) if known else None,
    }
    written = {"network": write_network(folder, served.network)} if served and served.network else {}
    ordered = {vocab: one.take(pa.array(orders[vocab])) for vocab, one in ids.items()}
    write_files(folder, tables, served.parts if served else {}, written, ordered, about)


def write_files(
    folder: Path,
    tables: dict[str, Kept],
    more: dict[str, Part],
    written: dict[str, list[dict[str, Any]]],
    ids: dict[str, pa.Array],
    about: dict[str, Any],
) -> None:
    """Write tables, what else scores need, ids, and the manifest.

    Args:
        folder: where nothing is yet but what `written` and `about` name.
        tables: by name.
        more: parts that are of no table.
        written: what the manifest tells of parts that are in files already.
        ids: (N,) original ids of each vocabulary, in the order of the tables' rows.
        about: what else the manifest tells.
    """
    parts = {name: one.parts for name, one in tables.items()} | {"scores": more}
    told_parts = {table: [_save(folder, key, part) for key, part in some.items()] for table, some in parts.items()}
    small = {key: part.array for some in parts.values() for key, part in some.items() if part.entities is None}
    save_file(small, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "made_by": lightning_vq.__version__,
        **about,
        "vocabularies": {vocab: _write_ids(folder, vocab, one) for vocab, one in ids.items()},
        "tables": {name: one.told for name, one in tables.items()},
        "parts": told_parts | written,
    }
    files = sorted(path.name for path in folder.iterdir())
    manifest["files"] = {name: {"bytes": (folder / name).stat().st_size} | sums(folder / name) for name in files}
    manifest["digest"] = digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _save(folder: Path, key: str, part: Part) -> dict[str, Any]:
    """Write a part that has a file of its own, and return what the manifest tells of it."""
    if part.entities is not None:
        np.save(folder / key, part.array, allow_pickle=False)
    return {"key": key, "name": part.name, "bits": part.bits, "bytes": part.array.nbytes, "entities": part.entities}


def _write_ids(folder: Path, vocab: str, column: pa.Array) -> dict[str, Any]:
    """Write the ids of a vocabulary (N,) and their rows by rising id."""
    if column.null_count:
        raise UserError(f"{column.null_count} ids of {vocab} are missing, which an artifact cannot keep")
    if pa.types.is_integer(column.type) and (pc.max(column).as_py() or 0) <= LARGEST:
        keys = column.to_numpy(zero_copy_only=False).astype(np.int64)
    else:  # numbers of other types too: by their text, as `Ids` looks for them
        texts = [str(one).encode() for one in column.to_pylist()]
        longest = max(texts, key=len, default=b"")
        if any(one.endswith(b"\0") for one in texts):
            raise UserError(f"an id of {vocab} ends with a null byte, which an artifact cannot keep")
        if len(longest) > LONGEST_ID:
            start = longest[:40].decode(errors="replace")
            raise UserError(
                f"an id of {vocab} takes {len(longest):,} bytes, and every id is kept as wide as the longest: at most "
                f"{LONGEST_ID}; it begins with {start!r}"
            )
        keys = np.array(texts)
    rows = np.argsort(keys, kind="stable").astype(np.int32 if len(keys) < 2**31 else np.int64)
    for name, array in (("ids", keys), ("order", rows)):
        np.save(folder / f"{vocab}.{name}.npy", array, allow_pickle=False)
    return {"rows": len(keys), "ids": f"{vocab}.ids.npy", "order": f"{vocab}.order.npy"}


def _write_history(folder: Path, module: Recommender, orders: dict[str, Array]) -> dict[str, str]:
    """Write what each user had in training, by the artifact's rows."""
    assert module.facts is not None
    assert module.facts.pairs is not None
    places = {}
    for vocab, order in orders.items():
        places[vocab] = np.empty_like(order)
        places[vocab][order] = np.arange(len(order))
    pairs = torch.unique(module.facts.pairs, dim=0).cpu().numpy()
    users, items = places["user"][pairs[:, 0]], places["item"][pairs[:, 1]]
    by_user = np.lexsort((items, users))
    starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(orders["user"])))])
    np.save(folder / "history.starts.npy", starts, allow_pickle=False)
    np.save(folder / "history.items.npy", items[by_user].astype(np.int32), allow_pickle=False)
    return {"starts": "history.starts.npy", "items": "history.items.npy"}

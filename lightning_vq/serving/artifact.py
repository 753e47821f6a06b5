"""A served model: vectors of ids, scores, recommendations.

Shapes: M ids, D dim, B users, N items, k recommendations.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from lightning_vq.errors import UserError, nearest
from lightning_vq.serving.files import Check, mapped, read_manifest
from lightning_vq.serving.ids import Ids
from lightning_vq.serving.packing import Array
from lightning_vq.serving.ranking import Best
from lightning_vq.serving.vectors import Codes, Full, Grid, LowRank, Tier, Vectors

WEIGHTS = "weights.safetensors"
MEMORY = 1 << 26  # bytes of scores that are held at a time
BLOCK = 1 << 16  # items that are scored at a time


def load(folder: str | Path, check: Check = "crc32") -> "Artifact":
    """Open an artifact. Tables stay on disk and are mapped: what is not asked for takes no memory.

    Args:
        folder: that `python -m lightning_vq export` has written.
        check: how files are held against the manifest, "crc32", or "sha256" against more than accidents, which takes
            about four times as long.

    Raises:
        UserError: it is no artifact, of another version, or a file is missing, cut short or altered.
    """
    return Artifact(Path(folder), read_manifest(Path(folder), check))


class Scores(NamedTuple):
    """s(user, item) = query . key + bias."""

    queries: Vectors  # of users
    scale: Array | None  # (D,) on the queries
    keys: Vectors  # of items
    bias: Array | None  # (N,)


class Artifact:
    """What `load` returns.

    Args:
        folder: of its files.
        manifest: theirs.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self._weights = load_file(folder / WEIGHTS)
        self.ids = {
            vocab: Ids(mapped(folder, told["ids"]), mapped(folder, told["order"]))
            for vocab, told in manifest["vocabularies"].items()
        }
        self.tables = {name: self._vectors(told) for name, told in manifest["tables"].items()}
        self.scores = self._scores(manifest["scores"]) if manifest["scores"] else None
        told = manifest["history"] or {}
        self.history = {name: mapped(folder, file) for name, file in told.items()}  # of each user, where it is scored

    # -- vectors -----------------------------------------------------------------------------------------------------

    def embed(
        self, table: str, ids: Sequence[object] | Array, unknown: Literal["error", "fallback"] = "error"
    ) -> Array:
        """Return the vectors (M, D) float32 that the model has of original ids (M,).

        Args:
            table: such as "user" or "item".
            ids: as they stood in the data.
            unknown: "error", or "fallback": the vector that the model has for ids that it does not know, zeros where it
                has none.

        Raises:
            UserError: no such table; an unknown id.
        """
        vectors = self._table(table)
        vocab = self.manifest["tables"][table]["vocab"]
        rows = self.rows(vocab, ids, unknown)
        strange = rows < 0
        if not strange.any():
            return vectors.take(rows)
        found = np.empty((len(rows), vectors.dim), np.float32)
        found[~strange] = vectors.take(rows[~strange])
        found[strange] = self._weights.get(f"{table}.fallback", np.float32(0.0))
        return found

    def rows(self, vocab: str, ids: Sequence[object] | Array, unknown: Literal["error", "fallback"] = "error") -> Array:
        """Return the rows (M,) of original ids; -1 for one that is unknown, where that is allowed."""
        found = self.ids[vocab].rows(ids)
        if unknown == "error" and (found < 0).any():
            strange = [str(one) for one in np.asarray(ids, object)[found < 0][:3]]
            raise UserError(
                f"{self.folder}: {int((found < 0).sum())} of {len(found)} {vocab} ids are unknown: {', '.join(strange)}"
            )
        return found

    # -- scores ------------------------------------------------------------------------------------------------------

    def score(self, user: object, items: Sequence[object] | Array) -> Array:
        """Return the scores (M,) of items for a user, both by original id.

        Raises:
            UserError: an unknown id; a model whose scores are no inner products.
        """
        scores, rows = self._scored(), self.rows("item", items)
        query = self._queries(scores, self.rows("user", [user]))[0]
        made: Array = scores.keys.take(rows) @ query
        return made if scores.bias is None else made + scores.bias[rows]

    def recommend(
        self,
        user: object,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[object] | Array = (),
    ) -> list[tuple[Any, float]]:
        """Return the best k items of a user with their scores, best first; fewer where fewer are left.

        Args:
            user: original id.
            k: how many.
            exclude_seen: leave out what the user had in training.
            exclude: original ids of more items to be left out.
        """
        return self.recommend_many([user], k, exclude_seen, exclude)[0]

    def recommend_many(
        self,
        users: Sequence[object] | Array,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[object] | Array = (),
    ) -> list[list[tuple[Any, float]]]:
        """Return the same for each of many users (B,), which takes less time than one after the other."""
        if k < 1:
            raise UserError(f"k is {k}; it must be at least 1")
        rows, left_out = self.rows("user", users), self.rows("item", exclude) if len(exclude) else None
        step = MEMORY // (4 * BLOCK)  # users at a time
        made: list[list[tuple[Any, float]]] = []
        for first in range(0, len(rows), step):
            items, values = self.top(rows[first : first + step], k, exclude_seen, left_out)
            for places, told in zip(items, values):
                there = np.isfinite(told)
                made.append(list(zip(self.ids["item"].ids(places[there]), told[there].tolist())))
        return made

    def top(
        self, users: Array, k: int, exclude_seen: bool = True, left_out: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the rows (B, k) of the best items of users' rows (B,), and their scores; -inf where fewer are left.

        Args:
            users: rows (B,).
            k: how many.
            exclude_seen: leave out what users had in training.
            left_out: rows of items that are left out for all of them.
        """
        scores = self._scored()
        queries, seen = self._queries(scores, users), self._seen(users) if exclude_seen else None
        best = Best(len(users), k)
        for first in range(0, scores.keys.rows, BLOCK):
            part = slice(first, min(first + BLOCK, scores.keys.rows))
            found = scores.keys.products(queries, part)
            if scores.bias is not None:
                found += scores.bias[part]
            if seen is not None:
                owners, items = seen
                inside = (items >= part.start) & (items < part.stop)
                found[owners[inside], items[inside] - first] = -np.inf
            if left_out is not None:
                found[:, left_out[(left_out >= part.start) & (left_out < part.stop)] - first] = -np.inf
            best.take(found, first)
        return best.items, best.values

    def all_scores(self, users: Array) -> Array:
        """Return the scores (B, N) of all items, in the order of the artifact's rows, for users' rows (B,)."""
        scores = self._scored()
        made = scores.keys.products(self._queries(scores, users), slice(0, scores.keys.rows))
        return made if scores.bias is None else made + scores.bias

    # -- from the files ----------------------------------------------------------------------------------------------

    def _scored(self) -> Scores:
        if self.scores is None:
            raise UserError(
                f"{self.folder}: scores of {self.manifest['model']['backbone']} are no inner products of users and "
                "items: it serves vectors alone (embed)"
            )
        return self.scores

    def _table(self, name: str) -> Vectors:
        if name not in self.tables:
            raise UserError(f"{self.folder} has no table {name!r}{nearest(name, self.tables)}")
        return self.tables[name]

    @staticmethod
    def _queries(scores: Scores, users: Array) -> Array:
        made = scores.queries.take(users)
        return made if scores.scale is None else made * scores.scale

    def _seen(self, users: Array) -> tuple[Array, Array]:
        """Return what users' rows (B,) had in training: place among them, and row of the item."""
        starts, items = self.history["starts"], self.history["items"]
        counts = starts[users + 1] - starts[users]
        owners = np.repeat(np.arange(len(users)), counts)
        places = (
            np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts[users], counts)
        )
        return owners, np.asarray(items[places])

    def _scores(self, told: dict[str, Any]) -> Scores:
        scale = self._weights[told["scale"]] if told["scale"] else None
        bias = mapped(self.folder, told["bias"]) if told["bias"] else None
        return Scores(self.tables[told["queries"]], scale, self.tables[told["keys"]], bias)

    def _vectors(self, told: dict[str, Any]) -> Vectors:
        kind, weights = told["kind"], self._weights
        if kind == "full":
            return Full(mapped(self.folder, told["file"]))
        if kind == "low_rank":
            return LowRank(mapped(self.folder, told["file"]), weights[told["right"]])
        if kind == "grid":
            packed = mapped(self.folder, told["file"])
            return Grid(packed, told["bits"], told["rows"], weights[told["low"]], weights[told["step"]])
        first, tiers = 0, []
        for one in told["tiers"]:
            book = weights[one["book"]]
            tiers.append(Tier(first, one["rows"], one["bits"], mapped(self.folder, one["file"]), book))
            first += one["rows"]
        turned = (weights[told["rotation"]], weights[told["mean"]]) if told.get("rotation") else (None, None)
        return Codes(tiers, *turned)

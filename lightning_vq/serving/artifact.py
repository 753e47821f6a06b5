"""A served model: vectors of ids, scores, recommendations.

Shapes: M ids, D dim, B users, N items, k recommendations.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load_file

from lightning_vq.errors import UserError, nearest
from lightning_vq.serving.arguments import fallback, single, there, whole
from lightning_vq.serving.files import Files
from lightning_vq.serving.ids import Ids
from lightning_vq.serving.packing import Array
from lightning_vq.serving.ranking import BLOCK, best_of, depth_by_depth
from lightning_vq.serving.scoring import Continued, Scoring, read_scoring
from lightning_vq.serving.vectors import read_vectors

WEIGHTS = "weights.safetensors"
MEMORY = 1 << 26  # bytes of scores that are held at a time


class Artifact:
    """What `load` returns.

    Args:
        files: of its folder, whole.
    """

    def __init__(self, files: Files) -> None:
        self.folder, self.manifest = files.folder, files.manifest
        manifest = files.manifest
        self._weights = load_file(files.path(WEIGHTS))
        self.ids = {
            vocab: Ids(files.array(told["ids"]), files.array(told["order"]))
            for vocab, told in manifest["vocabularies"].items()
        }
        self.tables = {name: read_vectors(files, told, self._weights) for name, told in manifest["tables"].items()}
        for name, told in manifest["tables"].items():
            table, count = self.tables[name], len(self.ids[told["vocab"]])
            if (table.rows, table.dim) != (told["rows"], told["dim"]) or table.rows != count:
                raise ValueError(f"{table.rows} rows of {name!r} of {table.dim} numbers, and {count} ids")
        scores = manifest["scores"]
        for role, vocab in (("keys", "item"), ("queries", "user")):
            if scores and role in scores and manifest["tables"][scores[role]]["vocab"] != vocab:
                raise ValueError(f"{role} are of {scores[role]!r}")
        self.scoring = read_scoring(files, scores, self.tables, self._weights) if scores else None
        told = manifest["history"] or {}
        self.history = {name: files.array(file) for name, file in told.items()}  # of each user, where it is scored

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
        if table not in self.tables:
            raise UserError(f"{self.folder} has no table {table!r}{nearest(table, self.tables)}")
        vectors, vocab = self.tables[table], self.manifest["tables"][table]["vocab"]
        rows = self.rows(vocab, ids, fallback(unknown, "fallback"))
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
            UserError: an unknown id; a model that scores no items for users.
        """
        scoring, rows = self._of_users(), self.rows("item", items)
        made: Array = scoring.scores(scoring.users(self.rows("user", [single(user)])), rows)[0]
        return made

    def recommend(
        self,
        user: object,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[object] | Array = (),
        unknown: Literal["error", "skip"] = "error",
    ) -> list[tuple[Any, float]]:
        """Return the best k items of a user with their scores, best first; fewer where fewer are left.

        Args:
            user: original id.
            k: how many.
            exclude_seen: leave out what the user had in training.
            exclude: original ids of more items to be left out.
            unknown: "error", or "skip": a user whom the model does not know has no items, and such items are passed
                over.
        """
        return self.recommend_many([single(user)], k, exclude_seen, exclude, unknown)[0]

    def recommend_many(
        self,
        users: Sequence[object] | Array,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[object] | Array = (),
        unknown: Literal["error", "skip"] = "error",
    ) -> list[list[tuple[Any, float]]]:
        """Return the same for each of many users (B,), which takes less time than one after the other."""
        k, passed, _ = whole("k", k), fallback(unknown, "skip"), self._of_users()
        rows, left_out = self.rows("user", users, passed), self._excluded(exclude, passed)
        step = MEMORY // (4 * BLOCK)  # users at a time
        made: list[list[tuple[Any, float]]] = [[] for _ in rows]
        known = np.flatnonzero(rows >= 0)
        for part in (known[first : first + step] for first in range(0, len(known), step)):
            for place, best in zip(part, self._told(*self.top(rows[part], k, exclude_seen, left_out))):
                made[place] = best
        return made

    def complete(
        self,
        items: Sequence[object] | Array,
        k: int | None = None,
        positions: int = 1,
        exclude_seen: bool = True,
        exclude: Sequence[object] | Array = (),
        unknown: Literal["error", "skip"] = "error",
    ) -> list[tuple[Any, float]]:
        """Return the best k items to continue a list with, and their scores; fewer where fewer are left.

        Of one position they come best first, of several as `positions` tells.

        Args:
            items: original ids (T,) in their order. Of more than the model was ever shown the last ones count.
            k: how many; of none given as many as positions, and 10 next items.
            positions: how many items are to come. Of several each ranks all items, the first choice of those before it
                taken for granted, and candidates are taken depth by depth: the first choice of every position, then
                the second ones, without repeats (FANS; so `predict` continues a list, given items allowed).
            exclude_seen: leave out what is in the list.
            exclude: original ids of more items to be left out.
            unknown: "error", or "skip": ids that the model does not know are passed over, and nothing follows a list
                of no others.

        Raises:
            UserError: an unknown id, an empty list, a model that continues no lists.
        """
        scoring, positions = self._of_lists(), whole("positions", positions)
        k = whole("k", k) if k is not None else positions if positions > 1 else 10
        if positions > scoring.items:
            raise UserError(f"positions is {positions:,}; the artifact has {scoring.items:,} items")
        passed = fallback(unknown, "skip")
        rows, out = self.rows("item", items, passed), self._excluded(exclude, passed)
        if len(rows) and not (rows >= 0).any():
            return []
        rows = rows[rows >= 0]
        out = np.concatenate([rows, out]) if exclude_seen else out
        if scoring.at_once:
            chosen, values = best_of(scoring, self.after(rows, positions), positions, k, None, out)
        else:
            parts = []
            for _ in range(positions):
                parts.append(best_of(scoring, self.after(rows), 1, k, None, out))
                rows = np.append(rows, parts[-1][0][0, :1])
            chosen, values = (np.concatenate(column) for column in zip(*parts))
        found = depth_by_depth(chosen, values, k)
        return self._told(*(one[None] for one in found))[0]

    def after(self, rows: Array, count: int = 1) -> Array:
        """Return the queries (P, D) for the next `count` items of a list, given by its rows (T,); see Continued."""
        if not len(rows):
            raise UserError("the list has no known item: nothing tells what comes next")
        return self._of_lists().after(rows, count)

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
        scoring, users = self._of_users(), there(users, len(self.ids["user"]))
        seen = self._seen(users) if exclude_seen and self.history else None
        return best_of(scoring, scoring.users(users), len(users), k, seen, left_out)

    def all_scores(self, users: Array) -> Array:
        """Return the scores (B, N) of all items, in the order of the artifact's rows, for users' rows (B,)."""
        scoring, users = self._of_users(), there(users, len(self.ids["user"]))
        return scoring.scores(scoring.users(users), slice(0, scoring.items))

    def _excluded(self, items: Sequence[object] | Array, unknown: Literal["error", "fallback"]) -> Array:
        """Return the rows of items that are left out."""
        rows = self.rows("item", items, unknown)
        return rows[rows >= 0]

    # -- from the files ----------------------------------------------------------------------------------------------

    def _of_users(self) -> Scoring:
        if self.scoring is None or isinstance(self.scoring, Continued):
            how = "vectors alone (embed)" if self.scoring is None else "what comes next in a list (complete)"
            raise UserError(f"{self.folder} scores no items for users: of {self._model} it serves {how}")
        return self.scoring

    def _of_lists(self) -> Continued:
        if not isinstance(self.scoring, Continued):
            raise UserError(f"{self.folder} continues no lists: it is of {self._model}")
        return self.scoring

    @property
    def _model(self) -> str:
        return str(self.manifest["model"]["backbone"])

    def _told(self, rows: Array, values: Array) -> list[list[tuple[Any, float]]]:
        """Return (original id, score) of rows (B, k) that are there."""
        left = np.isfinite(values)
        return [list(zip(self.ids["item"].ids(r[t]), v[t].tolist())) for r, v, t in zip(rows, values, left)]

    def _seen(self, users: Array) -> tuple[Array, Array]:
        """Return what users' rows (B,) had in training: place among them, and row of the item."""
        starts, items = self.history["starts"], self.history["items"]
        counts = starts[users + 1] - starts[users]
        owners = np.repeat(np.arange(len(users)), counts)
        places = np.arange(len(owners)) + np.repeat(starts[users] - (np.cumsum(counts) - counts), counts)
        return owners, np.asarray(items[places])

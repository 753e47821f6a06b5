"""How an artifact scores: by inner products, of a user or of what a network makes of a list, or by a network of pairs.

Shapes: B queries, M items, N all items, D dim, T items of a list.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.serving.files import Files
from lightning_vq.serving.packing import Array
from lightning_vq.serving.vectors import Vectors, refuse_other_than


class Network:
    """A network in a file, which onnxruntime runs (extra `serve`); opened when it is first asked.

    Args:
        path: of the ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = path.read_bytes()  # at once, as it was checked
        self._session: Any = None

    def __call__(self, *given: Array) -> Array:
        """Return its output for its inputs, in their order."""
        if self._session is None:
            try:
                import onnxruntime  # slow to load, and only these models need it
            except ImportError:
                raise UserError(
                    f"{self.path.parent} scores by a network: pip install onnxruntime (its vectors need nothing: embed)"
                ) from None
            self._session = onnxruntime.InferenceSession(self._content, providers=["CPUExecutionProvider"])
        names = (one.name for one in self._session.get_inputs())
        made: Array = self._session.run(None, dict(zip(names, given)))[0]
        return made


class Scoring(ABC):
    """s(query, item) of B queries and some of N items."""

    items: int

    @abstractmethod
    def users(self, rows: Array) -> Any:
        """Return the queries of users' rows (B,)."""

    @abstractmethod
    def scores(self, queries: Any, rows: Array | slice) -> Array:
        """Return scores (B, M) of items' rows (M,), or of a slice of them."""


class Products(Scoring):
    """query . key + bias + shift.

    Args:
        keys: of items.
        bias: (N,), or none.
        queries: of users; none where a query is no user's.
        scale: (D,) on those, or none.
        shift: of all scores.
    """

    def __init__(
        self,
        keys: Vectors,
        bias: Array | None,
        queries: Vectors | None = None,
        scale: Array | None = None,
        shift: float = 0.0,
    ) -> None:
        self.keys, self.bias, self.queries, self.scale, self.shift = keys, bias, queries, scale, np.float32(shift)
        self.items = keys.rows

    def users(self, rows: Array) -> Array:
        assert self.queries is not None
        made = self.queries.take(rows)
        return made if self.scale is None else made * self.scale

    def scores(self, queries: Array, rows: Array | slice) -> Array:
        whole = isinstance(rows, slice)
        made: Array = self.keys.products(queries, rows) if whole else queries @ self.keys.take(rows).T  # type: ignore[arg-type]
        if self.bias is not None:
            made += self.bias[rows]
        return made + self.shift if self.shift else made


class Continued(Products):
    """Products of what a network makes of a list.

    Args:
        keys, bias: see Products.
        network: from the vectors (1, T, D) of a list's items to the query (1, D) for the next one; or, with (1, P, 1)
            of anything beside them, to those of P items to come (1, P, D).
        given: the items' vectors that it takes in.
        longest: how many of a list's last items it is shown.
        at_once: whether it is the other kind of network.
    """

    def __init__(
        self, keys: Vectors, bias: Array | None, network: Network, given: Vectors, longest: int, at_once: bool
    ) -> None:
        super().__init__(keys, bias)
        self.network, self.given, self.longest, self.at_once = network, given, longest, at_once

    def after(self, rows: Array, count: int = 1) -> Array:
        """Return the queries (P, D) for the items after those of a list, given by their rows (T,), one or more.

        Args:
            rows: (T,).
            count: P, for how many; of a network that does not tell them at once 1.
        """
        vectors = self.given.take(rows[-self.longest :])[None]
        return self.network(vectors, np.zeros((1, count, 1), np.float32))[0] if self.at_once else self.network(vectors)


class Pairwise(Scoring):
    """A network of a user's vectors and an item's.

    Args:
        network: from users' vectors (1, D) and items' (1, M, D), table by table, to scores (1, M).
        tables: whose vectors it is given, in that order, and whether those are users'.
    """

    def __init__(self, network: Network, tables: list[tuple[Vectors, bool]]) -> None:
        self.network, self.tables = network, tables
        self.items = next(table.rows for table, of_users in tables if not of_users)

    def users(self, rows: Array) -> list[list[Array]]:
        """Return of each user the vectors (1, D) of its tables."""
        found = [table.take(rows) for table, of_users in self.tables if of_users]
        return [[vectors[i : i + 1] for vectors in found] for i in range(len(rows))]

    def scores(self, queries: list[list[Array]], rows: Array | slice) -> Array:
        items = [table.take(rows)[None] for table, of_users in self.tables if not of_users]
        made = []
        for query in queries:
            users, others = iter(query), iter(items)
            made.append(self.network(*(next(users if of_users else others) for _, of_users in self.tables))[0])
        return np.stack(made)


def read_scoring(
    files: Files, told: dict[str, Any], tables: Mapping[str, Vectors], weights: dict[str, Array]
) -> Scoring:
    """Return how an artifact scores.

    Args:
        files: of the artifact.
        told: of its scores, by the manifest.
        tables: by name.
        weights: small arrays by name.
    """
    if told["kind"] == "pairs":
        pairs = [(tables[one["table"]], bool(one["of_users"])) for one in told["given"]]
        return Pairwise(Network(files.path(told["network"])), pairs)
    keys, bias = tables[told["keys"]], files.array(told["bias"]) if told["bias"] else None
    if bias is not None:
        refuse_other_than((keys.rows,), biases=bias)
    if told["kind"] == "lists":
        network, given = Network(files.path(told["network"])), tables[told["given"]]
        return Continued(keys, bias, network, given, told["longest"], told["at_once"])
    scale = weights[told["scale"]] if told["scale"] else None
    queries = tables[told["queries"]]
    if queries.dim != keys.dim:
        raise ValueError(f"queries of {queries.dim} numbers, keys of {keys.dim}")
    if scale is not None:
        refuse_other_than((queries.dim,), scale=scale)
    if not np.isfinite(told["shift"]):
        raise ValueError(f"a shift of {told['shift']}")
    return Products(keys, bias, queries, scale, told["shift"])

"""How well learned codes agree with real categories, beside what chance gives.

An item may be of several categories; items of none are left out of everything here. K counts the codes in use, so
that a quantizer whose codes are mostly dead is not flattered by shares of them. Chance is a permutation null: codes
shuffled over items, so that every code and every category keeps its size.

Shapes: N items, P pairs of an item and a category of it, G categories, K codes, R draws of the null.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]
PERCENTS = (1, 2, 10)  # of the codes, that a category is spread over (cage, appendix D)


class Members(NamedTuple):
    """Which items are of which categories."""

    names: list[str]  # (G,)
    items: Array  # (P,) int64, each pair once
    categories: Array  # (P,) int64


class Statistic(NamedTuple):
    """A statistic of the learned codes and of shuffled ones."""

    value: float
    null: float  # mean of the draws
    low: float  # 95 % interval of the draws
    high: float


class Agreement(NamedTuple):
    """What `agreement` returns of one level."""

    codes: int  # K
    items: int  # with at least one category
    statistics: dict[str, Statistic]
    largest: list[str]  # (G',) names of the largest categories
    coverage: Array  # (G', K) their coverage curves
    null: Array  # (3, G', K) mean and 95 % interval of the curves of shuffled codes


def members(categories: Sequence[Sequence[str]]) -> Members:
    """Return the pairs of (N) items and the names of their categories; one named twice for an item counts once."""
    lists = pa.array(categories, pa.list_(pa.string()))
    items = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    encoded = lists.flatten().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    pairs = np.unique(items * max(1, len(names)) + encoded.indices.to_numpy().astype(np.int64))
    return Members(names, pairs // max(1, len(names)), pairs % max(1, len(names)))


def contingency(codes: Array, of: Members) -> Array:
    """Return how many items of each category each code holds, (G, K), for codes (N,) in 0..K-1."""
    size, groups = int(codes.max()) + 1, len(of.names)
    return np.bincount(of.categories * size + codes[of.items], minlength=groups * size).reshape(groups, size)


def code_similarity(codes: Array, of: Members) -> Array:
    """Return how many codes two different items have in common, a mean over pairs of items of two categories (G, G).

    MGQE, figure 8, of all pairs, where the paper draws two sets of 200 items each.

    Args:
        codes: (N, L) of items.
        of: the items' categories; each must have two items or more.
    """
    equal = np.zeros((len(of.names), len(of.names)), np.int64)
    for column in codes.T:
        table = contingency(np.unique(column, return_inverse=True)[1], of)
        equal += table @ table.T
    shared = contingency(np.arange(len(codes)), of)
    both = shared @ shared.T  # an item is no pair with itself
    sizes = shared.sum(1)
    return (equal - both * codes.shape[1]) / (np.outer(sizes, sizes) - both)


def purity(table: Array, items: int) -> float:
    """Return the share of items that are of the category that is most frequent in their code.

    Args:
        table: (G, K) as `contingency` counts.
        items: with at least one category.
    """
    return float(table.max(axis=0).sum() / items)


def coverage(table: Array) -> Array:
    """Return the share (G, K) of each category that its first i codes hold, largest first (cove, figure 5)."""
    held = -np.sort(-table, axis=1)
    return held.cumsum(axis=1) / table.sum(axis=1, keepdims=True)


def spread(table: Array) -> dict[str, float]:
    """Return shares of the categories: exclusive to one code, and in fewer than 1, 2 and 10 % of the codes.

    The paper counts fewer than 10, 20 and 100 of 1000 codes; as percentages the bounds hold for any K. A bound that
    not even a category of a single code would meet (K = 40: 1 and 2 %) is left out.
    """
    codes, held = table.shape[1], (table > 0).sum(axis=1)
    shares = {"exclusive to one code": float((held == 1).mean())}
    for percent in PERCENTS:
        if percent * codes > 100:
            shares[f"in fewer than {percent} % of the codes"] = float((100 * held < percent * codes).mean())
    return shares


def statistics(table: Array, items: int) -> dict[str, float]:
    """Return every number of `agreement` for a table (G, K) of that many items."""
    tenth = -(-table.shape[1] // 10)  # of the codes, rounded up
    return {
        "purity": purity(table, items),
        "share of a category in its first 10 % of the codes": float(coverage(table)[:, tenth - 1].mean()),
        **{f"categories {name}": share for name, share in spread(table).items()},
    }


def agreement(codes: Array, of: Members, draws: int = 100, seed: int = 0, curves: int = 5) -> Agreement | None:
    """Compare one level's codes (N,) with the categories; None where there are none to compare with.

    Args:
        codes: code of each item, any integers.
        of: the items' categories.
        draws: of the permutation null (R).
        seed: of the draws.
        curves: how many of the largest categories get coverage curves (G').
    """
    if not len(of.items):
        return None
    known, rows = np.unique(of.items, return_inverse=True)
    of = of._replace(items=rows)
    used, codes = np.unique(codes[known], return_inverse=True)
    table = contingency(codes, of)
    largest = np.argsort(-table.sum(axis=1), kind="stable")[:curves]
    rng = np.random.default_rng(seed)
    numbers, lines = [], np.empty((draws, len(largest), len(used)))
    for draw in range(draws):
        shuffled = contingency(rng.permutation(codes), of)
        numbers.append(list(statistics(shuffled, len(known)).values()))
        lines[draw] = coverage(shuffled[largest])
    summary = _summary(np.array(numbers))
    learned = statistics(table, len(known))
    return Agreement(
        codes=len(used),
        items=len(known),
        statistics={
            name: Statistic(value, *map(float, summary[:, i])) for i, (name, value) in enumerate(learned.items())
        },
        largest=[of.names[i] for i in largest],
        coverage=coverage(table[largest]),
        null=_summary(lines),
    )


def _summary(draws: Array) -> Array:
    """Return mean and 95 % interval (3, ...) of draws (R, ...)."""
    return np.stack([draws.mean(axis=0), *np.percentile(draws, [2.5, 97.5], axis=0)])


def stability(ours: Array, theirs: Array) -> float:
    """Return the adjusted mutual information of two assignments (N,) of the same items: 0 is chance, 1 the same."""
    from sklearn.metrics import adjusted_mutual_info_score  # slow to import, needed once a run

    return float(adjusted_mutual_info_score(ours, theirs))

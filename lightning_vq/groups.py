"""Groups of users or items by training frequency, and what a metric is in each of them.

An entity with fewer than COLD training interactions is `cold`. The others are ordered by their number of training
interactions, of equal ones the first row first, and cut: the most frequent HEAD % are `head`, the least frequent
TAIL % `tail`, rounded down to whole entities; `torso` is what lies between.

Shapes: N entities, U users, P cases (held-out interactions), G = 4 groups.
"""

import re
from typing import Any

import numpy as np

from lightning_vq.errors import UserError, nearest

Array = np.ndarray[Any, Any]
COLD = 5
HEAD, TAIL = 20, 50
GROUPS = ("cold", "tail", "torso", "head")
DEFINITION = (
    f"cold: fewer than {COLD} training interactions; of the others head: the most frequent {HEAD} %, "
    f"tail: the least frequent {TAIL} %, torso: between"
)


def frequency_groups(counts: Array) -> Array:
    """Return the place in GROUPS (N,) of entities with so many training interactions (N,).

    >>> groups = frequency_groups(np.array([9, 0, 5, 5, 5, 7]))
    >>> [GROUPS[group] for group in groups]
    ['head', 'cold', 'torso', 'tail', 'tail', 'torso']
    """
    warm = np.flatnonzero(counts >= COLD)
    order = warm[np.argsort(-counts[warm], kind="stable")]
    groups = np.full(len(counts), GROUPS.index("cold"))
    groups[order] = GROUPS.index("torso")
    groups[order[: len(order) * HEAD // 100]] = GROUPS.index("head")
    groups[order[len(order) - len(order) * TAIL // 100 :]] = GROUPS.index("tail")
    return groups


def case_values(ranks: Array, metric: str) -> Array:
    """Return a metric of single cases (P,) from their ranks (P,): one relevant item, as `metrics` has it.

    >>> case_values(np.array([1, 3, 6]), "ndcg@5")
    array([1. , 0.5, 0. ])

    Raises:
        UserError: a metric that a single case has not.
    """
    ones, inverse = np.ones(len(ranks)), 1.0 / ranks
    formulas = {"hr": ones, "recall": ones, "ndcg": 1 / np.log2(ranks + 1.0), "mrr": inverse, "map": inverse}
    parts = re.fullmatch(r"(\w+)@(\d+)", metric)
    if parts is None or parts[1] not in formulas:
        hint = nearest(metric.partition("@")[0], formulas)
        raise UserError(f"--metric={metric}: items can be grouped by a metric that one held-out item has{hint}")
    return np.where(ranks <= int(parts[2]), formulas[parts[1]], 0.0)


def list_shares(means: Array, groups: Array, users: Array, metric: str) -> Array:
    """Return what the items of each group add to a list's metric (U, G), by the means of cases that `by_group` returns.

    A list of several items to come is one case of its metric: the groups' shares of ndcg@k add up to that of the list,
    and hr@k is whether any item of a group was hit.

    Args:
        means: (U, G).
        groups, users: of the cases (P,), see `by_group`.
        metric: "ndcg@5" or "hr@5".
    """
    counts = np.bincount(users * len(GROUPS) + groups, minlength=means.size).reshape(means.shape)
    name, _, k = metric.partition("@")
    if name == "hr":
        return np.minimum(means * counts, 1.0)
    return means * counts / (1 / np.log2(np.arange(2, int(k) + 2))).sum()


def by_group(values: Array, groups: Array, users: Array, size: int) -> Array:
    """Return every user's mean value in each group (U, G); NaN where she has no case there.

    A user's cases are averaged because tests need independent units: her cases are not, users are.

    Args:
        values: of the cases (P,).
        groups: of the cases (P,), places in GROUPS.
        users: of the cases (P,), in 0..U-1.
        size: U.
    """
    at, cells = users * len(GROUPS) + groups, size * len(GROUPS)
    cases = np.bincount(at, minlength=cells)
    sums = np.bincount(at, values, minlength=cells)
    means = np.full(cells, np.nan)
    np.divide(sums, cases, out=means, where=cases > 0)
    return means.reshape(size, len(GROUPS))

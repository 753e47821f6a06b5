"""Groups of equal size whose sums are as even as can be: the balanced encoders of DQVAE."""

from itertools import combinations

import numpy as np


def balanced_groups(values: np.ndarray, groups: int) -> np.ndarray:
    """Return a permutation of the values' indices whose `groups` equal, consecutive parts have nearly equal sums.

    Greedy (the largest first, to the smallest group that has room), then swaps between pairs of groups while
    sum over l1 < l2 of |S_l1 - S_l2| falls (DQRec, eq. 7, whose signed sum is zero for every grouping).

    Args:
        values: (D,) not negative, D divisible by groups.
        groups: L.

    >>> values = np.array([9.0, 5.0, 4.0, 0.0, 3.0, 3.0])
    >>> sorted(values[balanced_groups(values, 2)].reshape(2, 3).sum(1).tolist())
    [12.0, 12.0]
    """
    room = len(values) // groups
    inside: list[list[int]] = [[] for _ in range(groups)]
    for i in np.argsort(-values, kind="stable"):
        open_ = [g for g in range(groups) if len(inside[g]) < room]
        inside[min(open_, key=lambda g: values[inside[g]].sum())].append(int(i))
    members = np.array(inside)  # (L, D / L)
    while _swapped(values, members):
        pass
    return members.reshape(-1)


def imbalance(values: np.ndarray, order: np.ndarray, groups: int) -> float:
    """Return (max - min) / mean of the groups' sums."""
    sums = values[order].reshape(groups, -1).sum(1)
    return float((sums.max() - sums.min()) / sums.mean()) if sums.any() else 0.0


def _unevenness(sums: np.ndarray) -> float:
    return float(np.abs(sums[:, None] - sums).sum()) / 2


def _swapped(values: np.ndarray, members: np.ndarray) -> bool:
    """Make the best swap of one pair of groups that lowers the unevenness, if there is one."""
    sums = values[members].sum(1)
    for a, b in combinations(range(len(members)), 2):
        shift = values[members[a]][:, None] - values[members[b]]  # what group a loses by each swap
        i, j = np.unravel_index(np.abs(sums[a] - sums[b] - 2 * shift).argmin(), shift.shape)
        after = sums.copy()
        after[[a, b]] += (-shift[i, j], shift[i, j])
        if _unevenness(after) < _unevenness(sums) * (1 - 1e-9):
            members[a, i], members[b, j] = members[b, j], members[a, i]
            return True
    return False

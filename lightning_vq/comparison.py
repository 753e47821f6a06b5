"""Paired statistics of two runs over the users that both were tested on.

The unit is the user: a user has a value in many columns (a metric, or a metric in a group), and one resample of the
users, one flip of their signs, serves all columns. What a second seed would change is not in any number here.

Shapes: U users, C columns, R resamples. NaN: the user has no value in the column.
"""

from typing import Any, NamedTuple

import numpy as np

from lightning_vq.direction import lower_is_better

Array = np.ndarray[Any, Any]
RESAMPLES = 10_000
FEWEST = 10  # users that a bootstrap interval needs
ALPHA = 0.05
CELLS = 2_000_000  # users times resamples at a time: 16 MB each of draws, weights and signs


class Paired(NamedTuple):
    """What `paired` returns; (C,) each."""

    base: Array  # means
    other: Array
    difference: Array
    low: Array  # 95 % interval of the difference; NaN for fewer than FEWEST users
    high: Array
    p: Array


class Comparison(NamedTuple):
    """A run beside another on one metric, of all users or of a group."""

    run: str
    against: str
    of: str  # "all", "users" or "items"
    group: str  # "" of all
    metric: str
    n: int  # users, or of items the held-out cases
    base: float
    other: float
    difference: float
    low: float
    high: float
    p: float
    holm: float

    @property
    def percent(self) -> float:
        """The difference in % of the base; NaN where that is 0."""
        return 100 * self.difference / self.base if self.base else float("nan")

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or nothing where no difference survives the correction."""
        if not self.holm < ALPHA:
            return ""
        return "better" if (self.difference < 0) is lower_is_better(self.metric) else "worse"


def paired(base: Array, other: Array, resamples: int = RESAMPLES, seed: int = 0) -> Paired:
    """Compare the values (U, C) of one run with those of another, column by column.

    Args:
        base: values of the run that is compared with; a value is NaN in both or in neither.
        other: values of the run that is compared.
        resamples: R, of the users and of the signs.
        seed: of both.
    """
    differences = other - base
    low, high = bootstrap_interval(differences, resamples, seed)
    p = sign_flip_p(differences, resamples, seed)
    return Paired(np.nanmean(base, 0), np.nanmean(other, 0), np.nanmean(differences, 0), low, high, p)


def bootstrap_interval(differences: Array, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Return the 95 % percentile interval (2, C) of the mean difference over users drawn with replacement.

    Args:
        differences: (U, C).
        resamples: R.
        seed: of the draws.
    """
    users, rng = len(differences), np.random.default_rng(seed)
    held, which = np.unique(~np.isnan(differences), axis=1, return_inverse=True)  # columns of the same users
    values, held = np.nan_to_num(differences), held.astype(float)
    means = np.empty((resamples, differences.shape[1]))
    for rows in _chunks(resamples, users):
        size = rows.stop - rows.start
        drawn = rng.integers(0, users, (size, users)) + users * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users).astype(float)
        with np.errstate(invalid="ignore"):  # nobody of a small group was drawn
            means[rows] = (weights @ values) / (weights @ held)[:, which.ravel()]
    interval = np.nanquantile(means, [0.025, 0.975], axis=0)
    return np.where((~np.isnan(differences)).sum(0) < FEWEST, np.nan, interval)


def sign_flip_p(differences: Array, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Return two-sided p (C,) of the paired randomization test (Smucker, Allan and Carterette, CIKM 2007).

    Were the runs alike, a user's values could as well be the other way round: p is the share of random flips of the
    differences' signs whose mean is as far from 0 as the one seen, which itself counts as one more flip.

    Args:
        differences: (U, C).
        resamples: R.
        seed: of the signs.
    """
    values = np.nan_to_num(differences)
    values = values[values.any(axis=1)]  # a zero has no sign to flip
    users, rng = len(values), np.random.default_rng(seed)
    total = values.sum(0)
    far = np.abs(total) - 1e-9 * np.abs(values).sum(0)  # equal sums, added in another order, are equal
    count = np.zeros(values.shape[1], dtype=int)
    for rows in _chunks(resamples, users):
        size = rows.stop - rows.start
        bits = rng.integers(0, 256, (size, -(-users // 8)), dtype=np.uint8)
        kept = np.unpackbits(bits, axis=1, count=users).astype(float)
        count += (np.abs(2 * (kept @ values) - total) >= far).sum(0)
    return (1 + count) / (1 + resamples)


def _chunks(resamples: int, users: int) -> list[slice]:
    size = max(1, CELLS // max(1, users))
    return [slice(start, min(start + size, resamples)) for start in range(0, resamples, size)]


def holm(p: Array) -> Array:
    """Return p (C,) corrected for C comparisons (Holm 1979), each the largest of those before it.

    >>> holm(np.array([0.01, 0.04, 0.03, 0.005])).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(len(p), 0, -1)))
    return corrected

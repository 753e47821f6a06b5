"""What callers of an artifact may give."""

from typing import Literal

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.serving.packing import Array


def whole(name: str, value: int) -> int:
    """Return a number that counts something, or refuse it."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1")
    return int(value)


def there(rows: Array, count: int) -> Array:
    """Return rows (B,) of users that are there, or refuse others, such as the -1 of an unknown id."""
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind != "i" or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
        raise UserError(f"rows of users must be whole numbers from 0 to {count - 1:,}; -1 is that of an unknown id")
    return rows


def fallback(unknown: str, other: str) -> Literal["error", "fallback"]:
    """Return what is to be done of unknown ids; `other` is what the alternative to an error is called."""
    if unknown not in ("error", other):
        raise UserError(f"unknown is {unknown!r}; it must be 'error' or {other!r}")
    return "error" if unknown == "error" else "fallback"


def single(user: object) -> object:
    """Return an id, or refuse several in its place."""
    if isinstance(user, list | tuple | np.ndarray):
        raise UserError(f"{user!r} are several ids where one is asked for; for several there is recommend_many")
    return user

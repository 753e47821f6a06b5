"""Which rows of a table are trained on: as given, by chance, by time, by group.

Shapes: E rows, G groups.
"""

from typing import Literal, NamedTuple

import numpy as np

from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array

SPLIT_DRAW = 3  # purpose of the generator

Kind = Literal["given", "ratio", "time", "group"]


class Split(NamedTuple):
    """How rows are divided."""

    kind: Kind
    ratio: tuple[float, float, float]  # of train, dev and test, but where the split is given
    seed: int  # of chance


def divided(where: str, split: Split, rows: int, given: Array, times: Array, groups: Array) -> Array:
    """Return the part (E,) int8 of every row: TRAIN, DEV or TEST.

    Args:
        where: the table, for messages.
        split: how.
        rows: E.
        given: (E,) parts, of split "given".
        times: (E,) of split "time": what is tested on is later than all that was trained on, so that rows of one moment
            stay together.
        groups: (E,) of split "group": rows of a group stay together; ratios are of groups.

    Raises:
        UserError: a part is empty, or a row has no group.
    """
    rng = np.random.default_rng([split.seed, SPLIT_DRAW])
    if split.kind == "given":
        part_of = given
    elif split.kind == "ratio":
        part_of = _shared(rows, split.ratio)
        rng.shuffle(part_of)
    elif split.kind == "time":
        ordered, shares = np.sort(times), _shared(rows, split.ratio)
        ends = [int((shares <= part).sum()) for part in (TRAIN, DEV)]
        first, second = (ordered[max(0, end - 1)] for end in ends)
        part_of = np.where(times <= first, TRAIN, np.where(times <= second, DEV, TEST)).astype(np.int8)
    else:
        if (groups < 0).any():
            raise UserError(f"{where}: {int((groups < 0).sum()):,} rows have no group to be split by")
        there, place = np.unique(groups, return_inverse=True)
        of_group = _shared(len(there), split.ratio)
        rng.shuffle(of_group)
        part_of = of_group[place]
    for part, name in ((TRAIN, "train"), (DEV, "dev"), (TEST, "test")):
        if not (part_of == part).any():
            raise UserError(f"{where}: the {name} part is empty ({rows:,} rows, split={split.kind})")
    return part_of


def _shared(count: int, ratio: tuple[float, float, float]) -> Array:
    """Return parts (count,) by their shares, train first.

    >>> _shared(10, (0.8, 0.1, 0.1)).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    """
    ends = np.floor(np.cumsum(ratio)[:2] / sum(ratio) * count + 0.5).astype(int)
    return np.repeat(np.array([TRAIN, DEV, TEST], np.int8), np.diff([0, *ends, count]))

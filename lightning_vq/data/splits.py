"""Which interactions train, which are held out. Shapes: E interactions, U users."""

from typing import Literal

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array, Interactions

Split = Literal["auto", "leave_one_out", "ratio", "ratio_by_time", "given"]
TRAIN, DEV, TEST = 0, 1, 2


def split_interactions(raw: Interactions, split: Split, ratio: tuple[float, float, float], seed: int) -> Array:
    """Return the part (E,) of each interaction: 0 train, 1 dev, 2 test.

    Args:
        raw: interactions.
        split: "leave_one_out" holds out each user's last interaction for test and the one before for dev, ordered
            by (timestamp, row); "ratio" shuffles and cuts each user's history by `ratio`; "ratio_by_time" cuts it as
            it stands, the last ones being tested; "given" takes the source's own; "auto" is "given" where there is
            one, else "leave_one_out".
        ratio: shares of train, dev and test for "ratio" and "ratio_by_time".
        seed: of the "ratio" draw.

    Raises:
        UserError: a split that the source does not give, or a user with too few interactions.
    """
    if split == "auto":
        split = "leave_one_out" if raw.split is None else "given"
    if split == "given":
        if raw.split is None:
            raise UserError(f"{raw.where}: split=given, but there is no split column (--data.init_args.columns.split)")
        return np.select([raw.split == "dev", raw.split == "test"], [DEV, TEST], TRAIN)
    lengths = np.bincount(raw.users)
    if split in ("leave_one_out", "ratio_by_time") and raw.order is None:
        raise UserError(
            f"{raw.where}: {split} needs a timestamp column "
            "(--data.init_args.columns.timestamp=NAME; models of pairs do without one by --data.init_args.split=ratio)"
        )
    if split == "leave_one_out":
        assert raw.order is not None
        _refuse_short(raw, lengths, 3)
        return _from_the_end(raw.users, raw.order, lengths)
    if abs(sum(ratio) - 1) > 1e-9 or min(ratio) < 0:
        raise UserError(f"ratio {list(ratio)} must be three shares that sum to 1, like [0.8, 0.1, 0.1]")
    within = np.random.default_rng([seed, 3]).random(len(raw.users)) if split == "ratio" else raw.order
    assert within is not None
    order = np.lexsort((within, raw.users))
    share = (_position(raw.users[order], lengths) + 0.5) / lengths[raw.users[order]]
    parts = np.empty(len(raw.users), dtype=np.int64)
    parts[order] = np.digitize(share, [ratio[0], ratio[0] + ratio[1]])
    return parts


def _position(users: Array, lengths: Array) -> Array:
    """Return each row's place in its user's run of rows; users are sorted."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.arange(len(users)) - starts[users]


def _from_the_end(users: Array, time: Array, lengths: Array) -> Array:
    order = np.lexsort((time, users))  # which leaves what is equal as it stands
    left = lengths[users[order]] - _position(users[order], lengths)  # 1 for the last
    parts = np.empty(len(users), dtype=np.int64)
    parts[order] = np.select([left == 1, left == 2], [TEST, DEV], TRAIN)
    return parts


def _refuse_short(raw: Interactions, lengths: Array, least: int) -> None:
    short = np.flatnonzero(lengths < least)
    if len(short):
        row = raw.row_number[np.flatnonzero(raw.users == short[0])[0]]
        count = lengths[short[0]]
        raise UserError(
            f"{raw.where}, row {row}: user {raw.user_ids[int(short[0])].as_py()!r} has {count} "
            f"interaction{'s' if count > 1 else ''}, leave_one_out needs {least} ({len(short)} of {len(lengths)} users "
            f"have fewer); --data.init_args.min_user={least} drops them"
        )

"""Which interactions train and which are held out, and the k-core before it, against plain Python."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_vq.data import CollaborativeData
from lightning_vq.data.splits import DEV, TEST, TRAIN, Split, split_interactions
from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions, core, from_columns

RATIO = (0.8, 0.1, 0.1)
PAIRS = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=40).map(sorted)


def table(pairs: list[tuple[int, int]], times: list[int] | None = None, split: list[str] | None = None) -> Interactions:
    def column(values: list) -> pa.ChunkedArray:
        return pa.chunked_array([values])

    users, items = zip(*pairs)
    return from_columns(
        "mine.csv", column(users), column(items),
        None if times is None else column(times), None if split is None else column(split),
        np.arange(len(pairs)) + 2,
    )  # fmt: skip


def ids(raw: Interactions) -> set[tuple[int, int]]:
    """Return the (user, item) pairs by their original ids."""
    return set(zip(raw.user_ids.take(raw.users).to_pylist(), raw.item_ids.take(raw.items).to_pylist()))


# -- leave one out -----------------------------------------------------------------------------------------------------


def test_leave_one_out_by_time() -> None:
    pairs = [(1, 10), (1, 11), (2, 10), (1, 12), (2, 13), (2, 14)]
    parts = split_interactions(table(pairs, [30, 10, 1, 20, 2, 3]), "leave_one_out", RATIO, 0)
    assert parts.tolist() == [TEST, TRAIN, TRAIN, DEV, DEV, TEST]


def test_ties_go_by_row() -> None:
    pairs = [(1, 9), (1, 3), (1, 7), (1, 1)]
    assert split_interactions(table(pairs, [5, 5, 5, 5]), "auto", RATIO, 0).tolist() == [TRAIN, TRAIN, DEV, TEST]
    assert split_interactions(table(pairs, [5, 6, 5, 5]), "auto", RATIO, 0).tolist() == [TRAIN, TEST, TRAIN, DEV]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40))
def test_leave_one_out_against_sorting(rows: list[tuple[int, int]]) -> None:
    """Rows are (user, time), with many ties; each user is given three rows at least."""
    rows = rows + [(user, 2) for user in range(5)] * 3
    raw = table([(user, item) for item, (user, _) in enumerate(rows)], [time for _, time in rows])
    parts = split_interactions(raw, "leave_one_out", RATIO, 0)
    for user in range(5):
        mine = sorted((time, row) for row, (owner, time) in enumerate(rows) if owner == user)
        wanted = [TRAIN] * (len(mine) - 2) + [DEV, TEST]
        assert [parts[row] for _, row in mine] == wanted


def test_user_with_one_interaction_is_refused() -> None:
    raw = table([(1, 1), (1, 2), (1, 3), (7, 1), (8, 1), (8, 2)], [1, 2, 3, 4, 5, 6])
    with pytest.raises(UserError) as caught:
        split_interactions(raw, "auto", RATIO, 0)
    assert str(caught.value) == (
        "mine.csv, row 5: user 7 has 1 interaction, leave_one_out needs 3 (2 of 3 users have fewer); "
        "--data.init_args.min_user=3 drops them"
    )


def test_min_user_drops_them(tmp_path: Path) -> None:
    lines = ["user,item,timestamp", *(f"{u},{i},{i}" for u, i in [(1, 1), (1, 2), (1, 3), (7, 1), (8, 2), (8, 3)])]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    data = CollaborativeData(str(tmp_path / "mine.csv"), min_user=3)
    with pytest.raises(UserError, match="user 1 knows all 3 items"):
        data.setup()
    (tmp_path / "mine.csv").write_text("\n".join([*lines, "2,4,1", "2,1,2", "2,2,3"]) + "\n")
    data.setup()
    assert data.before == (9, 4, 4)
    assert data.raw is not None
    assert data.raw.user_ids.to_pylist() == [1, 2]
    assert [len(data.parts[part][0]) for part in (TRAIN, DEV, TEST)] == [2, 2, 2]


def test_leave_one_out_needs_times() -> None:
    with pytest.raises(UserError, match=r"leave_one_out needs a timestamp column \(--data.init_args.columns.timestamp"):
        split_interactions(table([(1, 1), (1, 2), (1, 3)]), "auto", RATIO, 0)


# -- given -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["auto", "given"])
def test_given_split(split: Split) -> None:
    raw = table([(1, 1), (1, 2), (2, 1), (2, 3)], [4, 3, 2, 1], ["test", "train", "dev", "train"])
    assert split_interactions(raw, split, RATIO, 0).tolist() == [TEST, TRAIN, DEV, TRAIN]


def test_given_split_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"split=given, but there is no split column"):
        split_interactions(table([(1, 1)]), "given", RATIO, 0)


# -- ratio -------------------------------------------------------------------------------------------------------------


@given(PAIRS, st.integers(0, 5))
def test_ratio_cuts_each_user(pairs: list[tuple[int, int]], seed: int) -> None:
    raw = table(pairs)
    parts = split_interactions(raw, "ratio", (0.5, 0.25, 0.25), seed)
    for user in range(len(raw.user_ids)):
        mine = parts[raw.users == user]
        middles = (np.arange(len(mine)) + 0.5) / len(mine)
        assert Counter(mine.tolist()) == Counter(np.digitize(middles, [0.5, 0.75]).tolist())


def test_ratio_is_drawn_from_the_seed_alone() -> None:
    raw = table([(user, item) for user in range(10) for item in range(10)])
    one, again, other = (split_interactions(raw, "ratio", RATIO, seed) for seed in (3, 3, 4))
    assert np.bincount(one).tolist() == [80, 10, 10]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    # No item is held out more than chance has it: the rows were shuffled.
    assert np.bincount(raw.items[one == TEST]).max() < 8


@pytest.mark.parametrize("ratio", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_ratio_that_does_not_sum_to_one(ratio: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="must be three shares that sum to 1"):
        split_interactions(table([(1, 1)]), "ratio", ratio, 0)


# -- k-core ------------------------------------------------------------------------------------------------------------


@given(PAIRS, st.integers(1, 4), st.integers(1, 4))
def test_core_against_removal_one_by_one(pairs: list[tuple[int, int]], least_user: int, least_item: int) -> None:
    left = set(pairs)
    while True:
        users, items = Counter(u for u, _ in left), Counter(i for _, i in left)
        thin = next((p for p in left if users[p[0]] < least_user or items[p[1]] < least_item), None)
        if thin is None:
            break
        left.remove(thin)
    raw = table(pairs, times=[100 * user + item for user, item in pairs])
    if not left:
        with pytest.raises(UserError, match="no interaction is left"):
            core(raw, least_user, least_item)
        return
    kept = core(raw, least_user, least_item)
    assert ids(kept) == left
    assert sorted(set(kept.users.tolist())) == list(range(len(kept.user_ids)))
    assert sorted(set(kept.items.tolist())) == list(range(len(kept.item_ids)))
    # What goes with a row went with it.
    originals = kept.user_ids.take(kept.users).to_numpy() * 100 + kept.item_ids.take(kept.items).to_numpy()
    assert np.array_equal(kept.order, originals)
    assert [pairs[row - 2] for row in kept.row_number] == [divmod(int(o), 100) for o in originals]


def test_core_takes_the_truth_along() -> None:
    raw = table([(1, 1), (1, 2), (2, 2), (3, 3)])._replace(
        item_categories={"leaf": np.array([5, 6, 7])}, user_categories={"leaf": np.array([8, 9, 4])}
    )
    kept = core(raw, 1, 2)
    assert kept.item_categories["leaf"].tolist() == [6]
    assert kept.user_categories["leaf"].tolist() == [8, 9]

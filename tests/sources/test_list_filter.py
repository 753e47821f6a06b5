"""The iterated filtering against a case worked by hand, plain Python, and what the papers' data comes to."""

import os
from collections import Counter
from time import process_time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ragged import as_lists, ragged

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions, Metadata
from lightning_vq.sources.list_sources import LISTS, list_source
from lightning_vq.sources.lists import ListCounts, Range, RawLists, filtered, histories, qualifying, starts_of
from lightning_vq.sources.named import ROOT_VARIABLE, named_source


def by_hand(lists: dict[int, list[int]], kept: Range) -> dict[int, list[int]]:
    """Filter as the protocol says, one thing after the other."""
    while True:
        counts = Counter(item for one in lists.values() for item in one)
        left = {name: [item for item in one if counts[item] >= kept.min_item] for name, one in lists.items()}
        left = {name: one[: kept.max_length] for name, one in left.items() if len(one) >= kept.min_length}
        if left == lists:
            return lists
        lists = left


# -- small lists -------------------------------------------------------------------------------------------------------


def test_worked_by_hand() -> None:
    # d stands once and goes; 102 is then too short, which leaves one c; without it 101 is too short. 103 is cut to its
    # first four, which leaves one e; it goes from 100, which is still long enough.
    raw = ragged([[0, 1, 0, 4], [0, 2, 1], [2, 3], [1, 0, 1, 0, 4, 0]])
    kept = filtered(raw, Range(min_item=2, min_length=3, max_length=4))
    assert as_lists(kept) == {100: ["a", "b", "a"], 103: ["b", "a", "b", "a"]}
    assert kept.item_ids.to_pylist() == ["a", "b"]
    assert kept.starts.tolist() == [0, 3, 7]
    assert kept.counts == ListCounts(2, 2, 7)
    assert kept.counts.told == "2 lists, 2 items, 7 entries, 3.50 a list"


def test_items_are_counted_before_lists_are_cut() -> None:
    # c stands twice as long as 101 is whole; were that cut first, c would be rare and 100 too short.
    raw = ragged([[0, 1, 2], [0, 1, 0, 2], [0, 1, 0]])
    assert as_lists(filtered(raw, Range(2, 3, None)))[100] == ["a", "b", "c"]
    assert as_lists(filtered(raw, Range(2, 3, 3))) == {101: ["a", "b", "a"], 102: ["a", "b", "a"]}


LISTS_OF = st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=9)


@given(LISTS_OF, st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(0, 4))
def test_against_plain_python(lists: list[list[int]], min_item: int, min_length: int, more: int | None) -> None:
    kept = Range(min_item, min_length, None if more is None else min_length + more)
    wanted = by_hand(dict(enumerate(lists, 100)), kept)
    raw = ragged(lists, items=7)
    if not wanted:
        with pytest.raises(UserError, match=r"mine\.csv: no list is left with min_item="):
            filtered(raw, kept)
        return
    found = filtered(raw, kept)
    assert as_lists(found) == {n: [chr(ord("a") + item) for item in one] for n, one in wanted.items()}
    assert sorted(set(found.items.tolist())) == list(range(len(found.item_ids)))  # none is left that no list has
    assert as_lists(filtered(found, kept)) == as_lists(found)


def test_what_is_known_follows() -> None:
    raw = ragged([[2, 2], [0], [1, 2]])._replace(
        creators=pa.array([7, 8, None]),
        item_categories={"leaf": np.array([5, 6, 4])},
        item_metadata=Metadata(["A", "B", "C"], [["x"], [], ["y"]]),
    )
    kept = filtered(raw, Range(1, 2, None))
    assert kept.list_ids.to_pylist() == [100, 102]
    assert kept.creators.to_pylist() == [7, None]
    assert kept.item_categories["leaf"].tolist() == [6, 4]
    assert kept.item_metadata == Metadata(["B", "C"], [[], ["y"]])


def test_nothing_is_left() -> None:
    told = r"mine\.csv: no list is left with min_item=1, min_length=3, max_length=9"
    for lists in ([[0, 1]], [[]]):
        with pytest.raises(UserError, match=told):
            filtered(ragged(lists), Range(1, 3, 9))


@pytest.mark.parametrize(("k", "lists"), [(1, 4), (2, 3), (3, 2), (4, 0)])
def test_lists_whose_target_is_long_enough(k: int, lists: int) -> None:
    assert qualifying(np.array([2, 3, 5, 6]), k) == lists


def test_histories_go_by_time_and_then_by_row() -> None:
    raw = Interactions(
        "log.csv", pa.array(["ann", "bob"]), pa.array(["x", "y", "z"]), np.array([0, 1, 0, 0, 1]),
        np.array([2, 0, 1, 0, 1]), np.array([5, 9, 3, 5, 8]), None, np.arange(5),
    )  # fmt: skip
    assert as_lists(histories(raw)) == {"ann": ["y", "z", "x"], "bob": ["y", "x"]}
    with pytest.raises(UserError, match=r"log\.csv: histories need times or positions, and this source has none"):
        histories(raw._replace(order=None))


# -- real data, and a million rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lists", "items", "entries", "mean"),
    [("aotm", 12_940, 6_264, 162_106, 12.53), ("attlist-spotify", 3_310, 12_527, 261_708, 79.07)],
)
def test_counts_of_the_papers(name: str, lists: int, items: int, entries: int, mean: float) -> None:
    if not os.environ.get(ROOT_VARIABLE) or not named_source(name).folder(None).is_dir():
        pytest.skip(f"{name} is not there ({ROOT_VARIABLE} names the folder of real data)")
    kept = filtered(list_source(name, None), LISTS[name].kept)
    assert kept.counts == LISTS[name].expected == (lists, items, entries)
    assert round(kept.lengths.mean(), 2) == mean
    assert kept.lengths.min() >= LISTS[name].kept.min_length
    assert kept.lengths.max() <= LISTS[name].kept.max_length
    assert np.bincount(kept.items).min() >= 10
    if name == "aotm":
        assert qualifying(kept.lengths, 10) == 559
        assert kept.creators is not None
        assert kept.creators.null_count == 0


def test_a_million_entries_take_seconds() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 25, 80_000)
    entries = int(lengths.sum())
    items = (60_000 * rng.random(entries) ** 3).astype(np.int64)
    raw = RawLists("big", pa.array(np.arange(80_000)), pa.array(np.arange(60_000)), starts_of(lengths), items)
    began = process_time()
    filtered(raw, Range(10, 10, 20))
    assert process_time() - began < 5  # 0.15 s on one core

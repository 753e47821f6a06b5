"""Samples in three parts: exact shares, no time or group in two of them."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from click_tables import SCHEMA, of_rows
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_vq.data.shares import Kind, Split
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.schema import Schema

RATIO = (0.7, 0.1, 0.2)


def split_of(kind: Kind, rows: int, seed: int = 0, **columns: list[Any]) -> dict[int, list[int]]:
    """Return the places of each part's rows in a table."""
    schema = Schema(["u"], timestamp="t" if kind == "time" else None, group="g" if kind == "group" else None)
    found = of_rows(schema, Split(kind, RATIO, seed), label=[0, 1] * (rows // 2), u=["a"] * rows, **columns)
    return {part: samples.cases.tolist() for part, samples in found.samples.items()}


def test_ratio_gives_exact_shares_and_the_same_again() -> None:
    one, again, other = split_of("ratio", 200), split_of("ratio", 200), split_of("ratio", 200, seed=1)
    assert [len(rows) for rows in one.values()] == [140, 20, 40]
    assert sorted(chain.from_iterable(one.values())) == list(range(200))
    assert one == again != other


@given(st.lists(st.integers(0, 40), min_size=15, max_size=30).map(lambda times: times * 2))
@settings(max_examples=40, deadline=None)
def test_time_leaks_nothing(times: list[int]) -> None:
    try:
        parts = split_of("time", len(times), t=times)
    except UserError as error:
        assume("part is empty" not in str(error))  # too many equal ones at a border
        raise
    train, dev, test = ([times[i] for i in parts[part]] for part in (TRAIN, DEV, TEST))
    assert max(train) < min(dev) <= max(dev) < min(test)  # so that equal ones are together
    assert sorted(train + dev + test) == sorted(times)


def test_time_gives_exact_shares_where_no_two_are_equal() -> None:
    times = np.random.default_rng(0).permutation(100).tolist()
    parts = split_of("time", 100, t=[f"{t / 4}" for t in times])  # text, as of a CSV
    assert sorted(times[i] for i in parts[TRAIN]) == list(range(70))
    assert sorted(times[i] for i in parts[DEV]) == list(range(70, 80))


def test_no_group_is_in_two_parts() -> None:
    groups = np.random.default_rng(0).integers(0, 20, 400).tolist()
    one, again, other = (split_of("group", 400, seed=seed, g=groups) for seed in (0, 0, 1))
    of = [{groups[i] for i in rows} for rows in one.values()]
    assert [len(part) for part in of] == [14, 2, 4]
    assert set.union(*of) == set(range(20))
    assert one == again != other


def test_rows_of_no_group_are_in_none(tmp_path: Path) -> None:
    found = of_rows(
        Schema(["u"], split="part", group="g"),
        label=[0] * 4, u=["a"] * 4, g=["x", None, "", "x"], part=["train", "dev", "test", "test"],
    )  # fmt: skip
    assert [found.samples[part].groups.tolist() for part in (TRAIN, DEV, TEST)] == [[0], [-1], [-1, 0]]
    plain = of_rows(replace(SCHEMA, group=None, numeric={}, sequence={}, categorical=["u"], label="y"), y=[0] * 3,
                    u=["a"] * 3, part=["train", "dev", "test"])  # fmt: skip
    assert [plain.samples[part].groups for part in (TRAIN, DEV, TEST)] == [None, None, None]

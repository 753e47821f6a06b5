"""Original ids to rows and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_vq.errors import UserError
from lightning_vq.serving.ids import Ids


def made(keys: list[object]) -> Ids:
    array = np.array(keys) if isinstance(keys[0], int) else np.array([str(key).encode() for key in keys])
    return Ids(array, np.argsort(array, kind="stable").astype(np.int32))


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=40, unique=True), st.integers(-(2**62), 2**62))
def test_numbers(keys: list[int], other: int) -> None:
    ids = made(list(keys))
    assert ids.rows(keys).tolist() == list(range(len(keys)))
    assert ids.rows([other]).tolist() == [keys.index(other) if other in keys else -1]
    assert ids.ids(np.arange(len(keys))) == keys


@given(st.lists(st.text(max_size=6).filter(lambda text: not text.endswith("\0")), min_size=1, max_size=40, unique=True))
def test_text(keys: list[str]) -> None:
    keys = [key for key in keys if key.isprintable()] or ["a"]
    ids = made(list(keys))
    assert ids.rows(keys).tolist() == list(range(len(keys)))
    assert ids.rows([key + "x" for key in keys if key + "x" not in keys]).tolist() == [-1] * len(
        [key for key in keys if key + "x" not in keys]
    )
    assert ids.ids(np.arange(len(keys))) == keys


def test_numbers_may_come_as_text_and_nothing_else() -> None:
    ids = made([5, 70, 3])
    assert ids.rows(["70", "5"]).tolist() == [1, 0]
    assert ids.rows(np.array([3, 4])).tolist() == [2, -1]
    assert ids.rows([]).tolist() == []
    for strange in ("seventy", 7.5, None):
        with pytest.raises(UserError, match=f"whole numbers, and {strange!r} is none"):
            ids.rows(["5", strange])

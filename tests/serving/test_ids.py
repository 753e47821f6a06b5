"""Original ids to rows and back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_vq.errors import UserError
from lightning_vq.export.writer import _write_ids
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
    assert ids.rows([np.int32(3), np.str_("5")]).tolist() == [2, 0]
    assert ids.rows([]).tolist() == []
    assert ids.rows(np.array([3.0, np.nan, 70.0, 5.5, np.inf])).tolist() == [2, -1, 1, -1, -1]  # a column with a gap
    strange = ["seventy", 7.5, "5.0", None, "05", "+5", " 5", "\uff15", True, 10**30, str(10**30), "-0", "5\0"]
    assert ids.rows([*strange, "5"]).tolist() == [-1] * len(strange) + [0]


def test_a_text_is_no_other() -> None:
    ids = made(["u0", "7"])
    assert ids.rows(["u0\0", "u0", 7, 7.0, "07"]).tolist() == [-1, 0, 1, -1, -1]
    with pytest.raises(UserError, match=r"'u0' is one id where several are asked for: \['u0'\]"):
        ids.rows("u0")
    with pytest.raises(UserError, match="7 is one id where several are asked for"):
        ids.rows(7)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"ids of shape \(2, 1\) where a list of them is asked for"):
        ids.rows(np.array([["u0"], ["u1"]]))


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([2**63 + i for i in range(5)], pa.uint64()),
        pa.array([7, 250, 3, 0, 9], pa.uint8()),
        pa.array([7.0, 0.5, -3.0, 1e300, 2.25]),
        pa.array([True, False]),
        pa.array([b"u0", b"\xff", b"a", b"b", b"c"]),
    ],
    ids=str,
)
def test_ids_of_any_type_are_found_again(ids: pa.Array, tmp_path: Path) -> None:
    told = _write_ids(tmp_path, "item", ids)
    found = Ids(np.load(tmp_path / told["ids"]), np.load(tmp_path / told["order"]))
    assert found.rows(ids.to_pylist()).tolist() == list(range(len(ids)))


@pytest.mark.parametrize("ids", [pa.array([1, None, 3]), pa.array(["a", None])], ids=str)
def test_a_missing_id_is_refused(ids: pa.Array, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 ids of item are missing"):
        _write_ids(tmp_path, "item", ids)


def test_an_id_that_would_widen_all_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"an id of item takes 5,000 bytes, .* begins with 'xx"):
        _write_ids(tmp_path, "item", pa.array(["a", "x" * 5000]))

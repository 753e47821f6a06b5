"""Codes packed without gaps, read back anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_vq.errors import UserError
from lightning_vq.serving.packing import pack, packed_bytes, unpack


@given(st.integers(0, 16), st.integers(1, 70), st.integers(1, 9), st.integers(0, 2**32))
def test_what_was_packed_is_read(bits: int, rows: int, width: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 1 << bits, (rows, width))
    packed = pack(codes, bits)
    assert packed.dtype == np.uint8
    assert len(packed) == packed_bytes(rows, width, bits) == -(-rows * width * bits // 8)
    wanted = draw.integers(0, rows, 5)
    assert np.array_equal(unpack(packed, wanted, rows, width, bits), codes[wanted])
    first, last = sorted(draw.integers(0, rows + 1, 2).tolist())
    assert np.array_equal(unpack(packed, slice(first, last), rows, width, bits), codes[first:last])


@pytest.mark.parametrize(("bits", "width"), [(6, 64), (8, 64), (16, 4), (5, 3), (12, 2), (1, 1)])
def test_more_rows_than_are_packed_at_a_time(bits: int, width: int) -> None:
    rows = (1 << 22) // (width * bits) + 1001
    codes = np.random.default_rng(0).integers(0, 1 << bits, (rows, width))
    packed = pack(codes, bits)
    ends = np.array([0, rows // 2, rows - 2, rows - 1])
    assert np.array_equal(unpack(packed, ends, rows, width, bits), codes[ends])
    assert np.array_equal(unpack(packed, slice(rows - 9, rows), rows, width, bits), codes[-9:])


def test_by_hand() -> None:
    # 3, 1, 2 and 0 of two bits each, lowest first: 0b00_10_01_11
    assert pack(np.array([[3, 1], [2, 0]]), 2).tolist() == [0b00100111]


def test_codes_of_more_than_16_bits_are_refused() -> None:
    with pytest.raises(UserError, match="codes of 17 bits: an artifact holds 16 at most"):
        pack(np.zeros((3, 2), np.int64), 17)

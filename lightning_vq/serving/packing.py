"""Codes of b bits each, one after the other without gaps, lowest bit first.

Shapes: N rows of S codes, M wanted rows.
"""

from math import gcd
from typing import Any

import numpy as np

from lightning_vq.errors import UserError

Array = np.ndarray[Any, Any]

BLOCK = 1 << 22  # bits that `pack` spreads out at a time


def packed_bytes(rows: int, width: int, bits: int) -> int:
    """Return the bytes of rows of `width` codes of some bits each.

    >>> packed_bytes(10, 3, 6)  # 180 bits
    23
    """
    return -(-rows * width * bits // 8)


def code_type(bits: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type that holds codes of 0 to 16 bits."""
    return np.uint8 if bits <= 8 else np.uint16


def pack(codes: Array, bits: int) -> Array:
    """Return the bytes uint8 of codes (N, S) below 2^bits, bits from 0 to 16.

    Raises:
        UserError: more bits.
    """
    if bits > 16:
        raise UserError(f"codes of {bits} bits: an artifact holds 16 at most, 65,536 codes of a codebook")
    rows, width = codes.shape
    made = np.zeros(packed_bytes(rows, width, bits), np.uint8)
    if not made.size:
        return made
    step = max(8, BLOCK // (width * bits) // 8 * 8)  # so many rows are whole bytes
    for first in range(0, rows, step):
        part = codes[first : first + step].astype(np.uint16)
        spread = (part[:, :, None] >> np.arange(bits, dtype=np.uint16)) & 1
        packed = np.packbits(spread.astype(np.uint8).reshape(-1), bitorder="little")
        at = first * width * bits // 8
        made[at : at + len(packed)] = packed
    return made


def unpack(packed: Array, rows: Array | slice, count: int, width: int, bits: int) -> Array:
    """Return the codes (M, S) of some rows; the bytes may be mapped from a file.

    Args:
        packed: uint8, see `pack`.
        rows: (M,) int64, or a slice of step 1.
        count: N, all rows there are.
        width: S.
        bits: of a code.
    """
    if isinstance(rows, slice):
        first, last, _ = rows.indices(count)
    if bits == 0:
        return np.zeros((last - first if isinstance(rows, slice) else len(rows), width), np.uint8)
    if width * bits % 8 == 0:  # a row is whole bytes
        stride = width * bits // 8
        if isinstance(rows, slice):
            window = packed[first * stride : last * stride].reshape(-1, stride)
        else:
            window = packed.reshape(count, stride)[rows]
        if bits == 8:
            return np.asarray(window)
        if bits == 16:
            return np.ascontiguousarray(window).view("<u2")
        period = 8 // gcd(bits, 8)  # codes that fill whole bytes
        if width % period == 0:
            return _unpack_periods(np.asarray(window), period, bits)
    places = np.arange(first, last) if isinstance(rows, slice) else rows.astype(np.int64)  # their bits are beyond int32
    return _unpack_anywhere(packed, places[:, None] * (width * bits) + np.arange(width) * bits, bits)


def _unpack_periods(window: Array, period: int, bits: int) -> Array:
    """Return the codes of rows (M, bytes) in which each `period` of them fills whole bytes."""
    size = period * bits // 8
    groups = window.reshape(len(window), window.shape[1] // size, size)
    made = np.empty((*groups.shape[:2], period), code_type(bits))
    for i in range(period):
        byte, shift = divmod(i * bits, 8)
        value = groups[:, :, byte].astype(np.uint32)
        for more in range(1, (shift + bits - 1) // 8 + 1):
            value |= groups[:, :, byte + more].astype(np.uint32) << np.uint32(8 * more)
        made[:, :, i] = (value >> np.uint32(shift)) & np.uint32((1 << bits) - 1)
    return made.reshape(len(window), groups.shape[1] * period)


def _unpack_anywhere(packed: Array, starts: Array, bits: int) -> Array:
    """Return the codes that begin at bits (M, S)."""
    byte, shift = starts >> 3, (starts & 7).astype(np.uint32)
    value = packed[byte].astype(np.uint32)
    for more in range(1, (bits + 6) // 8 + 1):  # beyond the end nothing of a code is left
        value |= packed.take(byte + more, mode="clip").astype(np.uint32) << np.uint32(8 * more)
    return ((value >> shift) & np.uint32((1 << bits) - 1)).astype(code_type(bits))

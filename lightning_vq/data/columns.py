"""Columns of a table as numbers: ids by first appearance, labels, numbers; what cannot be one is told with its row.

Shapes: E rows of a batch, V values of a vocabulary, T values of a sequence.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.feed import Part
from lightning_vq.sources.interactions import Array

NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
PARTS = ("train", "dev", "test")


class Ids:
    """The values that columns of one vocabulary have shown so far, numbered by first appearance."""

    def __init__(self) -> None:
        self.values: pa.Array | None = None  # (V,)

    def __len__(self) -> int:
        return 0 if self.values is None else len(self.values)

    def of(self, kept: Array) -> pa.Array:
        """Return some of the values, by flags (V,)."""
        assert self.values is not None
        return self.values.filter(pa.array(kept))

    def codes(self, part: Part, name: str, column: pa.Array) -> Array:
        """Return the number (E,) int32 of each value; -1 where it is missing or the empty text.

        Raises:
            UserError: values that are no ids.
        """
        encoded = _ids(part, name, column).dictionary_encode()
        values = encoded.dictionary
        known = pa.nulls(len(values), pa.int32()) if self.values is None else pc.index_in(values, self.values)
        empty = pc.equal(values, "") if pa.types.is_string(values.type) else pa.repeat(False, len(values))
        new = pc.and_(pc.is_null(known), pc.invert(empty))
        numbers = np.full(len(values) + 1, -1, np.int32)  # the last is of what is missing
        numbers[:-1] = pc.fill_null(known, -1).to_numpy()
        fresh = new.to_numpy(zero_copy_only=False)
        numbers[:-1][fresh] = len(self) + np.arange(fresh.sum())
        added = values.filter(new)
        self.values = added if self.values is None else pa.concat_arrays([self.values, added])
        return numbers[pc.fill_null(encoded.indices, -1).to_numpy()]


def _ids(part: Part, name: str, column: pa.Array) -> pa.Array:
    """Return a column of ids as int64 or text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):  # whole numbers beside gaps, as pandas has them
        column = pc.if_else(pc.is_nan(column), None, column)
        fraction = pc.fill_null(pc.not_equal(column, pc.floor(column)), False).to_numpy(zero_copy_only=False)
        if fraction.any():
            i = int(fraction.argmax())
            raise UserError(
                f"{part.at(i)}: the categorical column {name!r} holds {column[i].as_py()}, which is no id; "
                f"a numeric column belongs to data.init_args.schema.numeric"
            )
        return column.cast(pa.int64())
    if (
        pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
    ):
        return column.cast(pa.string())
    raise UserError(f"{part.where}: the column {name!r} holds {kind}; ids must be numbers or text")


def numbers(part: Part, name: str, column: pa.Array) -> Array:
    """Return a column (E,) as float64, NaN where nothing stands.

    Raises:
        UserError: a row with something else.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.if_else(pc.equal(column, ""), None, column)
        try:
            column = pc.utf8_trim_whitespace(column).cast(pa.float64())
        except pa.ArrowInvalid:
            wrong = ~pc.fill_null(pc.match_substring_regex(column, NUMBER), True).to_numpy(zero_copy_only=False)
            i = int(wrong.argmax())
            raise UserError(f"{part.at(i)}: the column {name!r} holds {column[i].as_py()!r}, not a number") from None
    try:
        return pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        raise UserError(f"{part.where}: the column {name!r} holds {column.type}, not numbers") from None


def labels(part: Part, name: str, column: pa.Array, above: float | None) -> Array:
    """Return the labels (E,) int8.

    Raises:
        UserError: a row without one, or with another than 0 and 1 where no threshold makes it one.
    """
    values = numbers(part, name, column)
    wrong = np.isnan(values) if above is not None else ~np.isin(values, (0.0, 1.0))
    if wrong.any():
        i = int(wrong.argmax())
        if np.isnan(values[i]):
            raise UserError(f"{part.at(i)}: the label {name!r} is missing")
        raise UserError(
            f"{part.at(i)}: the label {name!r} is {values[i]:g}; it must be 0 or 1 "
            "(or give data.init_args.schema.label_above, and a label is 1 above that)"
        )
    return (values > (0.0 if above is None else above)).astype(np.int8)


def parts_of(part: Part, name: str, column: pa.Array) -> Array:
    """Return the place (E,) int8 of each row's split in "train", "dev", "test".

    Raises:
        UserError: a row with another word.
    """
    text = column.cast(pa.string())
    found = pc.index_in(text, pa.array(PARTS))
    if found.null_count:
        i = int(pc.is_null(found).to_numpy(zero_copy_only=False).argmax())
        word = text[i].as_py()
        raise UserError(f"{part.at(i)}: the column {name!r} holds {word!r}{nearest(str(word), PARTS)}, not {PARTS}")
    return found.to_numpy().astype(np.int8)


def sequences(part: Part, name: str, column: pa.Array, ids: Ids, separator: str, length: int) -> Array:
    """Return the numbers (E, T) int32 of the last T values of each row, -1 after the last."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.split_pattern(pc.utf8_trim_whitespace(column), separator)
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise UserError(f"{part.where}: the sequence column {name!r} holds {column.type}, neither text nor lists")
    codes = ids.codes(part, name, pc.list_flatten(column))
    owners = pc.list_parent_indices(column).to_numpy()
    owners, codes = owners[codes >= 0], codes[codes >= 0]
    lengths = np.bincount(owners, minlength=len(column))
    places = np.arange(len(owners)) - np.repeat(lengths.cumsum() - lengths, lengths)
    places -= np.repeat(np.maximum(lengths - length, 0), lengths)  # the last ones stay
    out = np.full((len(column), length), -1, np.int32)
    out[owners[places >= 0], places[places >= 0]] = codes[places >= 0]
    return out

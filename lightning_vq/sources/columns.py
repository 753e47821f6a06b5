"""Columns of a table as numbers: ids by first appearance, labels, numbers; what cannot be one is told with its row.

Shapes: E rows of a batch, V values of a vocabulary, T values of a sequence.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.feed import Part
from lightning_vq.sources.interactions import Array

EXACT = 2.0**53  # beyond it not every whole number is a float64
PARTS = ("train", "dev", "test")


class Ids:
    """The values that a column has shown so far, numbered by first appearance."""

    def __init__(self) -> None:
        self.values = pa.array([], pa.string())  # (V,)

    def __len__(self) -> int:
        return len(self.values)

    def codes(self, part: Part, name: str, column: pa.Array, rows: Array | None = None) -> Array:
        """Return the number (E,) int32 of each value; -1 where it is missing or the empty text.

        Args:
            part: where the values stand.
            name: of their column.
            column: (E,).
            rows: (E,) of the part that each value is from; None: one of each row.

        Raises:
            UserError: values that are no ids.
        """
        encoded = _ids(part, name, column, rows).dictionary_encode()
        values = encoded.dictionary
        known = pc.index_in(values, self.values) if len(self) else pa.nulls(len(values), pa.int32())
        empty = pc.equal(values, "") if pa.types.is_string(values.type) else pa.repeat(False, len(values))
        new = pc.and_(pc.is_null(known), pc.invert(empty))
        numbers = np.full(len(values) + 1, -1, np.int32)  # the last is of what is missing
        numbers[:-1] = pc.fill_null(known, -1).to_numpy()
        fresh = new.to_numpy(zero_copy_only=False)
        numbers[:-1][fresh] = len(self) + np.arange(fresh.sum())
        added = values.filter(new)
        self.values = pa.concat_arrays([self.values, added]) if len(self) else added
        return numbers[pc.fill_null(encoded.indices, -1).to_numpy()]


def joined(vocab_of: Mapping[str, str], ids: Mapping[str, Ids]) -> tuple[dict[str, pa.Array], dict[str, Array]]:
    """Return the values (V,) of each vocabulary, and of each column the place there of the values it has shown.

    Values of a vocabulary's first column come first: numbers must not depend on how many rows are read at a time.

    Args:
        vocab_of: column -> its vocabulary.
        ids: column -> what it has shown.
    """
    whole: dict[str, pa.Array] = {}
    for vocab in vocab_of.values():
        kinds = {ids[name].values.type for name, of in vocab_of.items() if of == vocab and len(ids[name])}
        whole[vocab] = pa.array([], kinds.pop() if len(kinds) == 1 else pa.string())  # text: numbers here, text there
    places = {}
    for name, vocab in vocab_of.items():
        values = ids[name].values.cast(whole[vocab].type)
        new = values.filter(pc.is_null(pc.index_in(values, whole[vocab])))
        whole[vocab] = pa.concat_arrays([whole[vocab], new])
        places[name] = pc.index_in(values, whole[vocab]).to_numpy()
    return whole, places


def _ids(part: Part, name: str, column: pa.Array, rows: Array | None) -> pa.Array:
    """Return a column of ids as int64 or text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_integer(kind):
        return column.cast(pa.string() if pa.types.is_uint64(kind) else pa.int64())  # a hash may be above int64
    if pa.types.is_floating(kind):  # whole numbers beside gaps, as pandas has them
        column = pc.if_else(pc.is_nan(column), None, column)
        whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less_equal(pc.abs(column), EXACT))
        wrong = ~pc.fill_null(whole, True).to_numpy(zero_copy_only=False)
        if wrong.any():
            i = int(wrong.argmax())
            where = part.at(i if rows is None else int(rows[i]))
            raise UserError(
                f"{where}: the column of ids {name!r} holds {column[i].as_py()}, which is no id; "
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
    """Return a column (E,) as float64, NaN where nothing stands or "nan" does.

    Raises:
        UserError: a row with something else.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
        if not _are_numbers(column):
            i = _first_wrong(column)
            raise UserError(f"{part.at(i)}: the column {name!r} holds {column[i].as_py()!r}, not a number")
    try:
        found: Array = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        raise UserError(f"{part.where}: the column {name!r} holds {column.type}, not numbers") from None
    infinite = np.isinf(found)
    if infinite.any():  # of which there is neither mean nor deviation
        i = int(infinite.argmax())
        raise UserError(f"{part.at(i)}: the column {name!r} holds {column[i].as_py()!r}, which is not finite")
    return found


def _are_numbers(text: pa.Array) -> bool:
    try:
        text.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _first_wrong(text: pa.Array) -> int:
    """Return the first row that is no number of a column of text that has one."""
    low, high = 0, len(text)  # it is one of these
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _are_numbers(text.slice(low, middle - low)) else (low, middle)
    return low


def labels(part: Part, name: str, column: pa.Array, above: float | None, drop: Sequence[float]) -> tuple[Array, Array]:
    """Return the labels (E,) int8, and which rows (E,) are not to be dropped.

    Raises:
        UserError: a row that stays without one, or with another than 0 and 1 where no threshold makes it one.
    """
    values = numbers(part, name, column)
    kept = ~np.isin(values, drop)
    wrong = kept & (np.isnan(values) if above is not None else ~np.isin(values, (0.0, 1.0)))
    if wrong.any():
        i = int(wrong.argmax())
        if np.isnan(values[i]):
            raise UserError(f"{part.at(i)}: the label {name!r} is missing")
        raise UserError(
            f"{part.at(i)}: the label {name!r} is {values[i]:g}; it must be 0 or 1 "
            "(or give data.init_args.schema.label_above, and a label is 1 above that)"
        )
    return (values > (0.0 if above is None else above)).astype(np.int8), kept


def parts_of(part: Part, name: str, column: pa.Array) -> Array:
    """Return the place (E,) int8 of each row's split in "train", "dev", "test".

    Raises:
        UserError: a row with another word.
    """
    try:
        text = column.cast(pa.string())
    except pa.ArrowException:
        raise UserError(f"{part.where}: the column {name!r} holds {column.type}, not {', '.join(PARTS)}") from None
    found = pc.index_in(text, pa.array(PARTS))
    if found.null_count:
        i = int(pc.is_null(found).to_numpy(zero_copy_only=False).argmax())
        word = text[i].as_py() or ""
        raise UserError(f"{part.at(i)}: unknown split {word!r} in the column {name!r}{nearest(word, PARTS)}")
    return found.to_numpy().astype(np.int8)


def sequences(part: Part, name: str, column: pa.Array, ids: Ids, separator: str, length: int) -> Array:
    """Return the numbers (E, T) int32 of the last T values of each row, -1 after the last."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.split_pattern(pc.utf8_trim_whitespace(column), separator)
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise UserError(f"{part.where}: the sequence column {name!r} holds {column.type}, neither text nor lists")
    owners = pc.list_parent_indices(column).to_numpy()
    codes = ids.codes(part, name, pc.list_flatten(column), owners)
    owners, codes = owners[codes >= 0], codes[codes >= 0]
    lengths = np.bincount(owners, minlength=len(column))
    places = np.arange(len(owners)) - np.repeat(lengths.cumsum() - lengths, lengths)
    places -= np.repeat(np.maximum(lengths - length, 0), lengths)  # the last ones stay
    out = np.full((len(column), length), -1, np.int32)
    out[owners[places >= 0], places[places >= 0]] = codes[places >= 0]
    return out

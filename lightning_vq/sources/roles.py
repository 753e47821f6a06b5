"""Columns of a user's table by the role they play, each brought to a kind that everything after it can count on.

Shapes: E rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest

NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
DATE = r"^\d{4}-\d\d-\d\d"
TIMES = (pa.timestamp("us"), pa.timestamp("us", tz="UTC"))  # without a zone, and with one in all rows


def columns_by_role(
    path: Path, table: pa.Table, columns: Mapping[str, str], roles: Sequence[str], required: Sequence[str]
) -> pa.Table:
    """Return the columns of a table that have a role, named by it.

    Args:
        path: where the table comes from, for messages.
        table: (E) as read.
        columns: {role: name in the table}; a role that is not given is looked for under its own name.
        roles: all there are.
        required: those that must be there, as those in `columns` must.

    Raises:
        UserError: an unknown role, a column that is not there, stands twice or has two roles.
    """
    chosen = dict(columns)
    for role in chosen:
        if role not in roles:
            raise UserError(f"columns: there is no role {role!r}{nearest(role, roles)}")
        if list(chosen.values()).count(chosen[role]) > 1:
            raise UserError(f"columns: {chosen[role]!r} has two roles; each needs a column of its own")
    for role in roles:
        wanted = role in required or role in chosen
        name = chosen.setdefault(role, role)
        if name not in table.column_names:
            if wanted:
                raise UserError(
                    f"{path}: there is no column {name!r} for the {role}{nearest(name, table.column_names)} "
                    f"(--data.init_args.columns.{role}=NAME)"
                )
            del chosen[role]
        elif table.column_names.count(name) > 1:
            raise UserError(f"{path}: the column {name!r} for the {role} stands more than once in the header")
    return pa.table({role: _plain(path, role, table[name]) for role, name in chosen.items()})


def _plain(path: Path, role: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of numbers or text; dictionaries are dissolved, since they may list ids that no row has."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise UserError(f"{path}: the {role} column holds {kind}; it must hold numbers or UTF-8 text")
    return column


def _casts(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        return bool(value.cast(kind) is not None)
    except pa.ArrowInvalid:
        return False


def _times(text: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return dates and times as microseconds; None if one is none, or of another form than the others."""
    for kind in TIMES:
        try:
            return text.cast(kind).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
    return None


def _first_no_time(text: pa.ChunkedArray) -> int:
    """Return the first row that is no date or time of the form that most have."""
    right = [np.array([_casts(one, kind) for one in text]) for kind in TIMES]
    return int(max(right, key=np.sum).argmin())


def whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text ids as integers if every one of them is written as an integer is: "7", but not "007"."""
    if (
        not pa.types.is_string(column.type)
        or not pc.all(pc.match_substring_regex(column, r"^(0|-?[1-9]\d{0,17})$")).as_py()
    ):
        return column
    return column.cast(pa.int64())


def with_numbers(where: str, table: pa.Table, role: str) -> pa.Table:
    """Return the table with a column as numbers; times are numbers of microseconds.

    Args:
        where: file the table comes from, for messages.
        table: (E) columns of `role` and "row" (for messages).
        role: of the column.

    Raises:
        UserError: a row that holds something else, or nothing.
    """
    column = table[role]
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        number, date = (pc.fill_null(pc.match_substring_regex(text, form), True).to_numpy() for form in (NUMBER, DATE))
        wrong = None
        dates = role == "timestamp" and date.sum() > number.sum()  # with one that is none, else they would be read
        if dates and (column := _times(text)) is None:
            wrong = _first_no_time(text)
        elif not dates and not number.all():
            wrong = int(number.argmin())
        if wrong is not None:
            form = "a number, or all of them as 2024-01-31 01:06," if role == "timestamp" else "a number,"
            raise UserError(
                f"{where}, row {table['row'][wrong]}: the {role} must be {form} not {text[wrong].as_py()!r}"
            )
        if not dates:
            whole = pc.all(pc.match_substring_regex(text, r"^-?\d{1,18}$")).as_py()
            column = text.cast(pa.int64() if whole else pa.float64())  # 2^53 and above are not numbers of float64
    missing = np.flatnonzero(pc.is_null(column, nan_is_null=True).to_numpy())
    if len(missing):
        row = table["row"][int(missing[0])]
        raise UserError(f"{where}, row {row}: the {role} is missing or NaN ({len(missing)} such rows)")
    return table.set_column(table.column_names.index(role), role, column)

"""LightGCN's folders: train.txt and test.txt, each line `user item item ...`; a user may have no items.

LightGCN's authors have no dev part: they choose the epoch on test, which is refused here. Instead, one training item of
each user with at least 5 of them is held out as dev, drawn by a fixed seed and the order of the lines; a model trains
on that much less than theirs did. Shapes: L lines, E interactions.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import interactions_of
from lightning_vq.sources.interactions import Array, Interactions
from lightning_vq.sources.parts import labels

FILES = ("train.txt", "test.txt")
LEAST, SEED = 5, 0  # training items of a user who gives one to dev, and which


def read_lightgcn(
    folder: Path, columns: Mapping[str, str] | None = None, min_rating: float | None = None, duplicates: str = "refuse"
) -> Interactions:
    """Read a folder as LightGCN's code does.

    Args:
        folder: holds FILES.
        columns, min_rating: must not be given, since the files have neither.
        duplicates: as of `read_interactions`, also for a pair in both files.

    Raises:
        UserError: what is not a number, a (user, item) twice in whichever files, no user for the dev part.
    """
    for name, value in (("columns", columns), ("min_rating", min_rating)):
        if value is not None:
            raise UserError(
                f"{folder}: LightGCN's files have no header and no ratings; leave out data.init_args.{name}"
            )
    tables = [_read(folder / name) for name in FILES]
    raw = interactions_of(str(folder), pa.concat_tables(tables), None, duplicates)
    return raw._replace(split=_with_dev(folder, raw))


def _read(path: Path) -> pa.Table:
    """Return columns user, item, row, split of a file."""
    lines = pc.utf8_trim_whitespace(pa.array(path.read_text(encoding="utf-8-sig", errors="replace").split("\n")))
    number = np.arange(1, 1 + len(lines))
    wrong = np.flatnonzero(~pc.match_substring_regex(lines, r"^(\d+(\s+\d+)*)?$").to_numpy(False))
    if len(wrong):
        told = repr(lines[int(wrong[0])].as_py()[:40])
        raise UserError(f"{path}, row {number[wrong[0]]}: a row must be numbers with blanks between them, not {told}")
    full = pc.not_equal(lines, "")
    lists = pc.utf8_split_whitespace(lines.filter(full))  # (L) the user and her items
    items = pc.list_slice(lists, 1)
    line = pc.list_parent_indices(items)  # (E,)
    return pa.table(
        {
            "user": pc.list_element(lists, 0).take(line),
            "item": pc.list_flatten(items),
            "row": labels(path, pa.array(number).filter(full).take(line)),
            "split": pa.repeat(path.stem, len(line)),
        }
    )


def _with_dev(folder: Path, raw: Interactions) -> Array:
    """Return the split (E,) with a dev part."""
    assert raw.split is not None
    train = np.flatnonzero(raw.split == "train")
    draw = np.random.default_rng([SEED, 4]).random(len(train))
    order = train[np.lexsort((draw, raw.users[train]))]
    users = raw.users[order]
    first = np.flatnonzero(np.diff(users, prepend=-1))
    chosen = order[first[np.bincount(users)[users[first]] >= LEAST]]
    if not len(chosen):
        raise UserError(f"{folder / FILES[0]}: no user has {LEAST} training items, of which one could be the dev part")
    split = raw.split.copy()
    split[chosen] = "dev"
    return split

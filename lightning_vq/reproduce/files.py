"""Where the parts of papers are: conf/papers/<paper>/<table or figure>.yaml, or a file of one's own; what they name."""

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from lightning_vq.errors import UserError, nearest

FOLDER = Path("conf/papers")
ALL = "all"  # the plan of them


def every_name() -> list[str]:
    """Return the names of all parts that are shipped.

    Raises:
        UserError: there are none here.
    """
    names = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.yaml"))
    if not names:
        raise UserError(f"there are no tables in {FOLDER}: run this in a clone of lightning_vq")
    return names


def part_file(name: str) -> Path:
    """Return the YAML of a name, or of a path.

    Raises:
        UserError: there is none.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        if name.endswith(".yaml"):
            raise UserError(f"there is no file {path}")
        raise UserError(f"there is no table {name!r}{nearest(name, [ALL, *every_name()])}")
    return path


def part_name(path: Path) -> str:
    """Return the name by which results are kept: cage/table2 of what is shipped, the file's own of others."""
    whole = path.resolve()
    within = whole.is_relative_to(FOLDER.resolve())
    return str(whole.relative_to(FOLDER.resolve()).with_suffix("")) if within else whole.stem


def digests(values: Iterable[Any], kind: Callable[[str], bool] = os.path.isfile) -> dict[str, str]:
    """Return a digest of each file among some values, such as settings or words of a command.

    Args:
        values: of any type.
        kind: os.path.exists, to have folders too.
    """
    return {value: digest(Path(value)) for value in values if isinstance(value, str) and kind(value)}


def digest(path: Path) -> str:
    """Return a digest of a file, or of all files in a folder and their names."""
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            stat = file.stat()
            whole.update(str(file.relative_to(path)).encode() + _of_content(file, stat.st_size, stat.st_mtime_ns))
    return whole.hexdigest()[:16]


@cache
def _of_content(file: Path, _size: int, _changed: int) -> bytes:
    """Return the digest of a file; one that is not changed is read once."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()

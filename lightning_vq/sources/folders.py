"""A folder that another framework made, as a source: its files tell whose it is, and it is read as it stands."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from lightning_vq.errors import UserError
from lightning_vq.sources import lightgcn, rechorus
from lightning_vq.sources.files import SUFFIXES
from lightning_vq.sources.interactions import Interactions
from lightning_vq.sources.lightgcn import read_lightgcn
from lightning_vq.sources.named import SOURCES
from lightning_vq.sources.recbole import read_recbole
from lightning_vq.sources.rechorus import read_rechorus


class Format(NamedTuple):
    """What a framework's folder looks like."""

    name: str
    patterns: tuple[str, ...]  # of which all must be there
    read: Callable[[Path, Mapping[str, str] | None, float | None, str], Interactions]


FORMATS = (
    Format("ReChorus", rechorus.FILES, read_rechorus),
    Format("RecBole", ("*.inter",), read_recbole),
    Format("LightGCN", lightgcn.FILES, read_lightgcn),
)


def is_folder(source: str) -> bool:
    """Return whether a source is a folder: not a file, and not a named source that has a folder of its name here."""
    named = source == "planted" or source in [one.name for one in SOURCES]
    return not named and not source.endswith(SUFFIXES) and (os.sep in source or Path(source).is_dir())


def is_path(source: str) -> bool:
    """Return whether a source is a file or folder of the user's: neither planted nor one known by name."""
    return source.endswith(SUFFIXES) or is_folder(source)


def format_of(folder: Path) -> Format:
    """Return the format of a folder.

    Raises:
        UserError: it is not there, or has the files of no format or of several.
    """
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}")
    found = [one for one in FORMATS if all(any(folder.glob(pattern)) for pattern in one.patterns)]
    if len(found) == 1:
        return found[0]
    told = ", ".join(f"{one.name} ({' and '.join(one.patterns)})" for one in found or FORMATS)
    if found:
        raise UserError(f"{folder}: holds the files of several formats: {told}; keep those of one")
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
    raise UserError(f"{folder}: of no known format; looked for {told}; there is {there}")


def read_folder(
    folder: Path, columns: Mapping[str, str] | None = None, min_rating: float | None = None, duplicates: str = "refuse"
) -> Interactions:
    """Read a folder of ReChorus, RecBole or LightGCN.

    Args:
        folder: as the framework made it.
        columns, min_rating, duplicates: as of `read_interactions`, where the format has columns and ratings.

    Raises:
        UserError: the format is not recognized, or the files are wrong.
    """
    return format_of(folder).read(folder, columns, min_rating, duplicates)

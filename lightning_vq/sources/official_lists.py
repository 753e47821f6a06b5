"""Unpacks lists as the authors of CAR (He et al., WSDM 2020) and of AttList (He et al., CIKM 2019) published them.

CAR: <Name>.txt.zip, a row `list item` for each entry, in the order of the list; <Name>_creator_list.dict, a Python dict
{list: creator} pickled as text. AttList: listItem_<name>.txt, a row `list<TAB>[item, item]` for each list.
"""

import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv


def unpack_car(fetched: Path, made: Path) -> None:
    """Unpack one data set of CAR, whichever was fetched."""
    (path,) = fetched.glob("*.txt.zip")
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".txt") and not name.startswith("__MACOSX")]
        reading = pyarrow.csv.ReadOptions(column_names=["list", "item"])
        with archive.open(name) as file:
            table = pyarrow.csv.read_csv(file, reading, pyarrow.csv.ParseOptions(delimiter=" "))
    _write(made / "interactions.csv.gz", _with_positions(table))
    (path,) = fetched.glob("*_creator_list.dict")
    # Not unpickled, which could run anything: int keys and values of a dict are lines I7 and I3, with an s after both.
    text = path.read_bytes().replace(b"\r\n", b"\n")
    pairs = re.findall(rb"I(\d+)\nI(\d+)\ns", text)
    if not re.fullmatch(rb"\(dp\d+\n(I\d+\nI\d+\ns)*\.\s*", text):
        raise ValueError(f"{path.name} is not a dict of numbers, pickled as text")
    lists, creators = np.array(pairs, dtype=bytes).reshape(-1, 2).astype(np.int64).T
    _write(made / "users.csv.gz", pa.table({"list": lists, "creator": creators}))


def unpack_attlist(fetched: Path, made: Path) -> None:
    """Unpack the playlists of AttList."""
    reading = pyarrow.csv.ReadOptions(column_names=["list", "items"])
    parsing = pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False)
    table = pyarrow.csv.read_csv(fetched / "listItem_spotify.txt", reading, parsing)
    text = pc.utf8_trim(table["items"].combine_chunks(), "[] ")
    lists = pc.split_pattern(pc.replace_substring(text, " ", ""), ",")
    owners = table["list"].combine_chunks().take(pc.list_parent_indices(lists))
    entries = pa.table({"list": owners, "item": pc.list_flatten(lists)})
    entries = entries.filter(pc.not_equal(entries["item"], ""))  # of a list that is []
    _write(
        made / "interactions.csv.gz", _with_positions(entries.set_column(1, "item", entries["item"].cast(pa.int64())))
    )


def _with_positions(table: pa.Table) -> pa.Table:
    """Return entries (E) of columns list, item with the place of each in its list, in the order of rows."""
    owners = table["list"].to_numpy()
    order = np.argsort(owners, kind="stable")
    first = np.searchsorted(owners[order], owners[order])
    positions = np.empty(len(owners), np.int64)
    positions[order] = np.arange(len(owners)) - first
    return pa.table({"list": table["list"], "position": positions, "item": table["item"]})


def _write(path: Path, table: pa.Table) -> None:
    with pa.output_stream(path, compression="gzip") as file:
        pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(quoting_style="needed"))

"""ml-1m-liked: what is rated 4 or 5, in the order that the files tell, with times or without."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from command import done

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions
from lightning_vq.sources.liked import read_liked


def packed(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))


def told(raw: Interactions) -> list[tuple[int, int]]:
    """Return (user, item) in time order, in the file's ids."""
    assert raw.order is not None
    order = np.argsort(raw.order, kind="stable")
    return [(raw.user_ids[raw.users[i]].as_py(), raw.item_ids[raw.items[i]].as_py()) for i in order]


def with_times(root: Path) -> Path:
    packed(root / "ml-1m" / "interactions.csv.gz", "user,item,rating,timestamp", "1,7,4,30", "1,8,3,10", "2,7,5,20")
    return root / "ml-1m"


def test_with_times(tmp_path: Path) -> None:
    assert told(read_liked(with_times(tmp_path))) == [(2, 7), (1, 7)]  # (1, 8) has 3 stars


def test_without_times_users_come_by_their_held_out_time(tmp_path: Path) -> None:
    packed(
        tmp_path / "ml-1m" / "interactions.csv.gz",
        "user,item,rating_ge3,rating_ge4", "1,5,1,1", "1,6,1,1", "1,7,1,0", "2,6,1,1", "2,5,1,1",
    )  # fmt: skip
    packed(
        tmp_path / "ml-1m" / "leave_one_out.csv.gz",
        "user,item,timestamp,split", "1,5,90,dev", "1,6,95,test", "2,6,40,dev", "2,5,99,test",
    )  # fmt: skip
    rows = ["1,6,0", "1,7,1", "1,5,2", "2,5,0", "2,6,1"]
    packed(tmp_path / "ml-1m-seq" / "interactions.csv.gz", "user,item,position", *rows)
    assert told(read_liked(tmp_path / "ml-1m")) == [(2, 5), (2, 6), (1, 6), (1, 5)]


def test_other_columns_are_refused(tmp_path: Path) -> None:
    packed(tmp_path / "interactions.csv.gz", "user,item", "1,5")
    with pytest.raises(UserError, match="neither rating and timestamp nor rating_ge4"):
        read_liked(tmp_path)


def test_data_info_counts_it(tmp_path: Path) -> None:
    with_times(tmp_path)
    said = done("data", "info", "ml-1m-liked", "--root", str(tmp_path), "--min-user", "1")
    assert "after     2 interactions, 2 users, 1 items" in said

"""Named sources as lists: what the data command says of them, and which have none."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from lightning_vq import data_command
from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.sources.list_sources import LISTS, list_source
from lightning_vq.sources.named import ROOT_VARIABLE, named_source

MEASURED = [name for name, source in LISTS.items() if source.reached]


def on_disk(name: str) -> Path:
    """Return a source's folder, or skip; a test never downloads."""
    folder = named_source(name).folder(None)
    if not os.environ.get(ROOT_VARIABLE) or not folder.is_dir():
        pytest.skip(f"{folder} is not there ({ROOT_VARIABLE} names the folder of real data)")
    return folder


@pytest.mark.parametrize("name", MEASURED)
def test_verify(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(name)
    data_command.main(["verify", name])
    source = LISTS[name]
    assert capsys.readouterr().out == f"{name}: {source.expected.told} with {source.kept.told}, as expected\n"


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    folder = on_disk("aotm")
    data_command.main(["info", "aotm"])
    out = capsys.readouterr().out
    found = "12,940 lists, 6,264 items, 162,106 entries, 12.53 a list"
    assert f"lies in   {folder}\n" in out
    assert "before    81,798 lists, 64,181 items, 1,030,596 entries, 12.60 a list\n" in out
    assert f"after     {found} (min_item=10, min_length=10, max_length=60)\nexpected  {found}\n" in out
    assert "halves    of 12,940 targets 12,940 have 5 or more, 559 have 10 or more" in out
    data_command.main(["info", "aotm", "--min-item", "5"])
    assert "(min_item=5, min_length=10, max_length=60)\na list " in capsys.readouterr().out
    with pytest.raises(
        UserError, match="--min-user says nothing of aotm; what does: --min-item, --min-length, --max-length"
    ):
        data_command.main(["info", "aotm", "--min-user", "5"])
    with pytest.raises(UserError, match="--figure says nothing of aotm"):
        data_command.main(["info", "aotm", "--figure", "often.png"])


def test_counts_that_are_not_expected(tmp_path: Path) -> None:
    (tmp_path / "aotm").mkdir()
    rows = [f"{one},{place},{item}" for one in range(10) for place, item in enumerate(range(10))]
    (tmp_path / "aotm" / "interactions.csv.gz").write_bytes(_gzipped(["list,position,item", *rows]))
    told = "aotm: 10 lists, 10 items, 100 entries, 10.00 a list; expected are 12,940 lists, 6,264 items"
    with pytest.raises(UserError, match=told):
        data_command.main(["verify", "aotm", "--root", str(tmp_path)])


def _gzipped(rows: list[str]) -> bytes:
    return gzip.compress(("\n".join(rows) + "\n").encode())


def test_list_and_info_where_nothing_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_command.main(["list", "--root", str(tmp_path)])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert all("to be downloaded" in lines[name] for name in LISTS)
    assert "to be put there" in lines["ml-1m-seq"]
    data_command.main(["info", "attlist-spotify", "--root", str(tmp_path)])
    out = capsys.readouterr().out
    assert "nowhere yet: python -m lightning_vq data download attlist-spotify" in out
    assert "expected  3,310 lists, 12,527 items, 261,708 entries, 79.07 a list" in out
    data_command.main(["info", "planted"])
    assert "\nlists     2,000 lists, 945 items, " in capsys.readouterr().out


@pytest.mark.parametrize(("name", "users", "items"), [("ml-1m-seq", 6_038, 3_307), ("amazon-toys", 19_412, 11_924)])
def test_histories_of_ordered_sources(name: str, users: int, items: int) -> None:
    on_disk(name)
    raw = list_source(name, None)
    assert raw.counts[:2] == (users, items)
    assert raw.item_metadata is not None
    interactions = named_source(name).read(on_disk(name))
    mine = interactions.users == 5
    by_position = interactions.items[mine][np.argsort(interactions.order[mine])]
    assert raw.items[raw.starts[5] : raw.starts[6]].tolist() == by_position.tolist()


def test_histories_of_ml_100k_end_where_leave_one_out_does() -> None:
    on_disk("ml-100k")
    raw = list_source("ml-100k", None)
    data = CollaborativeData("ml-100k")
    data.setup()
    users, items = data.parts[2]
    assert users.tolist() == list(range(943))
    assert raw.items[raw.starts[1:] - 1].tolist() == items.tolist()


def test_what_has_no_lists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="frappe has neither lists nor interactions in an order; choose from"):
        list_source("frappe", str(tmp_path))
    with pytest.raises(UserError, match="there is no source 'aotn'; did you mean 'aotm'"):
        list_source("aotn", str(tmp_path))
    with pytest.raises(UserError, match=r"ml-1m-seq cannot be downloaded: .* Put there interactions\.csv\.gz"):
        list_source("ml-1m-seq", str(tmp_path))
    (tmp_path / "aotm").mkdir()
    with pytest.raises(
        UserError, match=r"aotm holds lists of items \(lightning_vq\.data\.ListData\), not interactions"
    ):
        CollaborativeData("aotm", str(tmp_path)).setup()
    with pytest.raises(UserError, match=r"aotm lacks interactions\.csv\.gz"):
        list_source("aotm", str(tmp_path))


def test_ml_1m_without_times(tmp_path: Path) -> None:
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "interactions.csv.gz").write_bytes(_gzipped(["user,item", "1,2"]))
    with pytest.raises(UserError, match="histories need times or positions, and this source has none"):
        list_source("ml-1m", str(tmp_path))

"""MIND by hand: official archives to three tables, and those to samples with a split."""

import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from lightning_vq import data_command
from lightning_vq.errors import UserError
from lightning_vq.sources.clicks import CLICKS, Clicks, Tally, tally
from lightning_vq.sources.feed import Feed
from lightning_vq.sources.files import read_table
from lightning_vq.sources.mind import mind_clicks, unpack_mind
from lightning_vq.sources.named import from_local_files, named_source

TRAIN = (
    "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2 N1\tN3-1 N4-0\n"
    "2\tU2\t11/12/2019 12:00:01 PM\t\tN3-0 N5-1 N4-1\n"
    "3\tU1\t11/11/2019 12:30:00 AM\tN1 N2 N1\tN5-0\n"
)  # fmt: skip
DEV = (
    "1\tU3\t11/15/2019 11:00:00 PM\tN2\tN6-1 N3-0\n"
    "2\tU1\t11/15/2019 1:00:00 AM\tN1 N2 N1\tN6-0 N3-1\n"
)  # fmt: skip
NEWS = (
    'N{0}\tnews\tnewsus\tThe "old" mill, again\tabstract "\thttps://x\t[]\t[]\n'
    "N3\tsports\tgolf\tGolf\t\thttps://y\t[]\t[]\n"
)  # fmt: skip


def archive(path: Path, behaviors: str, news: str, folder: str = "") -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{folder}behaviors.tsv", behaviors)
        file.writestr(f"{folder}news.tsv", news)
        file.writestr(f"{folder}entity_embedding.vec", "Q1\t0.5\n")


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    archive(tmp_path / "MINDsmall_train.zip", TRAIN, NEWS.format(1), "MINDsmall_train/")
    archive(tmp_path / "MINDsmall_dev.zip", DEV, NEWS.format(2))  # whether there is a folder inside or not
    return tmp_path


def rows(feed: Feed, columns: list[str] | None = None) -> list[dict]:
    return pa.Table.from_batches([part.rows for part in feed.parts(columns or list(feed.columns))]).to_pylist()


def test_official_archives_become_three_tables(fetched: Path) -> None:
    folder = from_local_files(named_source("mind-small"), fetched, str(fetched / "root"))
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv.gz", "interactions.csv.gz", "items.csv.gz"]
    table = read_table(folder / "interactions.csv.gz", ["impression", "label"])
    assert table.column_names == ["impression", "user", "item", "label", "timestamp", "split"]
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("1", "U1", "N3", "1", 1573463158, "train"), ("1", "U1", "N4", "0", 1573463158, "train"),
        ("2", "U2", "N3", "0", 1573560001, "train"), ("2", "U2", "N5", "1", 1573560001, "train"),
        ("2", "U2", "N4", "1", 1573560001, "train"), ("3", "U1", "N5", "0", 1573432200, "train"),
        ("dev-1", "U3", "N6", "1", 1573858800, "test"), ("dev-1", "U3", "N3", "0", 1573858800, "test"),
        ("dev-2", "U1", "N6", "0", 1573779600, "dev"), ("dev-2", "U1", "N3", "1", 1573779600, "dev"),
    ]  # fmt: skip
    history = read_table(folder / "history.csv.gz", ["impression", "history"])
    assert history["impression"].to_pylist() == ["1", "2", "3", "dev-1", "dev-2"]
    assert history["history"].to_pylist() == ["N1 N2 N1", "", "N1 N2 N1", "N2", "N1 N2 N1"]
    items = read_table(folder / "items.csv.gz")
    assert items["item"].to_pylist() == ["N1", "N3", "N2"]  # N3 once
    assert items["title"].to_pylist() == ['The "old" mill, again', "Golf", 'The "old" mill, again']


def test_histories_are_training_pairs_each_once(fetched: Path) -> None:
    folder = from_local_files(named_source("mind-small"), fetched, str(fetched / "root"))
    feed, schema = mind_clicks(folder)
    feed.check(schema.columns("given"))
    found = rows(feed)
    assert len(found) == 10 + 3
    same = {"label": "1", "split": "train", "impression": None, "timestamp": None}
    assert found[10:] == [
        {"user": "U1", "item": "N1"} | same, {"user": "U1", "item": "N2"} | same, {"user": "U3", "item": "N2"} | same,
    ]  # fmt: skip
    assert tally(feed, schema) == (Tally(13, 5 + 3, {"user": 3, "item": 6}), {"train": 9, "dev": 2, "test": 2})
    assert [part.where for part in feed.parts(["item"])][-1] == f"{folder / 'history.csv.gz'}: pairs"
    assert rows(feed, ["split", "user"])[6] == {"split": "test", "user": "U3"}


def test_verify_counts_samples(
    fetched: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(fetched / "root")
    data_command.main(["download", "mind-small", "--files", str(fetched), "--root", root])
    with pytest.raises(
        UserError, match=r"13 samples, 8 clicked; user 3, item 6; expected are 9,993,270 samples, 1,756,"
    ):
        data_command.main(["verify", "mind-small", "--root", root])
    monkeypatch.setitem(CLICKS, "mind-small", Clicks(mind_clicks, Tally(13, 8, {"user": 3, "item": 6})))
    data_command.main(["verify", "mind-small", "--root", root])
    assert "mind-small: 13 samples, 8 clicked; user 3, item 6, as expected" in capsys.readouterr().out
    data_command.main(["info", "mind-small", "--root", root])
    assert "split     train 9, dev 2, test 2" in capsys.readouterr().out


@pytest.mark.parametrize("shown", ["N3-1 N4", "N3-2", ""])
def test_archives_of_something_else(fetched: Path, shown: str) -> None:
    archive(fetched / "MINDsmall_dev.zip", f"1\tU3\t11/15/2019 11:00:00 PM\tN2\t{shown}\n", NEWS.format(2))
    with pytest.raises(UserError, match=r"not the files that were expected: ValueError\('an impression holds"):
        from_local_files(named_source("mind-small"), fetched, str(fetched / "root"))
    archive(fetched / "MINDsmall_dev.zip", "1\tU3\tyesterday\tN2\tN3-1\n", NEWS.format(2))
    with pytest.raises(UserError, match="not the files that were expected"):
        from_local_files(named_source("mind-small"), fetched, str(fetched / "root"))
    assert list((fetched / "root").iterdir()) == []


def test_slices_of_the_log_are_one_table(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for size in (1, 2, 20_000):
        monkeypatch.setattr("lightning_vq.sources.mind.SLICE", size)
        (fetched / str(size)).mkdir()
        unpack_mind(fetched, fetched / str(size))
        texts.append(gzip.decompress((fetched / str(size) / "interactions.csv.gz").read_bytes()))
    assert texts[0] == texts[1] == texts[2]


def sample(folder: Path, times: list[int], history: str = "") -> Path:
    """Write impressions of two rows each at the given times, without a split."""
    lines = [f"{i},U{i % 3},N{j},{j},{time}" for i, time in enumerate(times) for j in (0, 1)]
    texts = {
        "interactions": "\n".join(["impression,user,item,label,timestamp", *lines, ""]),
        "history": f"impression,user,history\n{history}",
    }
    for name, text in texts.items():
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_impressions_without_a_split_are_cut_by_time(tmp_path: Path) -> None:
    feed, _ = mind_clicks(sample(tmp_path, [50, 90, 10, 30, 80, 60, 70, 20, 40, 90], "0,U0,\n0,U0, N7  N8 \n"))
    found = rows(feed, ["impression", "split"])
    split = {row["impression"]: row["split"] for row in found[:-2]}
    held = {"1": "dev", "9": "test"}  # both the latest: by name
    assert split == {str(i): held.get(str(i), "train") for i in range(10)}
    assert all(found[2 * i] == found[2 * i + 1] for i in range(10))  # whole impressions
    assert rows(feed, ["item", "user"])[-2:] == [{"item": "N7", "user": "U0"}, {"item": "N8", "user": "U0"}]


def test_no_histories_at_all(tmp_path: Path) -> None:
    assert len(rows(mind_clicks(sample(tmp_path, [1, 2]))[0])) == 4


def test_tables_that_lack_something(tmp_path: Path) -> None:
    sample(tmp_path, [1, 2])
    (tmp_path / "history.csv.gz").write_bytes(gzip.compress(b"impression,user,past\n"))
    with pytest.raises(UserError, match=r"history\.csv\.gz: there is no column 'history' \(of MIND\)"):
        mind_clicks(tmp_path)
    (tmp_path / "history.csv.gz").unlink()
    with pytest.raises(UserError, match=r"no file at .*history\.csv\.gz"):
        mind_clicks(tmp_path)
    sample(tmp_path, [1, 2])
    text = gzip.decompress((tmp_path / "interactions.csv.gz").read_bytes()).replace(b",2\n", b",soon\n")
    (tmp_path / "interactions.csv.gz").write_bytes(gzip.compress(text))
    with pytest.raises(UserError, match="'timestamp' holds string; it must hold whole numbers"):
        rows(mind_clicks(tmp_path)[0])

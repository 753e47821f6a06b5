"""Lists as their authors published them: unpacked from files made by hand, refused where they are something else."""

import io
import zipfile
from pathlib import Path

import pytest
from ragged import as_lists

from lightning_vq import data_command
from lightning_vq.errors import UserError
from lightning_vq.sources.list_sources import LISTS
from lightning_vq.sources.named import from_local_files, named_source

CREATORS = "(dp0\nI1\nI11\nsI2\nI12\nsI9\nI11\ns."


def zipped(texts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def fetched(folder: Path, text: str = "1 7\n1 5\n2 7\n1 7\n", creators: str = CREATORS, name: str = "Zhihu") -> Path:
    (folder / f"{name}.txt.zip").write_bytes(zipped({f"{name}.txt": text, f"__MACOSX/._{name}.txt": "\0"}))
    (folder / f"{name}_creator_list.dict").write_text(creators)
    return folder


@pytest.mark.parametrize(
    ("name", "their"), [("aotm", "AotM"), ("zhihu", "Zhihu"), ("spotify", "Spotify"), ("goodreads", "Goodreads")]
)
def test_lists_of_car(tmp_path: Path, name: str, their: str) -> None:
    folder = from_local_files(named_source(name), fetched(tmp_path, name=their), str(tmp_path / "root"))
    assert sorted(path.name for path in folder.iterdir()) == ["interactions.csv.gz", "users.csv.gz"]
    raw = LISTS[name].read(folder)
    assert as_lists(raw) == {1: [7, 5, 7], 2: [7]}  # in the order of rows, also where a list is broken up
    assert raw.creators.to_pylist() == [11, 12]


def test_an_empty_dict_of_creators(tmp_path: Path) -> None:
    folder = from_local_files(named_source("zhihu"), fetched(tmp_path, creators="(dp0\n."), str(tmp_path / "root"))
    assert LISTS["zhihu"].read(folder).creators.to_pylist() == [None, None]


def test_lists_of_attlist(tmp_path: Path) -> None:
    (tmp_path / "listItem_spotify.txt").write_text("0\t[19005, 49400, 19005]\n4\t[7]\n5\t[]\n")
    folder = from_local_files(named_source("attlist-spotify"), tmp_path, str(tmp_path / "root"))
    assert as_lists(LISTS["attlist-spotify"].read(folder)) == {0: [19005, 49400, 19005], 4: [7]}


@pytest.mark.parametrize(
    ("text", "creators"),
    [
        ("1 7\n1\n", CREATORS),  # a row that breaks off
        ("1 7\n", "cos\nsystem\n(S'true'\ntR."),  # a pickle that would run something
        ("1 7\n", CREATORS[:-4]),
        ("1 7\n", CREATORS.replace("I12", "S'12'")),
    ],
)
def test_other_files(tmp_path: Path, text: str, creators: str) -> None:
    root = tmp_path / "root"
    with pytest.raises(UserError, match=r"zhihu: .*: not the files that were expected"):
        from_local_files(named_source("zhihu"), fetched(tmp_path, text, creators), str(root))
    assert list(root.iterdir()) == []


def test_other_files_of_attlist(tmp_path: Path) -> None:
    for text in ("0\t[a, b]\n", "0 [7]\n"):
        (tmp_path / "listItem_spotify.txt").write_text(text)
        with pytest.raises(UserError, match=r"attlist-spotify: .*: not the files that were expected"):
            from_local_files(named_source("attlist-spotify"), tmp_path, str(tmp_path / "root"))


def test_download_command_takes_local_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "root")
    with pytest.raises(
        UserError, match=r"has no Zhihu\.txt\.zip \(from https://raw\.githubusercontent\.com/heyunh2015"
    ):
        data_command.main(["download", "zhihu", "--files", str(tmp_path), "--root", root])
    # What a whole file would come to is in CAGE; here ten lists of the same ten items are left.
    rows = "".join(f"{one} {item}\n" for one in range(10) for item in range(10))
    data_command.main(["download", "zhihu", "--files", str(fetched(tmp_path, rows + "10 3\n")), "--root", root])
    data_command.main(["verify", "zhihu", "--root", root])
    data_command.main(["info", "zhihu", "--root", root])
    out = capsys.readouterr().out
    found = "10 lists, 10 items, 100 entries, 10.00 a list"
    published = "18,704 lists, 36,005 items, 927,781 entries, 49.60 a list"
    assert f"zhihu: {found} with min_item=10, min_length=10, max_length=200, CAGE's table 5 has {published}\n" in out
    assert "before    11 lists, 10 items, 101 entries, 9.18 a list\n" in out
    assert f"after     {found} (min_item=10, min_length=10, max_length=200)\n" in out
    assert f"published {published} (CAGE, table 5; not compared with these files so far)\n" in out
    assert "halves    of 10 targets 10 have 5 or more, 0 have 10 or more: metrics @k are of these lists alone\n" in out
    assert "creators  2 of 3 lists\n" in out

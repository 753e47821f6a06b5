"""Whose folder it is: told by its files, or one message with what was looked for."""

import os
from pathlib import Path

import pytest

from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.sources.folders import format_of, is_folder


def holding(folder: Path, names: str) -> Path:
    for name in names.split():
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("train.csv dev.csv test.csv item_meta.csv train.txt", "ReChorus"),
        ("shop.inter shop.item", "RecBole"),
        ("train.txt test.txt user_list.txt", "LightGCN"),
    ],
)
def test_formats(tmp_path: Path, names: str, expected: str) -> None:
    assert format_of(holding(tmp_path, names)).name == expected


LOOKED_FOR = "ReChorus (train.csv and dev.csv and test.csv), RecBole (*.inter), LightGCN (train.txt and test.txt)"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("train.csv test.csv", f"of no known format; looked for {LOOKED_FOR}; there is test.csv, train.csv"),
        ("", f"looked for {LOOKED_FOR}; there is nothing"),
        ("shop.inter train.txt test.txt", "files of several formats: RecBole (*.inter), LightGCN (train.txt and test"),
    ],
)
def test_folders_of_no_format_or_of_several(tmp_path: Path, names: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        CollaborativeData(str(holding(tmp_path, names))).setup()
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no folder at no/where"):
        CollaborativeData("no/where").setup()


def test_what_a_source_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "ml-1m", "planted"):
        os.mkdir(name)
    assert is_folder("mine")
    assert is_folder("elsewhere/mine")
    assert not is_folder("plays.csv")
    assert not is_folder("elsewhere/plays.csv")
    assert not is_folder("absent")
    assert not is_folder("ml-1m")  # a named source, also where its folder lies here
    assert not is_folder("planted")

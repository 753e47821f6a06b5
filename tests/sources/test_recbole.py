"""RecBole's atomic files, made by hand: one file or three, ratings, titles and categories."""

from functools import partial
from pathlib import Path

import pytest
from refusal import refusal_of

from lightning_vq.data import CollaborativeData
from lightning_vq.sources.folders import read_folder
from lightning_vq.sources.interactions import Metadata

HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = ["a\tx\t5\t100", "a\ty\t3\t101", "a\tz\t4\t102", "b\tx\t2\t7.5", "b\tw\t5\t9", "b\ty\t4\t8"]
INTER = HEAD + "\n".join(ROWS) + "\n"
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tcategories:token_seq\n"
    'y\t"Great" Cats\t1998\tDrama Sci-Fi\t\nx\tHeat\t\t\tToys, Games 12\nq\tOf no interest\t1990\tDrama\t\n'
)


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"shop.{name.replace('_', '.')}").write_text(text)
    return folder


refusal = partial(refusal_of, read_folder)


def test_one_file_leaves_one_out_by_time(tmp_path: Path) -> None:
    data = CollaborativeData(str(written(tmp_path, inter=INTER)))
    data.prepare_data()
    data.setup()
    raw = data.raw
    assert raw.user_ids.to_pylist() == ["a", "b"]
    assert raw.item_ids.to_pylist() == ["x", "y", "z", "w"]
    assert raw.order.tolist() == [100, 101, 102, 7.5, 9, 8]
    assert [data.parts[part][1].tolist() for part in (0, 1, 2)] == [[0, 0], [1, 1], [2, 3]]
    assert raw.row_number.tolist() == [2, 3, 4, 5, 6, 7]


def test_ratings_and_numbers_as_ids(tmp_path: Path) -> None:
    rows = ["1\t10\t5\t1", "1\t11\t2\t2", "2\t10\t3\t1"]
    raw = read_folder(written(tmp_path, inter=HEAD + "\n".join(rows) + "\n"), min_rating=3)
    assert (raw.user_ids.to_pylist(), raw.item_ids.to_pylist()) == ([1, 2], [10])


def test_three_files_are_a_split(tmp_path: Path) -> None:
    texts = {"train_inter": ROWS[:4], "valid_inter": ROWS[5:], "test_inter": ROWS[4:5]}
    folder = written(tmp_path, **{name: HEAD + "\n".join(rows) + "\n" for name, rows in texts.items()}, item=ITEM)
    data = CollaborativeData(str(folder))
    data.setup()
    assert [data.parts[part][1].tolist() for part in (0, 1, 2)] == [[0, 1, 2, 0], [1], [3]]
    assert data.raw.item_metadata.titles == ["Heat", '"Great" Cats (1998)', None, None]
    assert data.raw.row_number.tolist()[4:] == ["2 of shop.valid.inter", "2 of shop.test.inter"]
    high = read_folder(folder, min_rating=4)
    assert high.split.tolist() == ["train", "train", "dev", "test"]


def test_titles_and_categories(tmp_path: Path) -> None:
    raw = read_folder(written(tmp_path, inter=INTER, item=ITEM))
    assert raw.item_metadata == Metadata(
        ["Heat", '"Great" Cats (1998)', None, None], [["Toys", "Games", "categories 12"], ["Drama", "Sci-Fi"], [], []]
    )


def test_fields_of_other_names(tmp_path: Path) -> None:
    inter = "user_id:token\tartist_id:token\tweight:float\n1\t7\t13883\n2\t7\t2\n"
    item = "artist_id:token\tname:token_seq\n7\tMALICE MIZER\n"
    raw = read_folder(written(tmp_path, inter=inter, item=item), columns={"item": "artist_id", "rating": "weight"})
    assert raw.order is None
    assert raw.item_metadata.titles == ["MALICE MIZER"]
    assert "there is no column 'item_id' for the item; " in refusal(tmp_path)


def test_repeated_pairs(tmp_path: Path) -> None:
    folder = written(tmp_path, inter=INTER + "a\tx\t1\t300\n")
    assert refusal(folder).startswith("/shop.inter, row 8: user 'a' and item 'x' stand in row 2 already")
    assert read_folder(folder, duplicates="last").order.tolist() == [101, 102, 7.5, 9, 8, 300]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"inter": INTER, "train_inter": INTER}, "NAME.inter alone, or NAME.train.inter, NAME.valid.inter and"),
        ({"train_inter": INTER}, "NAME.test.inter; there are shop.train.inter"),
        ({"train_inter": INTER, "valid_inter": INTER}, "there are shop.train.inter, shop.valid.inter"),
        (
            {"inter": INTER.replace("7.5", "soon")},
            "shop.inter, row 5: the timestamp must be a number, or all of them as 2024-01-31 01:06, not 'soon'",
        ),
        ({"inter": INTER.replace("\n", "\nc\n", 1)}, "shop.inter: cannot be read to its end"),
        ({"inter": INTER, "item": ITEM.replace("item_id", "id")}, "shop.item: there is no column 'item_id'"),
        ({"inter": INTER, "item": ITEM.replace("\nx", "\ny")}, "shop.item: the item y stands in 2 rows"),
    ],
)
def test_folders_that_are_wrong(tmp_path: Path, texts: dict[str, str], expected: str) -> None:
    assert expected in refusal(written(tmp_path, **texts))

"""ReChorus' folders, made by hand: split, stored negatives, items that only they name, categories and relations."""

from functools import partial
from pathlib import Path

import pytest
from refusal import refusal_of

from lightning_vq import data_command
from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.sources.folders import read_folder
from lightning_vq.sources.interactions import Interactions

# Users 1 and 2 (rows 0 and 1); items 10, 11, 12, 13, 14 (rows 0 to 4); 77 only stands among negatives (row 5).
TRAIN = "user_id\titem_id\ttime\n1\t10\t100\n1\t11\t101\n2\t10\t100\n2\t12\t105\n"
DEV = "user_id\titem_id\ttime\tneg_items\n2\t13\t106\t[11, 77]\n1\t12\t102\t[13, 13]\n"
TEST = "user_id\titem_id\ttime\tneg_items\n1\t13\t103\t[12, 77]\n2\t14\t107\t[11, 11]\n"
META = (
    "item_id\ti_category\ti_Drama\ti_tags_c\ti_price_f\tr_complement\tr_substitute\n"
    "10\t7\t1\t[3, 4]\t0.5\t[11, 99, 11]\t[]\n12\t0\t0\t[]\t1.5\t[]\t[10,77]\n99\t1\t1\t[1]\t2\t[10]\t[]\n"
)


def written(folder: Path, train: str = TRAIN, dev: str = DEV, test: str = TEST, meta: str | None = None) -> Path:
    for name, text in (("train", train), ("dev", dev), ("test", test), ("item_meta", meta)):
        if text is not None:
            (folder / f"{name}.csv").write_text(text)
    return folder


refusal = partial(refusal_of, read_folder)


def negatives(raw: Interactions) -> dict[str, tuple[list[int], list[list[int]]]]:
    return {part: (users.tolist(), items.tolist()) for part, (users, items) in raw.negatives.items()}


# -- what is read ------------------------------------------------------------------------------------------------------


def test_split_order_and_ids(tmp_path: Path) -> None:
    raw = read_folder(written(tmp_path))
    assert raw.user_ids.to_pylist() == [1, 2]
    assert raw.users.tolist() == [0, 0, 1, 1, 1, 0, 0, 1]
    assert raw.items.tolist() == [0, 1, 0, 2, 3, 2, 3, 4]
    assert raw.order.tolist() == [100, 101, 100, 105, 106, 102, 103, 107]
    assert raw.split.tolist() == ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
    assert raw.row_number.tolist()[3:5] == ["5 of train.csv", "2 of dev.csv"]


def test_negatives_keep_repeats_and_items_that_only_they_name(tmp_path: Path) -> None:
    raw = read_folder(written(tmp_path))
    assert raw.item_ids.to_pylist() == [10, 11, 12, 13, 14, 77]
    assert negatives(raw) == {"dev": ([0, 1], [[3, 3], [1, 5]]), "test": ([0, 1], [[2, 5], [1, 1]])}


def test_several_held_out_items_of_a_user_keep_their_own_negatives(tmp_path: Path) -> None:
    test = TEST + "1\t14\t104\t[12, 12]\n2\t11\t108\t[13, 77]\n"
    data = CollaborativeData(str(written(tmp_path, test=test)), eval_negatives=2)
    data.setup()
    assert data.parts[2][1].tolist() == [3, 4, 1, 4]
    assert data.evaluation.sampled(2).tolist() == [[2, 5], [2, 2], [3, 5], [1, 1]]


@pytest.mark.parametrize("empty", ["", "\tneg_items"])
def test_without_negatives_evaluation_draws_its_own(tmp_path: Path, empty: str) -> None:
    cell = "\t[]" if empty else ""
    dev = f"user_id\titem_id\ttime{empty}\n1\t12\t102{cell}\n2\t13\t106{cell}\n"
    test = f"user_id\titem_id\ttime{empty}\n1\t13\t103{cell}\n2\t14\t107{cell}\n"
    data = CollaborativeData(str(written(tmp_path, dev=dev, test=test)), eval_negatives=7)
    data.setup()
    assert data.raw.negatives == {}
    assert data.evaluation.sampled(1).shape == (2, 7)


def test_categories_and_relations(tmp_path: Path) -> None:
    raw = read_folder(written(tmp_path, meta=META))
    # The third item's category is 0, by which ReChorus means that it has none.
    assert raw.item_metadata.categories == [["category 7", "Drama", "tags 3", "tags 4"], [], [], [], [], []]
    assert {name: [rows.tolist() for rows in pair] for name, pair in raw.relations.items()} == {
        "complement": [[0], [1]], "substitute": [[2, 2], [0, 5]],
    }  # fmt: skip


def test_a_fit_is_set_up_and_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = CollaborativeData(str(written(tmp_path, meta=META)), eval_negatives=2)
    data.prepare_data()  # nothing to download
    data.setup()
    assert (data.user_count, data.item_count) == (2, 6)
    assert [len(data.parts[part][0]) for part in (0, 1, 2)] == [4, 2, 2]
    assert data.evaluation.sampled(1).tolist() == [[3, 3], [1, 5]]
    data_command.main(["info", str(tmp_path), "--figure", str(tmp_path / "often.png")])
    assert (tmp_path / "often.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert f"folder    {tmp_path} (ReChorus)" in out
    assert "before    8 interactions, 2 users, 5 items" in out
    assert "split     train 4, dev 2, test 2" in out
    assert "stored    2 negatives for each of 2 test users" in out
    assert "unseen    1 items that only stored negatives name" in out
    assert "relations complement 1, substitute 2" in out


def test_another_split_draws_its_own_negatives(tmp_path: Path) -> None:
    data = CollaborativeData(str(written(tmp_path)), split="leave_one_out", eval_negatives=5)
    data.setup()
    assert data.parts[2][1].tolist() == [3, 4]
    assert data.evaluation.sampled(2).shape == (2, 5)


def test_a_pair_that_stands_twice_takes_its_negatives_along(tmp_path: Path) -> None:
    folder = written(tmp_path, test=TEST + "2\t10\t108\t[13, 13]\n")
    told = "row 4 of test.csv: user 2 and item 10 stand in row 4 of train.csv already"
    assert told in refusal(folder)
    assert negatives(read_folder(folder, duplicates="first"))["test"] == ([0, 1], [[2, 5], [1, 1]])
    last = read_folder(folder, duplicates="last")
    assert (last.split == "train").sum() == 3
    assert negatives(last)["test"] == ([0, 1, 1], [[2, 5], [3, 3], [1, 1]])  # by user and item


def test_columns_of_other_names(tmp_path: Path) -> None:
    parts = [text.replace("item_id", "track") for text in (TRAIN, DEV, TEST)]
    raw = read_folder(written(tmp_path, *parts), columns={"item": "track"})
    assert raw.items.tolist() == [0, 1, 0, 2, 3, 2, 3, 4]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"train": TRAIN.replace("time", "tme")}, "/train.csv: there is no column 'time' for the timestamp; did you"),
        (
            {"dev": DEV.replace("106", "x")},
            ", row 2 of dev.csv: the timestamp must be a number, or all of them as 2024-01-31 01:06, not 'x'",
        ),
        ({"dev": DEV.replace("2\t13", "\t13")}, ", row 2 of dev.csv: the user is missing"),
        (
            {"test": TEST.replace("[12, 77]", "12 77")},
            "/test.csv, row 2: neg_items must be a list of items like [3, 17]",
        ),
        ({"test": TEST.replace("[12, 77]", "[12]")}, "/test.csv: rows hold [1, 2] negatives; all must hold as many"),
        ({"test": ""}, "/test.csv: the file is empty"),
        ({"meta": META.replace("[10,77]", "[10;77]")}, "/item_meta.csv, row 3: r_substitute must be a list"),
        ({"meta": META.replace("item_id", "item")}, "/item_meta.csv: there is no column 'item_id'"),
        ({"meta": META.replace("\n12\t", "\n10\t")}, "/item_meta.csv: the item 10 stands in 2 rows"),
        (
            {"train": "user_id\titem_id\ttime\tlabel\n1\t10\t100\t1\n1\t11\t101\t0\n"},
            "/train.csv, row 3: the label is '0': this folder holds impressions",
        ),
    ],
)
def test_folders_that_are_wrong(tmp_path: Path, texts: dict[str, str], expected: str) -> None:
    assert refusal(written(tmp_path, **texts)).startswith(expected)


def test_another_number_of_negatives_than_stored(tmp_path: Path) -> None:
    folder = str(written(tmp_path))
    told = (
        r"comes with 2 stored negatives, but data\.init_args\.eval_negatives is 99: --data\.init_args\.eval_negatives=2"
    )
    for protocols in ({"val_protocols": ["full"]}, {"eval_protocols": ["full"]}):
        with pytest.raises(UserError, match=told):
            CollaborativeData(folder, **protocols).setup("fit")  # as it is read: before a run folder is made
    CollaborativeData(folder, val_protocols=["full"], eval_protocols=["full"]).setup("fit")

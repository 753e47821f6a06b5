"""LightGCN's folders, made by hand: what a line says, and the dev part that its authors do not have."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from refusal import refusal_of

from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.sources.folders import read_folder

# User 0 has five training items, 1 has four, 2 none, 3 stands only in test, 4 has six.
TRAIN = "0 10 11 12 13 14\n1 10 11 12 15 \n2\n4 10 11 12 13 14 15\n"
TEST = "0 15 16\n1 13\n2 \n3 10 17\n"


def written(folder: Path, train: str = TRAIN, test: str = TEST) -> Path:
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    return folder


refusal = partial(refusal_of, read_folder)


def test_lines(tmp_path: Path) -> None:
    raw = read_folder(written(tmp_path))
    assert raw.user_ids.to_pylist() == [0, 1, 4, 3]  # by first appearance; 2 has no items
    assert raw.item_ids.to_pylist() == [10, 11, 12, 13, 14, 15, 16, 17]
    pairs = [(u, i) for u, i in zip(raw.user_ids.take(raw.users).to_pylist(), raw.item_ids.take(raw.items).to_pylist())]
    assert pairs[5:9] == [(1, 10), (1, 11), (1, 12), (1, 15)]
    assert pairs[15:] == [(0, 15), (0, 16), (1, 13), (3, 10), (3, 17)]
    assert raw.row_number.tolist()[14:16] == ["4 of train.txt", "1 of test.txt"]
    assert raw.order is None


def test_dev_is_one_training_item_of_users_with_five(tmp_path: Path) -> None:
    raw = read_folder(written(tmp_path))
    dev = raw.split == "dev"
    assert raw.user_ids.take(raw.users[dev]).to_pylist() == [0, 4]
    assert (raw.split[15:] == "test").all()
    assert (raw.split[5:9] == "train").all()
    assert (read_folder(tmp_path).split == raw.split).all()  # the same each time


def test_dev_is_drawn_uniformly(tmp_path: Path) -> None:
    lines = [f"{user} 0 1 2 3 4" for user in range(2000)]
    raw = read_folder(written(tmp_path, "\n".join(lines), "0 5\n"))
    chosen = np.bincount(raw.items[raw.split == "dev"], minlength=5)
    assert chosen.sum() == 2000
    assert np.abs(chosen[:5] - 400).max() < 5 * np.sqrt(400)


def test_a_fit_is_set_up(tmp_path: Path) -> None:
    data = CollaborativeData(str(written(tmp_path)), eval_negatives=3)
    data.prepare_data()
    data.setup()
    assert [len(data.parts[part][0]) for part in (0, 1, 2)] == [13, 2, 5]
    assert (data.user_count, data.item_count) == (4, 8)
    assert data.evaluation.sampled(2).shape == (5, 3)
    assert set(data.evaluation.sampled(1)[0].tolist()) == {7}  # all that user 0 has not


def test_a_pair_in_both_files_names_the_lines(tmp_path: Path) -> None:
    folder = written(tmp_path, test="0 15\n\n4 16 13\n")
    told = ", row 3 of test.txt: user 4 and item 13 stand in row 4 of train.txt already (1 such rows)"
    assert refusal(folder).startswith(told)
    assert (read_folder(folder, duplicates="first").split == "test").sum() == 2
    assert (read_folder(folder, duplicates="last").split == "test").sum() == 3


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("0 1 2 3 4 5\n1 2 x\n", "/train.txt, row 2: a row must be numbers with blanks between them, not '1 2 x'"),
        ("0,1,2\n", "/train.txt, row 1: a row must be numbers"),
        ("0 1 2 3 4\n", "/train.txt: no user has 5 training items"),
        ("0 1 2 1 3 4 5\n", ", row 1 of train.txt: user 0 and item 1 stand in row 1 of train.txt already"),
    ],
)
def test_folders_that_are_wrong(tmp_path: Path, train: str, expected: str) -> None:
    assert refusal(written(tmp_path, train, "7 1\n")).startswith(expected)


def test_what_the_files_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"leave out data\.init_args\.min_rating"):
        read_folder(written(tmp_path), min_rating=3)
    with pytest.raises(UserError, match=r"leave out data\.init_args\.columns"):
        read_folder(tmp_path, columns={"user": "a"})

"""Named sources on real data: published counts, their own splits and negatives, and what the data command says."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from lightning_vq import data_command
from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions, core
from lightning_vq.sources.named import ROOT_VARIABLE, SOURCES, Source, data_root, named_source, read_movielens


def on_disk(name: str) -> Path:
    """Return a source's folder, or skip; a test never downloads."""
    if not os.environ.get(ROOT_VARIABLE):
        pytest.skip(f"{ROOT_VARIABLE} does not name a folder of real data")
    folder = data_root(None) / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.fixture(scope="module")
def ml_1m() -> Interactions:
    return read_movielens(on_disk("ml-1m"))


@pytest.mark.parametrize("source", [one for one in SOURCES if one.counts], ids=lambda source: source.name)
def test_published_counts(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(source.name)
    data_command.main(["verify", source.name])
    assert source.counts is not None
    interactions, users, items = source.counts
    told = f"{source.name}: {interactions:,} interactions, {users:,} users, {items:,} items, as published\n"
    assert capsys.readouterr().out.startswith(told)


def test_grocery_comes_with_its_split() -> None:
    raw = named_source("amazon-grocery").read(on_disk("amazon-grocery"))
    parts, sizes = np.unique(raw.split.astype(str), return_counts=True)
    assert dict(zip(parts, sizes.tolist())) == {"train": 121_892, "dev": 14_681, "test": 14_681}
    assert (np.bincount(raw.users[raw.split == "test"]) == 1).all()


def test_grocery_comes_with_relations() -> None:
    raw = named_source("amazon-grocery").read(on_disk("amazon-grocery"))
    assert {name: len(heads) for name, (heads, _) in raw.relations.items()} == {
        "complement": 248_444, "substitute": 124_933,
    }  # fmt: skip
    heads, tails = raw.relations["complement"]
    assert (raw.item_ids[int(heads[0])].as_py(), raw.item_ids[int(tails[0])].as_py()) == (1, 6285)


def test_toys_hold_out_the_last_of_each_user() -> None:
    root = on_disk("amazon-toys").parent
    data = CollaborativeData("amazon-toys", str(root))
    data.setup()
    raw = data.raw
    assert raw is not None
    assert [len(data.parts[part][0]) for part in (0, 1, 2)] == [167_597 - 2 * 19_412, 19_412, 19_412]
    last = raw.order[np.lexsort((raw.order, raw.users))][np.cumsum(np.bincount(raw.users)) - 1]
    held = raw.items[np.isin(raw.users * 10_000 + raw.order, np.arange(19_412) * 10_000 + last)]
    assert data.parts[2][1].tolist() == held[np.argsort(np.unique(raw.users))].tolist()
    row = raw.item_ids.to_pylist().index(1)
    assert raw.item_metadata.categories[row] == ["attribute 399", "attribute 2", "attribute 220", "attribute 262"]


def test_ml_1m_leaves_one_out(ml_1m: Interactions) -> None:
    assert (ml_1m.split == "train").sum() == 1_000_209 - 2 * 6_040
    for part in ("dev", "test"):
        assert (np.bincount(ml_1m.users[ml_1m.split == part], minlength=6_040) == 1).all()


def test_ml_1m_keeps_repeated_negatives(ml_1m: Interactions) -> None:
    negatives = np.concatenate([ml_1m.negatives[part][1] for part in ("dev", "test")])
    assert negatives.shape == (12_080, 99)
    in_order = np.sort(negatives, axis=1)
    assert (in_order[:, 1:] == in_order[:, :-1]).any(axis=1).sum() == 9_092


def test_ml_1m_negatives_are_untouched_items(ml_1m: Interactions) -> None:
    known = np.zeros((6_040, 3_706), dtype=bool)
    known[ml_1m.users, ml_1m.items] = True
    for users, negatives in ml_1m.negatives.values():
        assert sorted(users.tolist()) == list(range(6_040))
        assert not known[users[:, None], negatives].any()


def test_dropping_items_drops_the_stored_negatives(ml_1m: Interactions) -> None:
    kept = core(ml_1m, 5, 5)
    assert (len(kept.users), len(kept.user_ids), len(kept.item_ids)) == (999_611, 6_040, 3_416)
    assert kept.negatives == {}
    assert core(ml_1m, 5, 1).negatives == ml_1m.negatives


def test_info_after_filtering(capsys: pytest.CaptureFixture[str]) -> None:
    folder = on_disk("ml-1m")
    data_command.main(["info", "ml-1m", "--min-user", "5", "--min-item", "5"])
    out = capsys.readouterr().out
    assert "licence   research use, no redistribution (GroupLens)" in out
    assert "https://files.grouplens.org/datasets/movielens/ml-1m.zip" in out
    assert f"lies in   {folder}" in out
    assert "before    1,000,209 interactions, 6,040 users, 3,706 items" in out
    assert "after     999,611 interactions, 6,040 users, 3,416 items (min_user=5, min_item=5)" in out
    assert "evaluation draws its own" in out


def test_list_names_every_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("ml-1m", "frappe-ctr-libfm"):
        (tmp_path / name).mkdir()
    data_command.main(["list", "--root", str(tmp_path)])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "embedded" in lines["planted"]
    assert "on disk" in lines["ml-1m"]
    assert "on disk" in lines["frappe"]  # in a folder of another name
    assert "to be downloaded" in lines["mind-small"]
    assert "to be downloaded" in lines["ml-100k"]
    assert "to be put there" in lines["amazon-toys"]
    assert f"Root: {tmp_path}." in lines["Root:"]


def test_info_on_what_is_not_there_yet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data_command.main(["info", "ml-100k", "--root", str(tmp_path)])
    out = capsys.readouterr().out
    assert "data download ml-100k" in out
    assert "published 100,000 interactions, 943 users, 1,682 items" in out
    with pytest.raises(UserError, match="data download ml-100k"):
        data_command.main(["verify", "ml-100k", "--root", str(tmp_path)])


def test_info_on_planted_and_on_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data_command.main(["info", "planted"])
    data_command.main(["verify", "planted"])
    (tmp_path / "mine.csv").write_text("user,item\na,x\na,y\nb,x\n")
    data_command.main(["info", str(tmp_path / "mine.csv"), "--min-user", "2"])
    out = capsys.readouterr().out
    assert "2,000 users" in out
    assert "unseen    55 items without an interaction; a fit ranks them like any other: 1,000 in all" in out
    assert "nothing to verify" in out
    assert "before    3 interactions, 2 users, 2 items; 75.000 % dense" in out
    assert "after     2 interactions, 1 users, 2 items (min_user=2, min_item=1)" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["info", "ml1m"], "no source 'ml1m'; did you mean 'ml-1m'"),
        (["lst"], "invalid choice: 'lst'"),
        (["info"], "required: name"),
        (["info", "planted", "--min-user", "x"], "--min-user: must be a number of 1 or more, not 'x'"),
        (["info", "planted", "--min-user", "9999"], "no interaction is left with min_user=9999"),
    ],
)
def test_wrong_commands(arguments: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        data_command.main(arguments)


# -- a split stored beside the interactions, by hand -------------------------------------------------------------------


def stored(folder: Path, held: str, negatives: str) -> Path:
    """Write 2 users x 5 items, of which each user touches 3."""
    texts = {
        "interactions": "user,item\n1,10\n1,11\n1,12\n2,10\n2,13\n2,14\n",
        "leave_one_out": f"user,item,split\n1,11,dev\n1,12,test\n2,13,dev\n{held}",
        "leave_one_out_negatives": f"user,split,negatives\n1,dev,13 13\n2,dev,11 12\n1,test,13 14\n{negatives}",
    }
    for name, text in texts.items():
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_stored_split_by_hand(tmp_path: Path) -> None:
    raw = read_movielens(stored(tmp_path, "2,14,test\n", "2,test,12 11\n"))
    assert raw.split.tolist() == ["train", "dev", "test", "train", "dev", "test"]
    assert raw.negatives["dev"][1].tolist() == [[3, 3], [1, 2]]
    assert raw.negatives["test"][1].tolist() == [[3, 4], [2, 1]]


@pytest.mark.parametrize(
    ("held", "negatives", "expected"),
    [
        ("2,11,test\n", "2,test,12 11\n", "row 5: user 2 and item 11 are not among the interactions"),
        ("2,99,test\n", "2,test,12 11\n", "item 99 is not among the interactions"),
        ("2,14,test\n", "2,test,12 x\n", "item 'x' is not among the interactions"),
        ("2,14,test\n", "2,test,12\n", r"the test rows hold \[1, 2\] negatives"),
    ],
)
def test_stored_split_that_is_wrong(tmp_path: Path, held: str, negatives: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        read_movielens(stored(tmp_path, held, negatives))


def test_stored_negatives_are_not_used_for_another_split(tmp_path: Path) -> None:
    (tmp_path / "ml-1m").mkdir()
    stored(tmp_path / "ml-1m", "2,14,test\n", "2,test,12 11\n")
    own = CollaborativeData("ml-1m", str(tmp_path), eval_negatives=2)
    own.setup()
    assert own.evaluation.sampled(1).tolist() == [[3, 3], [1, 2]]
    other = CollaborativeData("ml-1m", str(tmp_path), split="ratio", ratio=(0.4, 0.3, 0.3), eval_negatives=7)
    other.setup()
    assert other.evaluation.sampled(1).shape == (2, 7)

"""ListData: what is given, what is to be predicted and what trains, by hand and against the file."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_lists import listed

from lightning_vq.data import ListData
from lightning_vq.data.base import digest
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.named import ROOT_VARIABLE, named_source
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.types import Lists

PLANTED = PlantedOptions(users=300, items=120, branching=(4, 3), mean_length=12)


def shown(data: ListData, batches: list[Lists]) -> dict[int, tuple[str, str]]:
    """Return what is given of each list by its original id, and what is to be predicted, in original ids."""
    found = {}
    for batch in batches:
        for name, items, known in zip(data.list_ids(batch.cases).to_pylist(), batch.items, batch.known.tolist()):
            text = "".join(data.item_ids(items[items >= 0]).to_pylist())
            found[name] = (text[:known], text[known:])
    return found


def trained(data: ListData) -> dict[int, tuple[str, str]]:
    return shown(data, [batch for block in data.train_dataloader() for batch in block.batches()])


# -- halves ------------------------------------------------------------------------------------------------------------


def test_halves_of_whole_lists(tmp_path: Path) -> None:
    lists = ["ab", "abc", "abcd", "abcde", "cde", "ee", "edcba", "dc", "ba", "abab"]
    data = listed(tmp_path, lists)
    parts = [trained(data), shown(data, list(data.val_dataloader())), shown(data, list(data.test_dataloader()))]
    assert [len(part) for part in parts] == [8, 1, 1]
    assert shown(data, list(data.predict_dataloader())) == parts[2]
    everything = {name: split for part in parts for name, split in part.items()}
    assert everything == {n: (one[: len(one) // 2], one[len(one) // 2 :]) for n, one in enumerate(lists, 1)}
    counts = Counter("".join(a + b for a, b in parts[0].values()))
    vocabulary = data.vocabularies()["item"]
    assert dict(zip(vocabulary.ids.to_pylist(), vocabulary.counts.tolist())) == {i: counts[i] for i in "abcde"}


def test_halves_of_a_range(tmp_path: Path) -> None:
    lists = ["abcz", "abcde", "abcdefg", "a", *["abc"] * 9]
    data = listed(tmp_path, lists, min_length=3, max_length=4, min_item=2, ratio=(0.4, 0.3, 0.3))
    everything = trained(data) | shown(data, list(data.val_dataloader())) | shown(data, list(data.test_dataloader()))
    # d stands twice until e, f and g are gone and lists 2 and 3 are cut; z goes, a list of one item too.
    assert everything[1] == ("a", "bc")
    assert everything[2] == everything[3] == ("ab", "cd")
    assert 4 not in everything
    assert data.facts().length == 4


def test_the_split_is_of_its_seed(tmp_path: Path) -> None:
    lists = ["abc"] * 40
    one, again, other = (
        listed(tmp_path, lists, split_seed=seed).parts[TEST].cases.tolist() for seed in (0, 0, 1)
    )  # fmt: skip
    assert one == again != other
    sizes = [len(part.cases) for part in listed(tmp_path, lists, ratio=(0.5, 0.3, 0.2)).parts.values()]
    assert sizes == [20, 12, 8]


# -- next item ---------------------------------------------------------------------------------------------------------


def test_next_item_by_hand(tmp_path: Path) -> None:
    data = listed(tmp_path, ["abcde", "cab", "deab"], protocol="next", eval_negatives=0)
    assert trained(data) == {1: ("ab", "c"), 3: ("d", "e")}  # of list 2 one item is left, which nothing comes before
    assert shown(data, list(data.val_dataloader())) == {1: ("abc", "d"), 2: ("c", "a"), 3: ("de", "a")}
    assert shown(data, list(data.test_dataloader())) == {1: ("abcd", "e"), 2: ("ca", "b"), 3: ("dea", "b")}
    counts = dict(zip(data.vocabularies()["item"].ids.to_pylist(), data.facts().counts["item"].tolist()))
    assert counts == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
    assert data.facts().length == 5
    assert next(iter(data.test_dataloader())).candidates is None


def test_next_item_after_the_last_of_a_history(tmp_path: Path) -> None:
    data = listed(tmp_path, ["abcdefgh", "abc"], protocol="next", max_length=2, eval_negatives=0)
    assert trained(data) == {1: ("de", "f")}
    assert shown(data, list(data.val_dataloader())) == {1: ("ef", "g"), 2: ("a", "b")}
    assert shown(data, list(data.test_dataloader())) == {1: ("fg", "h"), 2: ("ab", "c")}
    assert data.facts().length == 3
    assert data.facts().counts["item"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]  # what is not shown is not trained on


def test_candidates_are_what_the_whole_list_does_not_hold(tmp_path: Path) -> None:
    data = listed(tmp_path, ["abcde", "cab", "defg"], protocol="next", eval_negatives=50, max_length=1)
    holds = {1: "abcde", 2: "cab", 3: "defg"}
    for part in (data.val_dataloader(), data.test_dataloader()):
        (batch,) = part
        assert batch.candidates is not None
        assert batch.candidates.dtype == torch.long
        for name, items in zip(data.list_ids(batch.cases).to_pylist(), batch.candidates):
            assert len(items) == 50  # with replacement
            assert set(data.item_ids(items).to_pylist()) == set("abcdefg") - set(holds[name])
    again = listed(tmp_path, ["abcde", "cab", "defg"], protocol="next", eval_negatives=50, eval_batch_size=1)
    for part in (DEV, TEST):
        assert torch.equal(data.evaluation.candidates(part), again.evaluation.candidates(part))
    other = listed(tmp_path, ["abcde", "cab", "defg"], protocol="next", eval_negatives=50, eval_seed=1)
    assert not torch.equal(data.evaluation.candidates(TEST), other.evaluation.candidates(TEST))
    assert not torch.equal(data.evaluation.candidates(TEST), data.evaluation.candidates(DEV))


def test_a_log_and_a_folder_are_histories(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,timestamp\nann,x,3\nbob,x,1\nann,y,1\nann,y,2\nbob,y,2\nbob,z,3\n")
    (tmp_path / "set").mkdir()
    rows = "ann\tx\t3\nbob\tx\t1\nann\ty\t1\nann\ty\t2\nbob\ty\t2\nbob\tz\t3\n"
    (tmp_path / "set" / "set.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + rows)
    columns = {"timestamp": "timestamp"}
    for source, given in ((tmp_path / "log.csv", None), (tmp_path / "set", columns)):
        data = ListData(str(source), columns=given, protocol="next", eval_negatives=0, min_length=3)
        with pytest.raises(UserError, match="no list has 4 items, of which two would be left to train on"):
            data.setup()
        assert [one.tolist() for one in np.split(data.read().items, [3])] == [[1, 1, 0], [0, 1, 2]]


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_covers_each_list_once_over_the_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    data = listed(tmp_path, ["abcdef"[: 2 + i % 5] for i in range(70)], eval_batch_size=4, ratio=(0.2, 0.4, 0.4))
    cases: list[int] = []
    for rank in range(world):
        monkeypatch.setattr(data, "rank", lambda rank=rank: (rank, world))
        batches = list(data.test_dataloader())
        assert len(batches) == len(data.test_dataloader())
        assert all(len(batch.cases) <= 4 for batch in batches)
        lengths = [length for batch in batches for length in batch.lengths.tolist()]
        assert lengths == sorted(lengths)  # so that little is padded
        cases += [case for batch in batches for case in batch.cases.tolist()]
    assert sorted(cases) == data.parts[TEST].cases.tolist()


def test_negatives_in_training_only(tmp_path: Path) -> None:
    data = listed(tmp_path, [*("abcdef"[: 3 + i % 3] for i in range(40)), "bcdef"], negatives=3, batch_size=8, seed=1)
    for block in data.train_dataloader():
        (batch,) = block.batches()
        assert batch.negatives is not None
        assert batch.negatives.shape == (*batch.items.shape, 3)
        assert (batch.negatives != batch.items[:, :, None]).all()
    assert all(batch.negatives is batch.candidates is None for batch in data.test_dataloader())


# -- facts and words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["halves", "next"])
def test_planted_facts(protocol: str) -> None:
    data = ListData(planted=PLANTED, protocol=protocol, min_item=3, seed=0)
    data.setup()
    facts, raw = data.facts(), data.raw
    assert raw is not None
    assert facts.provides == ("lists",)
    assert facts.rows == {"item": len(raw.item_ids), "item_category": 4}
    assert facts.ids["item"] == digest(raw.item_ids.to_pylist())
    assert facts.counts["item"].shape == (len(raw.item_ids),)
    batches = [batch for block in data.train_dataloader() for batch in block.batches()]
    items = torch.cat([batch.items.flatten() for batch in batches])
    assert torch.equal(facts.counts["item"], torch.bincount(items[items >= 0], minlength=len(raw.item_ids)))
    batches += [*data.val_dataloader(), *data.test_dataloader()]
    assert max(batch.items.shape[1] for batch in batches) == facts.length
    # Known truth and categories follow the items that are left.
    group = data.truth("item")["group"]
    assert facts.categories["item"].squeeze(1).tolist() == group.tolist()
    assert data.truth("user") == {}
    places = [int(name[1:]) for name in raw.item_ids.to_pylist()]
    whole = ListData(planted=PLANTED).read().item_categories["leaf"]
    assert data.truth("item")["leaf"].tolist() == whole[places].tolist()


def test_told_in_one_line(tmp_path: Path) -> None:
    lists = ["abcdefghij", *["abcdefghijklmnopqrst"[: 8 + i] for i in range(9)]]
    data = listed(tmp_path, lists, ratio=(0.2, 0.4, 0.4))
    entries = len("".join(lists))
    targets = [len(lists[case]) - len(lists[case]) // 2 for case in data.parts[TEST].cases.tolist()]
    assert data.told(frozenset()) == (
        f"{tmp_path}/mine.csv: 10 lists, 16 items, {entries} entries, {entries / 10:.2f} a list "
        f"(min_item=1, min_length=2); 2 lists to train on, 4 to test on: @5 on {sum(t >= 5 for t in targets)}, "
        f"@10 on {sum(t >= 10 for t in targets)}"
    )
    data = listed(tmp_path, [*lists, [f"i{n}" for n in range(201)]])
    assert data.told(frozenset()).endswith(
        "; the longest has 201 items: with data.init_args.max_length training is faster"
    )
    data = listed(tmp_path, ["abcde", "cab"], protocol="next", max_length=3, eval_negatives=0)
    assert data.told(frozenset()) == (
        f"{tmp_path}/mine.csv: 2 lists, 5 items, 8 entries, 4.00 a list (min_item=1, min_length=3, max_length=3); "
        "1 lists to train on, 2 to be continued by one item after 3 at most"
    )
    data = listed(tmp_path, ["abcde", "cab", "de"], protocol="next", eval_negatives=0)  # two items are too few
    assert "(min_item=1, min_length=3, max_length=200; 1 lists left out)" in data.told(frozenset())


def test_named_sources_keep_what_papers_keep() -> None:
    data = ListData("aotm")
    assert data.kept == (10, 10, 60)
    data = ListData("aotm", min_length=5, min_item=1)
    assert data.kept == (1, 5, 60)
    data = ListData("ml-1m-seq", protocol="next")
    assert data.kept == (1, 3, 200)


@pytest.mark.parametrize(
    ("options", "train", "held", "length"),
    [
        ({"source": "aotm"}, 10_352, 1_294, 59),
        ({"source": "attlist-spotify"}, 2_648, 331, 300),
        ({"source": "ml-1m-seq", "protocol": "next", "max_length": 50}, 6_038, 6_038, 51),
        ({"source": "amazon-toys", "protocol": "next", "max_length": 50}, 19_412, 19_412, 51),
    ],
)
def test_real_data(options: dict[str, Any], train: int, held: int, length: int) -> None:
    folder = named_source(options["source"]).folder(None)
    if not os.environ.get(ROOT_VARIABLE) or not folder.is_dir():
        pytest.skip(f"{folder} is not there ({ROOT_VARIABLE} names the folder of real data)")
    data = ListData(**options, seed=0)
    data.prepare_data()
    data.setup()
    assert [len(data.parts[part].cases) for part in (TRAIN, DEV, TEST)] == [train, held, held]
    assert data.facts().length == length
    entries = padded = 0
    for block in data.train_dataloader():
        entries, padded = entries + int((block.rows.items >= 0).sum()), padded + block.rows.items.numel()
    assert entries == int(data.facts().counts["item"].sum())
    assert padded < 1.4 * entries
    if options["source"] == "ml-1m-seq":
        (batch, *_) = data.test_dataloader()
        assert batch.candidates is not None
        assert batch.candidates.shape == (256, 99)

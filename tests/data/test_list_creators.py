"""Who made a list: known of training lists, and heeded by CAR in training and in evaluation."""

import gzip
from pathlib import Path

import pytest
import torch
from small_lists import trained

from lightning_vq.backbones.list_completion.car import CAR
from lightning_vq.data import ListData
from lightning_vq.data.splits import DEV, TEST, TRAIN

MAKERS = [f"{one},{100 + one % 7 if one % 5 else one}" for one in range(30) if one != 3]  # of list 3 nobody tells


@pytest.fixture
def data(tmp_path: Path) -> ListData:
    folder = tmp_path / "aotm"
    folder.mkdir()
    entries = [f"{one},{place},{(one + place) % 9}" for one in range(30) for place in range(12)]
    for name, head, lines in (("interactions", "list,position,item", entries), ("users", "list,creator", MAKERS)):
        with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
            file.write("\n".join([head, *lines]) + "\n")
    return ListData("aotm", root=str(tmp_path))


def test_creators_are_those_of_training_lists(data: ListData) -> None:
    data.prepare_data()
    data.setup()
    made_by = dict(line.split(",") for line in MAKERS)
    train = [made_by.get(str(one)) for one in data.list_ids(data.parts[TRAIN].cases).to_pylist()]
    told = data.vocabularies()["creator"]
    names = [str(one) for one in told.ids.to_pylist()]
    assert set(names) == {one for one in train if one is not None}
    assert told.counts.tolist() == [train.count(name) for name in names]
    assert data.facts().rows["creator"] == len(names)
    for part in (TRAIN, DEV, TEST):
        stretches = data.parts[part]
        assert stretches.creators is not None
        for case, row in zip(data.list_ids(stretches.cases).to_pylist(), stretches.creators.tolist()):
            maker = made_by.get(str(case))
            assert row == (names.index(maker) if maker in names else -1)
    [batch, *_] = next(iter(data.train_dataloader())).batches()
    assert batch.creators is not None
    assert batch.creators.shape == batch.cases.shape


def test_completions_are_those_of_a_creator(data: ListData) -> None:
    module, _ = trained(CAR(dim=8, layers=1, heads=2, creators=True), {}, data)
    torch.nn.init.normal_(module.tables["creator"], std=5.0)
    module.eval()
    [batch, *_] = data.test_dataloader()
    told = []
    for creator in (0, 1, -1):
        module.begin("test")
        module.look = module.lookup()
        with torch.no_grad():
            module.evaluate(batch._replace(creators=torch.full_like(batch.cases, creator)))
        told.append(module.completed.whole().candidates)
    assert not torch.equal(told[0], told[1])
    assert not torch.equal(told[0], told[2])

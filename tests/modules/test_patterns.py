"""Semantic ids and links of every moment: against the past alone, by brute force; and what they are refused from."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from small_timed import timed, trainer_of

from lightning_vq.backbones.timed.dual_tower import DualTower
from lightning_vq.data.splits import TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.modules import Recommender, TimedFiltering
from lightning_vq.modules.patterns import Augmentation
from lightning_vq.types import Block, Side

OFFSETS = torch.tensor([0, 8])
K, MORE = 6, 2  # neighbours of a semantic id, of each latent pattern


def of_the_past(stages: Any, vocab: Any, side: Side) -> tuple[torch.Tensor, list[set[int]]]:
    """Return codes (M, L) and neighbours of entities, in float64 from the others alone that they had met last."""
    _, first, second, _ = stages
    quantizer, every = second.quantizers[vocab], second.tables[vocab]
    books = quantizer.codebook.weight.double()  # (L, J, W)

    def codes(vectors: torch.Tensor) -> torch.Tensor:
        """Return all codes (M, L, J), the nearest first."""
        turned = (vectors.double() - quantizer.mean.double()) @ quantizer.rotation.double()
        return (turned.unflatten(1, (2, 1, -1)) - books).square().sum(3).argsort(2)

    def quantized(of: torch.Tensor) -> torch.Tensor:
        return torch.cat([book[column] for book, column in zip(books, of.T)], 1)

    there = quantized(codes(every)[..., 0])

    def near(of: torch.Tensor, me: int, k: int) -> list[int]:
        order = (there - quantized(of[None])).square().sum(1).argsort(stable=True).tolist()
        return [one for one in order if one != me][:k]

    vectors = first.backbone.vectors(first.lookup(), vocab, side._replace(states=torch.zeros_like(side.states)))
    best, second_best, *_ = codes(vectors).unbind(2)
    linked = []
    for me, mine, other in zip(side.ids.tolist(), best, second_best):
        latent = [torch.stack([other[0], mine[1]]), torch.stack([mine[0], other[1]])]
        linked.append({*near(mine, me, K), *(one for of in latent for one in near(of, me, MORE))})
    return best, linked


def met(data: Any, vocab: str, entity: int, moment: int, part: int) -> list[int]:
    """Return the last others that an entity had met before a moment, from the interactions themselves."""
    events = []
    for of in range(part + 1):
        users, items = (column.numpy() for column in data.parts[of])
        mine, others = (users, items) if vocab == "user" else (items, users)
        moments = data.moments[of].numpy()
        there = (mine == entity) & (moments < moment)
        events += list(zip(moments[there].tolist(), others[there].tolist()))
    recent = [other for _, other in sorted(events)][-data.recent :]
    return [-1] * (data.recent - len(recent)) + recent


def check(stages: Any, vocab: str, found: Side, moments: torch.Tensor, part: int) -> None:
    """Check sides that were asked for at moments (M,)."""
    data = stages[3].augmentation.data
    past = [met(data, vocab, *at, part) for at in zip(found.ids.tolist(), moments.tolist())]
    codes, linked = of_the_past(stages, vocab, found._replace(recent=torch.tensor(past, dtype=torch.int32)))
    assert found.codes is not None
    assert found.linked is not None
    assert torch.equal(found.codes, codes + OFFSETS)
    assert [set(row[row >= 0].tolist()) for row in found.linked] == linked


@torch.no_grad()
def test_codes_and_links_of_training_are_of_the_past_alone(stages: Any) -> None:
    third, data = stages[3], stages[3].augmentation.data
    block: Block = next(iter(data.train_dataloader()))
    batch = block.batches()[0]
    user, item = third.scored(batch)
    assert len(item.ids) > len(user.ids) > 100
    check(stages, "user", user, batch.moments, TRAIN)
    check(stages, "item", item, batch.moments.repeat_interleave(batch.items.shape[1]), TRAIN)


@torch.no_grad()
def test_codes_and_links_of_the_test_are_of_the_past_alone(stages: Any) -> None:
    third, data = stages[3], stages[3].augmentation.data
    moments = data.moments[TEST][:60]
    for vocab, entities in zip(("user", "item"), data.parts[TEST]):
        line = data.timelines[TEST][vocab]
        side = line.side(line.before(entities[:60], moments), data.recent)
        check(stages, vocab, third.side(vocab, side, TEST), moments, TEST)


def test_states_are_coded_by_sequences_as_long_as_the_first_stage_had(stages: Any) -> None:
    codes = []
    for recent in (6, 2):
        data = timed(recent=recent)
        data.setup()
        line = data.timelines[TEST]["user"]
        of_all = Side(line.owners(torch.arange(line.states)), torch.arange(line.states), torch.empty(0))
        codes.append(Augmentation(stages[0] / "2", data, 4, 0, False).codes("user", of_all, TEST))
    assert torch.equal(*codes)


def test_a_first_stage_that_was_trained_anew_is_refused(stages: Any, tmp_path: Path) -> None:
    folder, first = stages[0], copy.deepcopy(stages[1])
    again = tmp_path / "1"
    again.mkdir()
    for name in ("best.ckpt", "config.yaml"):
        (again / name).write_bytes((folder / "1" / name).read_bytes())
    data = timed()
    data.setup()
    with torch.no_grad():
        first.backbone.towers["user"][0].bias.add_(1.0)
        first.leave(again, data)
    coded = tmp_path / "2"
    coded.mkdir()
    (coded / "best.ckpt").write_bytes((folder / "2" / "best.ckpt").read_bytes())
    text = (folder / "2" / "config.yaml").read_text().replace(str(folder / "1"), str(again))
    (coded / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="has been run anew since"):
        Augmentation(coded, data, 4, 0, False)


def test_codes_and_links_are_those_of_the_files(stages: Any) -> None:
    """After the last training interaction, a state is what the files tell of its entity."""
    folder, _, second, third = stages
    data, augmentation = timed(), third.augmentation
    data.setup()
    assert augmentation is not None
    for vocab, ids in (("user", data.raw.user_ids), ("item", data.raw.item_ids)):
        line = data.timelines[TRAIN][vocab]
        side = Side(torch.arange(line.count), line.now, line.recent(line.now, data.recent))
        files = {kind: pq.read_table(folder / "2" / kind / f"{vocab}.parquet") for kind in ("semantic_ids", "links")}
        assert files["semantic_ids"][vocab].to_pylist() == ids.to_pylist()
        codes = torch.tensor(files["semantic_ids"]["codes"].to_pylist())
        assert torch.equal(augmentation.codes(vocab, side, TRAIN), codes + OFFSETS)
        names = ids.to_pylist()
        found = augmentation.linked(vocab, side, TRAIN)
        for row, near, more in zip(found, files["links"]["neighbours"], files["links"]["latent"]):
            assert {names[i] for i in row[row >= 0].tolist()} == {one.as_py() for one in [*near, *more]}
        assert not bool((found == torch.arange(line.count)[:, None]).any())
    assert set(second.quantizers) == {"user", "item"}


def test_static_codes_are_of_entities_whatever_the_moment(stages: Any) -> None:
    folder, _, _, _ = stages
    data = timed()
    data.setup()
    made = Augmentation(folder / "2", data, K, MORE, static_codes=True)
    line = data.timelines[TEST]["user"]
    states = torch.arange(line.states)
    side = Side(line.owners(states), states, line.recent(states, 1))
    files = [pq.read_table(folder / "2" / kind / "user.parquet") for kind in ("semantic_ids", "links")]
    codes = torch.tensor(files[0]["codes"].to_pylist()) + OFFSETS
    assert torch.equal(made.codes("user", side, TEST), codes[side.ids])
    assert len(codes.unique(dim=0)) > 10
    names = data.raw.user_ids.to_pylist()
    linked = [{*near, *more} for near, more in zip(*(files[1][name].to_pylist() for name in ("neighbours", "latent")))]
    for row, owner in zip(made.linked("user", side, TEST), side.ids.tolist()):
        assert {names[i] for i in row[row >= 0].tolist()} == linked[owner]


def test_codes_follow_the_moment(stages: Any) -> None:
    third = stages[3]
    data = timed()
    data.setup()
    line = data.timelines[TEST]["user"]
    states = torch.arange(line.states)
    codes = third.augmentation.codes("user", Side(line.owners(states), states, line.recent(states, 1)), TEST)
    changed = (codes[1:] != codes[:-1]).any(1) & (line.owners(states)[1:] == line.owners(states)[:-1])
    assert 0.1 < float(changed.float().mean()) < 1


def test_neighbours_are_not_searched_where_no_links_are_asked_for(stages: Any) -> None:
    data = timed()
    data.setup()
    made = Augmentation(stages[0] / "2", data, K, MORE, True, linked=("item",))
    for vocab in ("user", "item"):
        line = data.timelines[TRAIN][vocab]
        made.codes(vocab, line.side(line.now, 1), TRAIN)
    assert [len(made.near[vocab].rows) > 0 for vocab in ("user", "item")] == [False, True]


@pytest.mark.parametrize("static", [False, True])
def test_a_first_stage_that_was_trained_on_others_is_refused(static: bool, stages: Any) -> None:
    """Of other splits, its codes may know of the test; what it was not shown does no harm."""
    more = timed(ratio=(0.85, 0.05, 0.1))
    more.setup()
    Augmentation(stages[0] / "2", more, K, MORE, static)
    less = timed(ratio=(0.5, 0.25, 0.25))
    less.setup()
    with pytest.raises(UserError, match="interactions that are not among the training ones of this data"):
        Augmentation(stages[0] / "2", less, K, MORE, static)


def test_codebooks_that_were_learned_anew_are_refused(stages: Any, tmp_path: Path) -> None:
    """By whoever opens the checkpoint, and by a module made anew for `test --run` and `fit --run`."""
    folder, again = stages[0], tmp_path / "2"
    shutil.copytree(folder / "2", again)
    kept = torch.load(again / "best.ckpt", weights_only=False)
    kept["state_dict"]["quantizers.item.codebook.weight"].add_(1.0)
    torch.save(kept, again / "best.ckpt")
    opened = Recommender.load_from_checkpoint(folder / "3" / "best.ckpt")
    data = timed()
    data.setup()
    digest = opened.facts.coded_by
    Augmentation(folder / "2", data, K, MORE, False, digest=digest)
    with pytest.raises(UserError, match="has been run anew since this model was trained with its codes"):
        Augmentation(again, data, K, MORE, False, digest=digest)
    for run in ("test", "fit"):
        backbone = DualTower(8, layers=(12,), semantic_ids=("user", "item"), links=("user", "item"))
        fresh = TimedFiltering(backbone, patterns=str(again), links=6, latent_links=2, lr=1e-2, ks=(5,))
        with pytest.raises(UserError, match="has been run anew since this model was trained with its codes"):
            getattr(trainer_of(), run)(fresh, datamodule=timed(), ckpt_path=folder / "3" / "best.ckpt")

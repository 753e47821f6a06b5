"""Blocks of an epoch: each pair once, the same pairs however many ranks, and on from wherever a run stopped."""

from itertools import islice, pairwise
from math import ceil

import pytest
import torch

from lightning_vq.data.loaders import BlockLoader, EvalLoader
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.data.samplers import PairSampler
from lightning_vq.types import Block, EvalBatch

PAIRS, USERS, ITEMS = 103, 11, 40


def loader(batch_size: int = 8, rank: int = 0, world: int = 1, pairs: int = PAIRS, block: int = 3) -> BlockLoader:
    users = torch.arange(pairs) * USERS // pairs  # sorted
    items = torch.arange(pairs) * 7 % ITEMS
    known = KnownPairs(users, items, ITEMS, "here")
    return BlockLoader(PairSampler(users, items, known, 2), batch_size, block, 5, 0, rank, world)


def epoch(one: BlockLoader) -> list[Block]:
    """Take as many blocks as there are and never ask for the end, as Lightning does."""
    return list(islice(iter(one), len(one)))


def minibatches(blocks: list[Block]) -> list[torch.Tensor]:
    """Return (B, 1 + 1 + negatives) per mini-batch: user, positive, negatives."""
    return [torch.column_stack([p.users, p.items]) for block in blocks for p in block.batches()]


def observed(rows: torch.Tensor) -> list[tuple[int, int]]:
    return sorted(zip(rows[:, 0].tolist(), rows[:, 1].tolist()))


def everything(one: BlockLoader) -> list[tuple[int, int]]:
    return sorted(zip(one.sampler.users.tolist(), one.sampler.items.tolist()))


@pytest.mark.parametrize("batch_size", [1, 8, PAIRS - 1, PAIRS, 1000])
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_an_epoch_holds_each_pair_once(batch_size: int, block: int) -> None:
    one = loader(batch_size, block=block)
    blocks = epoch(one)
    assert len(blocks) == len(one) == ceil(ceil(PAIRS / batch_size) / block)
    assert observed(torch.cat(minibatches(blocks))) == everything(one)


def test_uneven_last_mini_batch_and_block() -> None:
    sizes = [[len(p.users) for p in block.batches()] for block in epoch(loader())]
    assert sizes == [[8, 8, 8]] * 4 + [[7]]


def test_negatives_are_unknown() -> None:
    one = loader()
    for rows in minibatches(epoch(one)):
        assert rows.shape[1] == 4
        assert not one.sampler.known.contains(rows[:, 0].repeat_interleave(2), rows[:, 2:].flatten()).any()


def test_consecutive_epochs_differ_and_none_is_empty() -> None:
    one = loader()
    epochs = [torch.cat(minibatches(epoch(one))) for _ in range(4)]
    for rows in epochs:
        assert observed(rows) == everything(one)
    for earlier, later in pairwise(epochs):
        assert not torch.equal(earlier[:, :2], later[:, :2])
        assert observed(earlier[:, [0, 2]]) != observed(later[:, [0, 2]])  # fresh negatives


def test_a_loop_that_asks_for_the_end_sees_the_same() -> None:
    one, other = loader(), loader()
    for _ in range(3):
        for ours, theirs in zip(minibatches(epoch(one)), minibatches(list(other)), strict=True):
            assert torch.equal(ours, theirs)


# -- ranks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [96, 103, 99, 5])
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_mini_batch_of_one_process(pairs: int, world: int) -> None:
    alone = loader(8 * world, pairs=pairs)
    ranks = [loader(8, rank, world, pairs) for rank in range(world)]
    for _ in range(2):
        together = [torch.cat(rows) for rows in zip(*(minibatches(epoch(rank)) for rank in ranks), strict=True)]
        assert len({len(rank) for rank in ranks}) == 1
        for ours, theirs in zip(together, minibatches(epoch(alone)), strict=True):
            assert torch.equal(ours, theirs)


def test_a_rest_smaller_than_the_ranks_is_left_out() -> None:
    ranks = [minibatches(epoch(loader(8, rank, 2, pairs=97))) for rank in (0, 1)]
    assert [[len(rows) for rows in rank] for rank in ranks] == [[8] * 6] * 2


# -- on from where a run stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 5, 6, 7, 9])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_resumed_at_any_block(stop: int, rank: int, world: int) -> None:
    whole, stopped, resumed = (loader(8, rank, world) for _ in range(3))
    blocks = [epoch(whole) for _ in range(4)]
    first, rest = divmod(stop, len(whole))
    for _ in range(first):
        epoch(stopped)
    list(islice(iter(stopped), rest))
    resumed.load_state_dict(stopped.state_dict())
    remaining = blocks[first][rest:] + [block for later in blocks[first + 1 :] for block in later]
    found = list(islice(iter(resumed), len(whole) - rest)) if rest else []
    while len(found) < len(remaining):
        found += epoch(resumed)
    for ours, theirs in zip(minibatches(found), minibatches(remaining), strict=True):
        assert torch.equal(ours, theirs)


# -- evaluation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 23])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_evaluation_covers_each_row_once_over_the_ranks(count: int, world: int, batch_size: int) -> None:
    def make(rows: torch.Tensor) -> EvalBatch:
        return EvalBatch(rows * 2, rows, rows, rows * 3, None, None)

    rows: list[int] = []
    for rank in range(world):
        one = EvalLoader(torch.arange(count), batch_size, make, rank, world)
        batches = list(one)
        assert len(batches) == len(one)
        assert all(len(batch.cases) <= batch_size for batch in batches)
        assert [b.users.tolist() for b in batches] == [(b.cases * 2).tolist() for b in one]  # and again
        rows += [case for batch in batches for case in batch.cases.tolist()]
    assert rows == list(range(count))


def test_an_epoch_left_in_its_middle_is_followed_by_a_whole_one() -> None:
    one = loader(batch_size=4, block=2)
    first = [block.rows.users for block in islice(one, 2)]  # as trainer.limit_train_batches does
    second = [block.rows.users for block in one]
    assert len(second) == len(one)
    assert one.epoch == 1
    assert not torch.equal(torch.cat(first), torch.cat(second[:2]))
    resumed = loader(batch_size=4, block=2)
    resumed.load_state_dict({"epoch": 0, "position": 1})
    assert torch.equal(next(iter(resumed)).rows.users, first[1])

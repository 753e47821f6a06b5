"""Batches of lists: each list once an epoch, little padding, the same on any number of ranks, resumed anywhere."""

from itertools import islice, pairwise

import pytest
import torch

from lightning_vq.data.list_loader import ListLoader, Stretches
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.types import Block, Lists

ITEMS = 50


def stretches(count: int, longest: int = 12) -> Stretches:
    """Return lists of 2 to so many items, the first of which is the list's number modulo ITEMS."""
    lengths = torch.randint(2, longest + 1, (count,), generator=torch.Generator().manual_seed(3))
    begins = lengths.cumsum(0) - lengths
    items = torch.randint(ITEMS, (int(lengths.sum()),), generator=torch.Generator().manual_seed(4))
    items[begins] = torch.arange(count) % ITEMS
    return Stretches(items, begins, lengths, lengths // 2, torch.arange(count) * 10)


def loader(
    batch_size: int = 8, rank: int = 0, world: int = 1, count: int = 103, negatives: int = 0, longest: int = 12
) -> ListLoader:
    lists = stretches(count, longest)
    return ListLoader(lists, batch_size, negatives, listed(lists, ITEMS) if negatives else None, 5, 0, rank, world)


def listed(lists: Stretches, items: int) -> KnownPairs:
    return KnownPairs(torch.arange(len(lists.lengths)).repeat_interleave(lists.lengths), lists.items, items, "here")


def epoch(one: ListLoader) -> list[Lists]:
    """Take as many batches as there are and never ask for the end, as Lightning does."""
    blocks: list[Block] = list(islice(iter(one), len(one)))
    batches = [batch for block in blocks for batch in block.batches()]
    assert len(batches) == len(blocks)  # a block is one mini-batch
    return batches


def by_case(batches: list[Lists]) -> dict[int, tuple[list[int], int, list[list[int]]]]:
    """Return the items of each list, how many are given, and its negatives."""
    found = {}
    for batch in batches:
        for row, case in enumerate(batch.cases.tolist()):
            there = batch.items[row] >= 0
            negatives = [] if batch.negatives is None else batch.negatives[row][there].tolist()
            found[case] = (batch.items[row][there].tolist(), int(batch.known[row]), negatives)
    return found


def same(ours: list[Lists], theirs: list[Lists]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(a is b is None or torch.equal(a, b) for one, other in pairs for a, b in zip(one, other))


@pytest.mark.parametrize("batch_size", [1, 8, 102, 103, 1000])
def test_an_epoch_holds_each_list_once(batch_size: int) -> None:
    one = loader(batch_size)
    whole, batches = one.stretches, epoch(one)
    cases = torch.cat([batch.cases for batch in batches])
    assert sorted(cases.tolist()) == whole.cases.tolist()
    assert [len(batch.cases) for batch in batches].count(batch_size) >= 103 // batch_size
    ends = (whole.begins + whole.lengths).tolist()
    wanted = {
        10 * i: (whole.items[begin:end].tolist(), (end - begin) // 2, [])
        for i, (begin, end) in enumerate(zip(whole.begins.tolist(), ends))
    }
    assert by_case(batches) == wanted


def test_padded_only_to_the_longest_of_the_batch() -> None:
    for batch in epoch(loader()):
        there = batch.items >= 0
        assert batch.lengths.tolist() == there.sum(1).tolist()
        assert int(batch.lengths.max()) == batch.items.shape[1]
        assert (there.int().diff(dim=1) <= 0).all()  # nothing after the first that is not there
        assert (batch.items[~there] == -1).all()


def test_lists_of_like_lengths_are_together() -> None:
    one = loader(8, count=3000, longest=100)
    batches = epoch(one)
    padded = sum(batch.items.numel() for batch in batches)
    assert padded < 1.15 * int(one.stretches.lengths.sum())
    longest = [batch.items.shape[1] for batch in batches]
    assert longest != sorted(longest)  # batches come in any order


def test_epochs_differ_and_depend_on_the_seed_alone() -> None:
    one, other = loader(negatives=2), loader(negatives=2)
    epochs = [epoch(one) for _ in range(3)]
    for mine in epochs:
        assert same(mine, epoch(other))
    for earlier, later in pairwise(epochs):
        assert not same(earlier, later)
        assert by_case(earlier) != by_case(later)  # fresh negatives


def test_an_epoch_left_in_its_middle_is_followed_by_a_whole_one() -> None:
    one = loader()
    list(islice(one, 3))
    assert len(list(one)) == len(one)
    assert one.epoch == 1


# -- negatives ---------------------------------------------------------------------------------------------------------


def test_negatives_are_all_items_that_the_list_does_not_hold() -> None:
    flat = torch.tensor([0, 1, 2, 3, 2])
    two = Stretches(flat, torch.tensor([0, 2]), torch.tensor([2, 3]), torch.tensor([1, 1]), torch.arange(2))
    (batch,) = epoch(ListLoader(two, 2, 4000, listed(two, 5), 0, 0, 0, 1))
    assert batch.negatives is not None
    assert batch.negatives.shape == (2, 3, 4000)
    for row, place in (batch.items >= 0).nonzero().tolist():
        counts = torch.bincount(batch.negatives[row, place], minlength=5)
        others = sorted({0, 1, 2, 3, 4} - set(batch.items[row].tolist()))
        assert len(others) == 3
        assert counts[others].sum() == 4000
        assert (counts[others] - 4000 / 3).abs().max() < 150  # five deviations
    assert ((batch.negatives >= 0) & (batch.negatives < 5)).all()  # also where nothing stands


# -- ranks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [96, 103, 99, 5])
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_batch_of_one_process(count: int, world: int) -> None:
    alone = loader(8 * world, count=count, negatives=2)
    ranks = [loader(8, rank, world, count, negatives=2) for rank in range(world)]
    for _ in range(2):
        shares = list(zip(*(epoch(rank) for rank in ranks), strict=True))
        whole = epoch(alone)
        assert len(shares) == len(whole) == len(alone)
        for parts, batch in zip(shares, whole):
            together = {case: one for part in parts for case, one in by_case([part]).items()}
            assert together == by_case([batch])
            sizes = [len(part.cases) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            assert sum(sizes) == len(batch.cases)


def test_a_rest_smaller_than_the_ranks_is_left_out() -> None:
    ranks = [epoch(loader(8, rank, 2, count=97)) for rank in (0, 1)]
    assert [[len(batch.cases) for batch in rank] for rank in ranks] == [[8] * 6] * 2


# -- on from where a run stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [0, 1, 5, 12, 13, 14, 20])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_resumed_at_any_batch(stop: int, rank: int, world: int) -> None:
    whole, stopped, resumed = (loader(8, rank, world, negatives=1) for _ in range(3))
    batches = [batch for _ in range(4) for batch in epoch(whole)]
    first, rest = divmod(stop, len(whole))
    for _ in range(first):
        epoch(stopped)
    list(islice(iter(stopped), rest))
    resumed.load_state_dict(stopped.state_dict())
    found = [block.rows for block in islice(iter(resumed), len(whole) - rest)] if rest else []
    while len(found) < len(batches) - stop:
        found += epoch(resumed)
    assert same(found, batches[stop:])


def test_no_stretch_makes_an_empty_batch() -> None:
    batch = stretches(3).batch(torch.tensor([], dtype=torch.long))
    assert batch.items.shape == (0, 0)

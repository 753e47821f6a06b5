"""Negatives are unknown to the user, uniform among what is unknown, and drawn from the generator alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_vq.data import CollaborativeData
from lightning_vq.data.negatives import KnownPairs, generator
from lightning_vq.data.splits import DEV, TEST
from lightning_vq.errors import UserError
from lightning_vq.sources.planted import PlantedOptions

ITEMS = 6
SMALL = PlantedOptions(users=80, items=60, branching=(4, 3), mean_length=12)


def pairs_of(known: list[set[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [(user, item) for user, items in enumerate(known) for item in items]
    users, items = torch.tensor(rows).reshape(-1, 2).T
    return users, items


@given(
    known=st.lists(st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=ITEMS - 1), min_size=1, max_size=8),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    shuffled=st.booleans(),
)
def test_never_known(known: list[set[int]], count: int, seed: int, shuffled: bool) -> None:
    users, items = pairs_of(known)
    pairs = KnownPairs(users, items, ITEMS, "here")
    asked = users[torch.randperm(len(users))] if shuffled else users
    drawn = pairs.negatives(asked, count, generator(seed))
    assert drawn.shape == (len(asked), count)
    for user, row in zip(asked.tolist(), drawn.tolist()):
        assert all(0 <= item < ITEMS and item not in known[user] for item in row)


@given(st.lists(st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=ITEMS - 1), min_size=1, max_size=8))
def test_contains_against_sets(known: list[set[int]]) -> None:
    pairs = KnownPairs(*pairs_of(known), ITEMS, "here")
    users, items = torch.cartesian_prod(torch.arange(len(known)), torch.arange(ITEMS)).T
    assert pairs.contains(users, items).tolist() == [i in known[u] for u, i in zip(users.tolist(), items.tolist())]


def test_a_pair_that_stands_twice_is_one() -> None:
    pairs = KnownPairs(torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]), 3, "here")
    assert set(pairs.negatives(torch.zeros(50, dtype=torch.long), 1, generator(0)).flatten().tolist()) == {0, 2}


def test_uniform_over_the_unknown() -> None:
    known = [{0, 1, 2, 3, 17}, {5}, set(range(18))]
    pairs = KnownPairs(*pairs_of(known), 20, "here")
    for user, items in enumerate(known):
        drawn = pairs.negatives(torch.full((10_000,), user), 2, generator(0, user)).flatten()
        counts = torch.bincount(drawn, minlength=20).double()
        unknown = [item for item in range(20) if item not in items]
        expected = len(drawn) / len(unknown)
        chi_square = ((counts[unknown] - expected) ** 2 / expected).sum()
        freedom = len(unknown) - 1
        assert chi_square < freedom + 4 * (2 * freedom) ** 0.5  # mean and deviation of chi-square
        assert counts.sum() == counts[unknown].sum()


def test_user_who_knows_all_items_is_refused() -> None:
    users, items = pairs_of([{0}, {0, 1, 2}])
    with pytest.raises(UserError, match=r"here: user 1 knows all 3 items, so that no negative can be drawn"):
        KnownPairs(users, items, 3, "here")
    with pytest.raises(UserError, match=r"here: user bob knows all 3 items"):
        KnownPairs(users, items, 3, "here", ["ann", "bob"])


def test_drawn_from_the_generator_alone() -> None:
    users, items = pairs_of([{0, 1}, {2, 3}])
    pairs = KnownPairs(users, items, 50, "here")
    torch.manual_seed(1)
    one = pairs.negatives(users, 9, generator(0, 1))
    torch.manual_seed(2)
    assert torch.equal(one, pairs.negatives(users, 9, generator(0, 1)))
    for purpose in [(1, 1), (0, 2), (0, 1, 0)]:
        assert not torch.equal(one, pairs.negatives(users, 9, generator(*purpose)))


def test_evaluation_negatives_were_never_touched() -> None:
    data = CollaborativeData(planted=SMALL, eval_negatives=30)
    data.setup()
    assert data.raw is not None
    touched = set(zip(data.raw.users.tolist(), data.raw.items.tolist()))
    for part in (DEV, TEST):
        users, drawn = data.parts[part][0].tolist(), data.evaluation.sampled(part)
        assert drawn.shape == (80, 30)
        assert not any((user, item) in touched for user, row in zip(users, drawn.tolist()) for item in row)


def test_evaluation_negatives_follow_eval_seed_only() -> None:
    def drawn(**options: int) -> torch.Tensor:
        data = CollaborativeData(planted=SMALL, **options)
        data.setup()
        return torch.cat([data.evaluation.sampled(DEV), data.evaluation.sampled(TEST)])

    assert torch.equal(drawn(seed=0), drawn(seed=1))
    assert not torch.equal(drawn(eval_seed=0), drawn(eval_seed=1))
    dev, test = drawn().chunk(2)
    assert not torch.equal(dev, test)

"""The planted world: drawn from its seed alone, a power law with cold items, a truth whose levels nest."""

from itertools import pairwise

import numpy as np
import pytest

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Interactions
from lightning_vq.sources.planted import PlantedOptions, planted_interactions

OPTIONS = PlantedOptions(users=600, items=400, branching=(4, 3, 2), mean_length=25)


@pytest.fixture(scope="module")
def raw() -> Interactions:
    return planted_interactions(OPTIONS)


def test_same_seed_same_world(raw: Interactions) -> None:
    again, other = planted_interactions(OPTIONS), planted_interactions(OPTIONS._replace(seed=1))
    for name in ("users", "items", "order"):
        assert np.array_equal(getattr(raw, name), getattr(again, name))
    assert np.array_equal(raw.item_categories["leaf"], again.item_categories["leaf"])
    assert not np.array_equal(raw.item_categories["leaf"], other.item_categories["leaf"])
    assert not np.array_equal(raw.items[:100], other.items[:100])


@pytest.mark.parametrize("options", [OPTIONS, PlantedOptions(), OPTIONS._replace(mean_length=1)])
def test_no_pair_twice_and_at_least_three_a_user(options: PlantedOptions) -> None:
    raw = planted_interactions(options)
    assert len(np.unique(raw.users * options.items + raw.items)) == len(raw.users)
    assert np.bincount(raw.users, minlength=options.users).min() >= 3
    assert len(raw.user_ids) == options.users
    assert len(raw.item_ids) == options.items


def test_a_user_never_meets_two_items_at_once(raw: Interactions) -> None:
    assert len(np.unique(raw.users * 10**11 + raw.order)) == len(raw.users)
    assert (np.diff(raw.order) >= 0).all()


def test_popularity_is_a_power_law() -> None:
    raw = planted_interactions(OPTIONS._replace(users=4000, cold=0.0, branching=(1,), favourites=1))
    counts = np.bincount(raw.items, minlength=OPTIONS.items)
    slope = np.polyfit(np.log(np.arange(OPTIONS.items) + 5.0), np.log(counts), 1)[0]
    # A user takes an item once, which flattens the head.
    assert -OPTIONS.exponent - 0.05 < slope < -OPTIONS.exponent + 0.2
    assert np.corrcoef(np.log(np.arange(OPTIONS.items) + 5.0), np.log(counts))[0, 1] < -0.98


def test_cold_items_exist() -> None:
    warm = np.bincount(planted_interactions(OPTIONS._replace(cold=0.0)).items, minlength=OPTIONS.items)
    cold = np.bincount(planted_interactions(OPTIONS._replace(cold=0.3)).items, minlength=OPTIONS.items)
    assert (warm <= 2).mean() < 0.02
    assert 0.2 < (cold <= 2).mean() < 0.4


@pytest.mark.parametrize("vocabulary", ["item_categories", "user_categories"])
def test_levels_nest(raw: Interactions, vocabulary: str) -> None:
    levels = list(getattr(raw, vocabulary).values())  # finest first
    assert [len(np.unique(level)) for level in levels] == [24, 12, 4]
    for fine, coarse in pairwise(levels):
        assert len(np.unique(np.column_stack([fine, coarse]), axis=0)) == len(np.unique(fine))


def test_users_follow_their_leaves(raw: Interactions) -> None:
    own = raw.item_categories["leaf"][raw.items] == raw.user_categories["leaf"][raw.users]
    assert own.mean() > 5 / 24


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"users": 0}, "planted.users is 0; it must be at least 1"),
        ({"mean_length": 0}, "planted.mean_length is 0"),
        ({"favourites": 0}, "planted.favourites is 0"),
        ({"loyalty": 1.5}, "planted.loyalty is 1.5; it must be a share between 0 and 1"),
        ({"sibling": -0.1}, "planted.sibling is -0.1"),
        ({"cold": 2.0}, "planted.cold is 2.0"),
        ({"seed": -1}, "planted.seed is -1"),
        ({"branching": ()}, "planted.branching"),
        ({"branching": (4, 0)}, "planted.branching"),
        ({"items": 23}, "planted.items is 23; it must be at least 20 and at least the 24 leaves"),
        ({"items": 19, "branching": (2,)}, "planted.items is 19"),
        ({"items": 24, "loyalty": 1.0}, "a user found only"),
    ],
)
def test_wrong_options_are_refused(wrong: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected.replace("(", r"\(")):
        planted_interactions(OPTIONS._replace(**wrong))

"""Planted lists: drawn from their seed alone, mostly in one coarse category, walking among its leaves."""

import numpy as np
import pytest

from lightning_vq.errors import UserError
from lightning_vq.sources.lists import RawLists
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.planted_lists import planted_lists

OPTIONS = PlantedOptions(users=600, items=400, branching=(4, 3, 2), mean_length=15)


@pytest.fixture(scope="module")
def raw() -> RawLists:
    return planted_lists(OPTIONS)


def leaves(raw: RawLists, level: str = "leaf") -> list[np.ndarray]:
    """Return the categories of each list's items."""
    return np.split(raw.item_categories[level][raw.items], raw.starts[1:-1])


def test_same_seed_same_lists(raw: RawLists) -> None:
    again, other = planted_lists(OPTIONS), planted_lists(OPTIONS._replace(seed=1))
    assert np.array_equal(raw.items, again.items)
    assert np.array_equal(raw.starts, again.starts)
    assert not np.array_equal(raw.items[:100], other.items[:100])


@pytest.mark.parametrize("options", [OPTIONS, PlantedOptions(), PlantedOptions(120, 80, (4, 3), 12)])
def test_no_item_twice_in_a_list(options: PlantedOptions) -> None:
    raw = planted_lists(options)
    owners = np.repeat(np.arange(options.users), raw.lengths)
    assert len(np.unique(owners * options.items + raw.items)) == len(raw.items)
    assert raw.lengths.min() >= 4
    assert raw.lengths.mean() == pytest.approx(options.mean_length, rel=0.2)  # a home has no more than so many items
    assert (len(raw.list_ids), len(raw.item_ids)) == (options.users, options.items)


def test_levels_nest_and_name_categories(raw: RawLists) -> None:
    assert [len(np.unique(level)) for level in raw.item_categories.values()] == [24, 12, 4]
    assert raw.item_metadata is not None
    assert raw.item_metadata.categories[3] == [f"above1 {raw.item_categories['above1'][3]}"]


def test_a_list_stays_mostly_in_one_coarse_category(raw: RawLists) -> None:
    shares = [np.bincount(of).max() / len(of) for of in leaves(raw, "above1")]
    assert np.mean(shares) > OPTIONS.loyalty + OPTIONS.sibling - 0.05
    homes = np.bincount([np.bincount(of).argmax() for of in leaves(raw, "above1")], minlength=4)
    assert homes.min() > 100  # of 600 lists


def test_a_list_walks_among_the_leaves(raw: RawLists) -> None:
    stays = np.concatenate([of[1:] == of[:-1] for of in leaves(raw)])
    shuffled = [np.random.default_rng(0).permutation(of) for of in leaves(raw)]
    by_chance = np.concatenate([of[1:] == of[:-1] for of in shuffled])
    assert stays.mean() > 0.55
    assert stays.mean() > by_chance.mean() + 0.2  # the order matters: that is what there is to learn


def test_without_strays_a_list_never_leaves_its_home() -> None:
    options = OPTIONS._replace(loyalty=0.6, sibling=0.4, items=2000)
    assert all(len(np.unique(of)) == 1 for of in leaves(planted_lists(options), "above1"))


def test_leaves_are_taken_by_popularity() -> None:
    raw = planted_lists(OPTIONS._replace(users=4000, items=4000, cold=0.0))
    counts = np.bincount(raw.items, minlength=4000)
    assert counts[:400].mean() > 3 * counts[-400:].mean()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"users": 0}, "planted.users is 0; it must be at least 1"),
        ({"loyalty": 1.5}, "planted.loyalty is 1.5; it must be a share between 0 and 1"),
        (
            {"items": 40, "branching": (20,), "loyalty": 1.0, "sibling": 0.0},
            "planted: a list found only 1 items that fit it, and needs 4",
        ),
    ],
)
def test_wrong_options_are_refused(wrong: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        planted_lists(OPTIONS._replace(**wrong))

"""Planted relevance: drawn from its seed alone, nearer pairs more relevant, and the noise the best RMSE there is."""

import numpy as np
import pytest

from lightning_vq.errors import UserError
from lightning_vq.sources.planted import PlantedOptions, make_world
from lightning_vq.sources.planted_relevance import BEST_RMSE, NOISE, planted_relevance, true_relevance
from lightning_vq.sources.relevance import RawRelevance

OPTIONS = PlantedOptions(items=600, branching=(4, 3, 2), mean_length=40)


@pytest.fixture(scope="module")
def raw() -> RawRelevance:
    return planted_relevance(OPTIONS)


def test_same_seed_same_pairs(raw: RawRelevance) -> None:
    again, other = planted_relevance(OPTIONS), planted_relevance(OPTIONS._replace(seed=1))
    for ours, theirs in zip((raw.users, raw.items, raw.scores), (again.users, again.items, again.scores)):
        assert np.array_equal(ours, theirs)
    assert not np.array_equal(raw.scores, other.scores)


def test_no_pair_twice_in_either_order_and_none_with_itself(raw: RawRelevance) -> None:
    pairs = {frozenset(pair) for pair in zip(raw.users.tolist(), raw.items.tolist())}
    assert len(pairs) == len(raw.scores) == len(raw.rows) == 600 * 40
    assert all(len(pair) == 2 for pair in pairs)


def test_relevance_rises_with_the_levels_that_are_shared() -> None:
    world = make_world(OPTIONS)
    leaf = world.item_leaf
    of = [int(np.flatnonzero(leaf == at)[0]) for at in (0, 1, 2, 6)]  # 2 leaves a group, 3 groups a node above
    same = int(np.flatnonzero(leaf == 0)[1])
    others = np.array([same, of[1], of[2], of[3]])
    assert true_relevance(world, np.full(4, of[0]), others) == pytest.approx([60, 20, -20, -60])


def test_the_noise_is_the_best_rmse_and_cuts_nothing_off(raw: RawRelevance) -> None:
    assert raw.truth is not None
    error = raw.scores - raw.truth
    assert np.abs(error).max() <= NOISE
    assert np.abs(raw.scores).max() <= 100
    assert raw.scores.max() > 99
    assert pytest.approx(40 / np.sqrt(3)) == BEST_RMSE
    assert np.sqrt((error**2).mean()) == pytest.approx(BEST_RMSE, rel=0.02)
    assert error.mean() == pytest.approx(0, abs=0.5)  # a standard error is 0.15
    for level in np.unique(raw.truth):  # nor is there anything left to learn of a level
        assert error[raw.truth == level].mean() == pytest.approx(0, abs=1.0)
    assert raw.scores.std() > 2 * BEST_RMSE


def test_close_pairs_are_not_rare_and_popular_items_are_asked_about(raw: RawRelevance) -> None:
    assert raw.truth is not None
    shares = [np.mean(raw.truth == level) for level in np.unique(raw.truth)]
    assert len(shares) == 4
    assert min(shares) > 0.08
    for items in (raw.users, raw.items):
        counts = np.bincount(items, minlength=600)
        assert counts[:60].mean() > 3 * counts[-300:].mean()


def test_both_sides_have_all_items_and_their_truth(raw: RawRelevance) -> None:
    assert raw.user_ids.to_pylist() == raw.item_ids.to_pylist() == [f"i{i}" for i in range(600)]
    assert [len(np.unique(level)) for level in raw.categories.values()] == [24, 12, 4]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"mean_length": 0}, "planted.mean_length is 0; it must be at least 1"),
        ({"items": 60}, r"planted: 1,\d\d\d pairs of items were found of the 2,400 wanted, planted.mean_length \(40\)"),
    ],
)
def test_wrong_options_are_refused(wrong: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        planted_relevance(OPTIONS._replace(**wrong))

"""Ranks and metrics against values worked by hand; ties count against the model."""

import math

import pytest
import torch
from one_held_out import hit_ratio, ndcg

from lightning_vq.metrics import (
    Ranks,
    Recommended,
    coverage,
    mean_popularity,
    rank_of_first,
    user_metrics,
)


def test_worked_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.9, 0.2], [0.5, 0.5, 0.2]])
    ranks = rank_of_first(scores)
    assert ranks.tolist() == [1, 3, 2]
    assert hit_ratio(ranks, 2).tolist() == [1, 0, 1]
    assert ndcg(ranks, 2).tolist() == pytest.approx([1, 0, 1 / math.log2(3)])


def test_a_repeated_negative_counts_each_time() -> None:
    assert rank_of_first(torch.tensor([[0.3, 0.5, 0.5, 0.5]])).tolist() == [4]


def test_a_constant_scorer_gets_nothing() -> None:
    ranks = rank_of_first(torch.zeros(4, 100))
    assert ranks.tolist() == [100] * 4
    assert hit_ratio(ranks, 10).sum() == 0
    assert ndcg(ranks, 10).sum() == 0


def test_a_case_seen_twice_counts_once() -> None:
    metric = Ranks()
    metric.update(torch.tensor([2, 0]), torch.tensor([6, 4]), torch.tensor([7, 1]))
    metric.update(torch.tensor([1, 2]), torch.tensor([4, 6]), torch.tensor([3, 7]))
    cases, users, ranks = metric.compute()
    assert cases.tolist() == [0, 1, 2]
    assert users.tolist() == [4, 4, 6]
    assert ranks.tolist() == [1, 3, 7]


# -- several held-out items a user -------------------------------------------------------------------------------------

NAMES = ("hr", "recall", "ndcg", "mrr", "map")


def by_definition(name: str, ranks: list[int], k: int) -> float:
    """Return a metric of one list from its definition: walk down the list of k places."""
    relevant = [place in ranks for place in range(1, k + 1)]
    best = min(len(ranks), k)
    if name == "hr":
        return float(any(relevant))
    if name == "recall":
        return sum(relevant) / len(ranks)
    if name == "mrr":
        return max((1 / place for place, hit in enumerate(relevant, 1) if hit), default=0.0)
    if name == "map":
        precisions = [sum(relevant[:place]) / place for place, hit in enumerate(relevant, 1) if hit]
        return sum(precisions) / best
    gain = sum(1 / math.log2(place + 1) for place, hit in enumerate(relevant, 1) if hit)
    return gain / sum(1 / math.log2(place + 1) for place in range(1, best + 1))


@pytest.mark.parametrize("k", [1, 3, 5, 20])
def test_several_held_out_items_against_definitions(k: int) -> None:
    draw = torch.Generator().manual_seed(k)
    users, ranks = [], []
    lists: dict[int, list[int]] = {}
    for user in (3, 5, 9, 12, 40):
        held = int(torch.randint(1, 7, (1,), generator=draw))
        lists[user] = (torch.randperm(15, generator=draw)[:held] + 1).tolist()
        users += [user] * held
        ranks += lists[user]
    order = torch.randperm(len(users), generator=draw)
    found = user_metrics(NAMES, (k,), torch.tensor(users)[order], torch.tensor(ranks)[order], one_list=True)
    for name in NAMES:
        expected = [by_definition(name, one, k) for one in lists.values()]
        assert found[f"{name}@{k}"].tolist() == pytest.approx(expected, abs=1e-6), name


def test_one_held_out_item_makes_recall_hr_and_map_mrr() -> None:
    users, ranks = torch.arange(6), torch.tensor([1, 2, 5, 6, 30, 3])
    found = user_metrics(NAMES, (5,), users, ranks, one_list=True)
    assert torch.equal(found["recall@5"], found["hr@5"])
    assert torch.equal(found["map@5"], found["mrr@5"])
    assert torch.equal(found["hr@5"], hit_ratio(ranks, 5))
    torch.testing.assert_close(found["ndcg@5"], ndcg(ranks, 5))


def test_each_against_its_own_candidates_is_averaged_by_user() -> None:
    found = user_metrics(("hr", "mrr"), (3,), torch.tensor([7, 7, 8]), torch.tensor([1, 9, 2]), one_list=False)
    assert found["hr@3"].tolist() == [0.5, 1.0]
    assert found["mrr@3"].tolist() == [0.5, 0.5]


def test_what_is_recommended() -> None:
    metric = Recommended((1, 2), 5)
    metric.update(torch.tensor([[0, 3], [0, 1]]))
    metric.update(torch.tensor([[4, -1]]))  # a user with one unseen item
    first, second = metric.compute()
    assert first.tolist() == [2, 0, 0, 0, 1]
    assert second.tolist() == [2, 1, 0, 1, 1]
    assert coverage(second).item() == pytest.approx(0.8)
    assert mean_popularity(second, torch.tensor([10, 1, 7, 2, 4])).item() == pytest.approx((20 + 1 + 2 + 4) / 5)

"""Ranks and metrics against values worked by hand; ties count against the model."""

import math

import pytest
import torch

from lightning_vq.metrics import Ranks, hit_ratio, ndcg, rank_of_first


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

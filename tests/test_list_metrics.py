"""Metrics of list completion against numbers worked by hand and a plain reading of the protocol."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_vq.list_metrics import Completed, completion_metric, depth_by_depth, hits


def plain(choices: list[list[int]], size: int) -> list[int]:
    """Return candidates as the protocol is told."""
    found: list[int] = []
    for depth in range(len(choices[0])):
        for position in choices:
            if position[depth] not in found and len(found) < size:
                found.append(position[depth])
    return found


@st.composite
def lists_of_choices(draw: Any) -> tuple[list[list[list[int]]], list[int], int]:
    lists, positions, depth = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    one = st.permutations(range(6)).map(lambda order: list(order[:depth]))
    choices = draw(st.lists(st.lists(one, min_size=positions, max_size=positions), min_size=lists, max_size=lists))
    counts = draw(st.lists(st.integers(1, positions), min_size=lists, max_size=lists))
    return choices, counts, draw(st.integers(1, 8))


@settings(deadline=None)
@given(lists_of_choices())
def test_candidates_are_taken_depth_by_depth(drawn: tuple[list[list[list[int]]], list[int], int]) -> None:
    choices, counts, size = drawn
    found = depth_by_depth(torch.tensor(choices), torch.tensor(counts), size)
    for row, one, count in zip(found.tolist(), choices, counts):
        wanted = plain(one[:count], size)
        assert row == wanted + [-1] * (size - len(wanted))


def test_metrics_by_hand() -> None:
    candidates = torch.tensor([[7, 1, 2, 9, 4], [1, 2, 3, -1, -1], [5, 6, 7, 8, 9]])
    targets = torch.tensor([[1, 1, 9, 8, 3, 3], [2, 2, 2, 2, 4, -1], [5, 6, 7, 8, -1, -1]])
    hit = hits(candidates, targets)
    assert hit.tolist() == [
        [False, True, False, True, False], [False, True, False, False, False], [True, True, True, True, False],
    ]  # fmt: skip
    lengths = (targets >= 0).sum(1)
    ideal = sum(1 / math.log2(c + 1) for c in range(1, 6))  # five hits, repeats of what is to come counted
    ndcg = completion_metric("ndcg", hit, lengths, 5)
    assert ndcg[:2].tolist() == pytest.approx([(1 / math.log2(3) + 1 / math.log2(5)) / ideal, 1 / math.log2(3) / ideal])
    assert ndcg[2].isnan()  # four items are to come
    assert completion_metric("hr", hit, lengths, 1).tolist() == [0.0, 0.0, 1.0]
    assert completion_metric("ndcg", hit, lengths, 4)[2] == 1.0


def test_lists_are_counted_once_in_the_order_of_the_data() -> None:
    metric = Completed()
    for cases in ([2, 0], [1, 0]):
        metric.update(
            torch.tensor(cases), torch.tensor([[c, 9] for c in cases]), torch.tensor([[c, -1] for c in cases])
        )
    found = metric.compute()
    assert found.cases.tolist() == [0, 1, 2]
    assert found.candidates[:, 0].tolist() == [0, 1, 2]
    assert found.hit.tolist() == [[True, False]] * 3
    assert found.metrics(("hr",), (1,))["hr@1"].tolist() == [1.0, 1.0, 1.0]


def test_a_single_list_is_a_list() -> None:
    metric = Completed()
    metric.update(torch.tensor([4]), torch.tensor([[7, 9]]), torch.tensor([[9, 1]]))
    found = metric.whole()
    assert found.cases.tolist() == [4]
    assert found.metrics(("hr",), (2,))["hr@2"].tolist() == [1.0]

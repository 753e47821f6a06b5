"""Groups by training frequency and metrics in them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_held_out import hit_ratio, ndcg

from lightning_vq.errors import UserError
from lightning_vq.groups import GROUPS, by_group, case_values, frequency_groups, list_shares


@given(st.lists(st.integers(0, 12), max_size=60))
def test_sizes_are_exact_and_groups_ordered(counts: list[int]) -> None:
    groups = np.array(GROUPS)[frequency_groups(np.array(counts, dtype=int))]
    held = {name: [count for count, group in zip(counts, groups) if group == name] for name in GROUPS}
    warm = sum(count >= 5 for count in counts)
    assert len(held["cold"]) == len(counts) - warm
    assert (len(held["head"]), len(held["tail"])) == (warm * 20 // 100, warm * 50 // 100)
    assert max(held["cold"], default=0) < 5
    assert max(held["tail"], default=0) <= min(held["torso"], default=99) or not held["torso"]
    assert max(held["torso"], default=0) <= min(held["head"], default=99)


def test_equal_counts_are_cut_by_row() -> None:
    groups = [GROUPS[group] for group in frequency_groups(np.full(10, 7))]
    assert groups == ["head"] * 2 + ["torso"] * 3 + ["tail"] * 5


def test_cases_have_the_metrics_of_the_framework() -> None:
    ranks = torch.arange(1, 30)
    for k in (1, 5, 10):
        assert case_values(ranks.numpy(), f"hr@{k}") == pytest.approx(hit_ratio(ranks, k).numpy())
        assert case_values(ranks.numpy(), f"ndcg@{k}") == pytest.approx(ndcg(ranks, k).numpy())
    with pytest.raises(UserError, match=r"--metric=ndgc@5: .*did you mean 'ndcg'"):
        case_values(ranks.numpy(), "ndgc@5")


def test_a_users_cases_in_a_group_are_averaged() -> None:
    cold, head = GROUPS.index("cold"), GROUPS.index("head")
    values, groups, users = np.array([1.0, 0.0, 0.5, 1.0]), np.array([cold, cold, head, head]), np.array([0, 0, 0, 2])
    found = by_group(values, groups, users, 3)
    assert found.shape == (3, len(GROUPS))
    assert found[:, cold] == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)
    assert found[:, head] == pytest.approx([0.5, np.nan, 1.0], nan_ok=True)
    assert np.isnan(found[:, GROUPS.index("tail")]).all()


def test_groups_add_up_to_the_metric_of_a_list() -> None:
    # Of the first list a head item at rank 1, tail ones at 3 and 9; of the second a tail item at 2, a head one at 7.
    ranks, users = np.array([1, 3, 9, 2, 7]), np.array([0, 0, 0, 1, 1])
    head, tail = GROUPS.index("head"), GROUPS.index("tail")
    groups = np.array([head, tail, tail, tail, head])
    ideal = sum(1 / np.log2(place + 1) for place in range(1, 6))
    for metric, expected in (
        ("ndcg@5", [[1 / ideal, 0.5 / ideal], [0.0, 1 / np.log2(3) / ideal]]),
        ("hr@5", [[1.0, 1.0], [0.0, 1.0]]),
    ):
        means = by_group(case_values(ranks, metric), groups, users, 2)
        found = list_shares(means, groups, users, metric)[:, [head, tail]]
        np.testing.assert_allclose(found, expected)

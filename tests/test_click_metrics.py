"""Metrics of click-through rate against scikit-learn and values worked by hand; rows gathered over processes."""

import math
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as reference_log_loss
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lightning_vq.click_metrics import Scored, auc, calibration, clicked_ranks, grouped_auc, log_loss
from lightning_vq.metrics import user_metrics

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=30)


def columns(rows: list[tuple[int, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    scores, labels, groups = torch.tensor(rows).unbind(1)
    return scores.float(), labels, groups


# -- AUC ---------------------------------------------------------------------------------------------------------------


@given(ROWS)
def test_auc_with_ties_against_sklearn(rows: list[tuple[int, int, int]]) -> None:
    scores, labels, _ = columns(rows)
    if len(set(labels.tolist())) == 1:
        assert auc(scores, labels).isnan()
    else:
        assert auc(scores, labels).item() == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert auc(scores, labels.float()).item() == auc(scores, labels).item()


@given(ROWS)
def test_grouped_auc_against_sklearn(rows: list[tuple[int, int, int]]) -> None:
    scores, labels, groups = columns(rows)
    areas, sizes = [], []
    for group in set(groups.tolist()):
        mine = groups == group
        if 0 < labels[mine].sum() < mine.sum():  # one label alone says nothing
            areas.append(roc_auc_score(labels[mine], scores[mine]))
            sizes.append(int(mine.sum()))
    found = grouped_auc(scores, labels, groups).item()
    assert found == pytest.approx(np.average(areas, weights=sizes), abs=1e-12) if areas else math.isnan(found)


def test_auc_of_many_rows_is_exact() -> None:
    """Ranks sum to 10^10 and more: half the digits of a float32 would be gone."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (300_000,), generator=draw)
    scores = (torch.randn(300_000, generator=draw) + 0.01 * labels).mul(1000).round()  # with ties
    assert auc(scores, labels).dtype == torch.float64
    assert auc(scores, labels).item() == pytest.approx(roc_auc_score(labels, scores), abs=1e-13)
    assert grouped_auc(scores, labels, torch.zeros_like(labels)).item() == auc(scores, labels).item()


# -- probabilities -----------------------------------------------------------------------------------------------------


def test_log_loss_against_sklearn_and_where_chances_are_all_but_certain() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5000, generator=draw) * 3, torch.randint(0, 2, (5000,), generator=draw)
    expected = reference_log_loss(labels, torch.sigmoid(logits.double()))
    assert log_loss(logits, labels).item() == pytest.approx(expected, abs=1e-12)
    # -ln(1 - sigmoid(100)) = 100, and -ln sigmoid(30) = exp(-30): neither is to be had by way of the chance in float32
    assert log_loss(torch.tensor([100.0]), torch.tensor([0])).item() == 100
    assert log_loss(torch.tensor([30.0]), torch.tensor([1])).item() == pytest.approx(math.exp(-30), rel=1e-9)


def test_calibration_bin_by_bin() -> None:
    draw = np.random.default_rng(0)
    chances, labels = draw.random(2000), draw.integers(0, 2, 2000)
    found = calibration(torch.logit(torch.from_numpy(chances)), torch.from_numpy(labels), 7)
    gaps = 0.0
    for k in range(7):
        mine = (chances >= k / 7) & (chances < (k + 1) / 7)
        assert found.rows[k] == mine.sum() > 100
        assert found.predicted[k].item() == pytest.approx(chances[mine].mean(), abs=1e-12)
        assert found.observed[k].item() == pytest.approx(labels[mine].mean(), abs=1e-12)
        gaps += abs(chances[mine].sum() - labels[mine].sum())
    assert found.error().item() == pytest.approx(gaps / 2000, abs=1e-12)


def test_calibration_of_certain_chances_and_empty_bins() -> None:
    found = calibration(torch.tensor([100.0, 100.0, -100.0]), torch.tensor([1, 0, 0]), 4)
    assert found.rows.tolist() == [1, 0, 0, 2]  # a chance of 1 is of the last bin
    assert found.observed.isnan().tolist() == [False, True, True, False]
    assert found.error().item() == pytest.approx((2 * 0.5 + 0) / 3)


# -- ranks -------------------------------------------------------------------------------------------------------------


def test_ranks_and_metrics_within_groups_by_hand() -> None:
    groups = torch.tensor([9, 4, 9, 4, 9, 7, 4, 9, 4])
    scores = torch.tensor([0.9, 0.5, 0.8, 0.5, 0.1, 0.3, 0.5, 0.7, 0.6])
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 1, 0, 0])
    places, of, ranks = clicked_ranks(scores, labels, groups)
    # Group 4: 0.6, then three at 0.5, of which the one that is not clicked comes first. Group 7 has no click.
    assert of.tolist() == [4, 4, 9, 9]
    assert sorted(zip(of.tolist(), places.tolist())) == [(4, 1), (4, 6), (9, 2), (9, 4)]
    assert dict(zip(places.tolist(), ranks.tolist()))[2] == 2
    assert sorted(ranks[:2].tolist()) == [3, 4]
    assert sorted(ranks[2:].tolist()) == [2, 4]
    found = user_metrics(("hr", "ndcg"), (1, 2, 3), of, ranks, one_list=True)
    assert found["hr@1"].tolist() == [0, 0]
    assert found["hr@2"].tolist() == [0, 1]
    assert found["hr@3"].tolist() == [1, 1]
    ideal = 1 + 1 / math.log2(3)  # two clicks, at ranks 1 and 2
    assert found["ndcg@2"].tolist() == pytest.approx([0, 1 / math.log2(3) / ideal])
    assert found["ndcg@3"].tolist() == pytest.approx([1 / math.log2(4) / ideal, 1 / math.log2(3) / ideal])


@given(ROWS)
def test_ranks_by_brute_force(rows: list[tuple[int, int, int]]) -> None:
    scores, labels, groups = columns(rows)
    expected: dict[int, list[int]] = {}
    for group in sorted(set(groups.tolist())):
        mine = [(score, label) for score, label, of in rows if of == group]
        listed = [label for _, label in sorted(mine, key=lambda row: (-row[0], row[1]))]
        if any(listed):
            expected[group] = [rank for rank, label in enumerate(listed, 1) if label]
    places, of, ranks = clicked_ranks(scores, labels, groups)
    found: dict[int, list[int]] = {}
    for place, group, rank in zip(places.tolist(), of.tolist(), ranks.tolist()):
        assert rows[place][1:] == (1, group)
        found.setdefault(group, []).append(rank)
    assert found == expected  # groups and ranks rising
    assert len(set(places.tolist())) == len(places)


# -- rows over processes -----------------------------------------------------------------------------------------------


def test_a_row_seen_twice_counts_once() -> None:
    metric = Scored()
    metric.update(torch.tensor([5, 0]), torch.tensor([0.5, 0.1]), torch.tensor([1.0, 0.0]), torch.tensor([2, 1]))
    metric.update(torch.tensor([3, 5]), torch.tensor([0.3, 0.5]), torch.tensor([0.0, 1.0]), torch.tensor([1, 2]))
    cases, logits, labels, groups = metric.compute()
    assert cases.tolist() == [0, 3, 5]
    assert logits.tolist() == torch.tensor([0.1, 0.3, 0.5]).tolist()
    assert (labels.tolist(), groups.tolist()) == ([0, 0, 1], [1, 1, 2])
    metric.reset()
    metric.update(*(column[:2] for column in (cases, logits, labels, groups)))
    assert metric.compute()[0].tolist() == [0, 3]


def gathered(rank: int, shares: list[list[Tensor]], folder: Path, told: Any) -> None:
    """Send what a process of two has of all rows."""
    torch.set_num_threads(1)
    address = f"file://{folder / 'gloo'}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    cases, logits, labels, groups = shares[rank]
    metric = Scored()
    for some in torch.arange(len(cases)).split(40):
        metric.update(cases[some], logits[some], labels[some], groups[some])
    told.put((rank, [column.numpy() for column in metric.compute()]))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("first", [67, 129, 130])
def test_two_processes_hold_the_rows_of_one(tmp_path: Path, first: int) -> None:
    draw = torch.Generator().manual_seed(first)
    logits, labels = torch.randn(130, generator=draw), torch.randint(0, 2, (130,), generator=draw).float()
    rows = [torch.arange(130), logits, labels, torch.randint(0, 9, (130,), generator=draw)]
    shares = [[column[:first] for column in rows], [column[first:] for column in rows]]  # as uneven as can be
    if first == 67:  # ranks that pad their shares see some rows twice
        shares[1] = [torch.cat([column[:3], share]) for column, share in zip(rows, shares[1])]
    context = get_context("fork")
    told = context.Queue()
    processes = [context.Process(target=gathered, args=(rank, shares, tmp_path, told)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(told.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    for rank in (0, 1):
        cases, *others = (torch.from_numpy(column) for column in found[rank])
        assert cases.tolist() == list(range(130))
        assert all(torch.equal(ours, whole) for ours, whole in zip(others, rows[1:]))
        assert auc(others[0], others[1]).item() == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)

"""Paired statistics: against every sign pattern, against scipy, against a worked example, and under the null."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from lightning_vq import comparison
from lightning_vq.comparison import Comparison, bootstrap_interval, holm, paired, sign_flip_p
from lightning_vq.comparison_report import notes


def exact(differences: np.ndarray) -> float:
    """Return p from all sign patterns of differences (U,)."""
    sums = [abs(float(np.dot(signs, differences))) for signs in product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12))


@pytest.mark.parametrize(
    ("differences", "by_hand"),
    [([1, 2, 3], 2 / 8), ([1, 1, 1, 1], 2 / 16), ([3, -1, 1], 6 / 8), ([1, 2, 3, -4], 14 / 16), ([1, -1], 1.0)],
)
def test_p_is_the_share_of_sign_patterns(differences: list[float], by_hand: float) -> None:
    values = np.array(differences, dtype=float)
    assert exact(values) == by_hand
    assert sign_flip_p(values[:, None])[0] == pytest.approx(by_hand, abs=0.015)


def test_p_counts_what_was_seen_as_one_flip() -> None:
    values = np.full((60, 1), 0.1)  # one flip in 2^59 is as far
    assert sign_flip_p(values)[0] == 1 / 10_001
    assert sign_flip_p(values, resamples=99)[0] == 1 / 100


def test_equal_sums_are_equal_in_any_order_of_addition() -> None:
    """Thirds are not exact in binary: half of these flips give the same |sum| along other ways."""
    values = np.array([1 / 3, 1 / 3, -1 / 3, 1 / 7, -1 / 7, 0.0])
    assert sign_flip_p(values[:, None])[0] == pytest.approx(exact(values), abs=0.015)


def test_no_difference_is_p_one() -> None:
    assert sign_flip_p(np.zeros((50, 2))).tolist() == [1.0, 1.0]
    assert holm(sign_flip_p(np.zeros((50, 2)))).tolist() == [1.0, 1.0]


def test_zeros_and_absent_users_change_no_p() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 1, (40, 1))
    more = np.vstack([values, np.zeros((100, 1)), np.full((30, 1), np.nan)])
    assert sign_flip_p(more)[0] == sign_flip_p(values)[0]


def test_p_is_close_to_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.1, 1, (300, 3))
    for column, p in zip(values.T, sign_flip_p(values)):
        reference = stats.permutation_test(
            (column, np.zeros(300)), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples",
            vectorized=True, n_resamples=10_000, rng=2,
        )  # fmt: skip
        assert p == pytest.approx(reference.pvalue, abs=0.02)


def test_p_is_uniform_and_intervals_cover_under_the_null() -> None:
    """1,000 comparisons of runs that do not differ, of skewed values with many ties at zero, as rankings have them."""
    rng = np.random.default_rng(3)
    kept = rng.random((200, 1000)) < 0.5
    gap = np.where(kept, rng.exponential(size=(200, 1000)) - rng.exponential(size=(200, 1000)), 0.0)
    p = sign_flip_p(gap, resamples=1000)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.02)
    low, high = bootstrap_interval(gap, resamples=1000)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.025)


def test_the_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(4)
    values = rng.exponential(size=(500, 2))
    ours = bootstrap_interval(values)
    for i, column in enumerate(values.T):
        theirs = stats.bootstrap((column,), np.mean, method="percentile", batch=500, rng=5).confidence_interval
        assert ours[:, i] == pytest.approx(theirs, abs=0.006)  # a standard error is 0.045


def test_a_group_has_the_interval_of_its_users_alone() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0.2, 1, (800, 2))
    values[300:, 1] = np.nan
    alone = bootstrap_interval(values[:300, 1:])[:, 0]
    assert bootstrap_interval(values)[:, 1] == pytest.approx(alone, abs=0.012)  # a standard error is 0.058
    values[9:, 1] = np.nan
    assert np.isnan(bootstrap_interval(values)[:, 1]).all()  # too few users


def test_chunks_make_no_difference_in_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).normal(0.1, 1, (130, 2))
    whole = (bootstrap_interval(values), sign_flip_p(values))
    monkeypatch.setattr(comparison, "CELLS", 1000)
    assert bootstrap_interval(values) == pytest.approx(whole[0], abs=0.02)
    assert sign_flip_p(values) == pytest.approx(whole[1], abs=0.02)


def test_paired_means_leave_out_who_is_absent() -> None:
    base, other = np.array([[1.0, 0.0], [0.0, np.nan]]), np.array([[1.0, 1.0], [1.0, np.nan]])
    found = paired(base, other, resamples=100)
    assert found.base.tolist() == [0.5, 0.0]
    assert found.other.tolist() == [1.0, 1.0]
    assert found.difference.tolist() == [0.5, 1.0]


def test_less_of_a_loss_is_better() -> None:
    row = Comparison("b", "a", "all", "", "ndcg@5/full", 9, 0.1, 0.2, 0.1, 0.0, 0.2, 0.001, 0.002)
    assert row.verdict == "better"
    assert row._replace(difference=-0.1).verdict == "worse"
    assert row._replace(metric="mse/user").verdict == "worse"
    assert row._replace(metric="mse/user", difference=-0.1).verdict == "better"
    assert row._replace(holm=0.05).verdict == row._replace(holm=float("nan")).verdict == ""


def test_holm_worked_by_hand() -> None:
    """Sorted p 0.01, 0.02, 0.03, 0.04 by 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; the last may not fall below 0.06."""
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.03])).tolist() == [0.03]


def test_a_reader_is_told_how_many_of_what_were_compared() -> None:
    row = Comparison("b", "a", "all", "", "hr@5/list", 90, 0.1, 0.2, 0.1, 0.0, 0.2, 0.001, 0.002)
    few = row._replace(metric="hr@10/list", n=12)
    for rows in ([row, few], [few, row]):
        said = notes(rows)
        assert "Means over 90 test lists (hr@10/list: 12);" in said[0]
    assert said[1].startswith("One seed each: lists are the unit")
    of_users = row._replace(metric="hr@5/full")
    said = notes([of_users, of_users._replace(of="items", group="cold")])
    assert "Means over 90 test users;" in said[0]
    assert said[1].startswith("Groups are of the items held out (n cases), as A's")

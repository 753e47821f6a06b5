"""Agreement of codes with categories, against values worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from lightning_vq.agreement import agreement, code_similarity, contingency, coverage, members, purity, spread, stability
from lightning_vq.figures import draw_coverage

# Items 0-5; the last has no category, and its code holds nothing else.
CATEGORIES = [["A"], ["A", "B", "A"], ["B"], ["B"], ["B"], []]
CODES = np.array([4, 4, 4, 7, 7, 9])


def test_members_are_pairs_once_each() -> None:
    of = members(CATEGORIES)
    assert of.names == ["A", "B"]
    pairs = {(item, of.names[group]) for item, group in zip(of.items.tolist(), of.categories.tolist())}
    assert pairs == {(0, "A"), (1, "A"), (1, "B"), (2, "B"), (3, "B"), (4, "B")}
    assert len(of.items) == 6


def test_statistics_by_hand() -> None:
    found = agreement(CODES, members(CATEGORIES))
    assert found is not None
    assert (found.codes, found.items) == (2, 5)
    # code 4 holds A 2, B 2; code 7 holds B 2
    assert found.statistics["purity"].value == pytest.approx((2 + 2) / 5)
    assert found.statistics["categories exclusive to one code"].value == 0.5
    assert found.largest == ["B", "A"]
    assert found.coverage.tolist() == [[0.5, 1.0], [1.0, 1.0]]


def test_coverage_sorts_codes_by_what_they_hold() -> None:
    table = np.array([[1, 6, 3], [5, 0, 0]])
    assert coverage(table) == pytest.approx(np.array([[0.6, 0.9, 1.0], [1.0, 1.0, 1.0]]))
    assert purity(table, 15) == pytest.approx((5 + 6 + 3) / 15)


def test_mean_share_in_the_first_tenth_of_the_codes() -> None:
    codes = np.arange(20)  # a code an item: the first 2 of 20 codes hold 2 items of each category
    found = agreement(codes, members([["A"]] * 4 + [["B"]] * 16))
    assert found is not None
    assert found.statistics["share of a category in its first 10 % of the codes"].value == (2 / 4 + 2 / 16) / 2


def test_spread_is_the_papers_at_a_thousand_codes() -> None:
    held = [1, 9, 10, 19, 20, 99, 100]
    table = np.array([[1] * n + [0] * (1000 - n) for n in held])
    assert spread(table) == pytest.approx(
        {
            "exclusive to one code": 1 / 7,
            "in fewer than 1 % of the codes": 2 / 7,
            "in fewer than 2 % of the codes": 4 / 7,
            "in fewer than 10 % of the codes": 6 / 7,
        }
    )


def test_spread_leaves_out_what_no_category_can_meet() -> None:
    def bounds(codes: int) -> int:
        return len(spread(np.ones((1, codes), dtype=int))) - 1

    assert [bounds(codes) for codes in (10, 11, 50, 51, 100, 101)] == [0, 1, 1, 2, 2, 3]


def test_contingency_counts_pairs() -> None:
    table = contingency(np.array([0, 0, 0, 1, 1, 2]), members(CATEGORIES))
    assert table.tolist() == [[2, 0, 0], [2, 2, 0]]


def test_the_null_is_that_of_every_shuffle() -> None:
    # Of the 6 ways to deal codes 0, 0, 1, 1 to X, X, Y, Y two are pure, the other four give purity 1/2.
    found = agreement(np.array([0, 0, 1, 1]), members([["X"], ["X"], ["Y"], ["Y"]]), draws=4000)
    assert found is not None
    pure, exclusive = found.statistics["purity"], found.statistics["categories exclusive to one code"]
    assert (pure.value, pure.low, pure.high) == (1.0, 0.5, 1.0)
    assert pure.null == pytest.approx(2 / 3, abs=0.02)
    assert (exclusive.value, exclusive.low, exclusive.high) == (1.0, 0.0, 1.0)
    assert exclusive.null == pytest.approx(1 / 3, abs=0.03)
    assert found.null[:, 0, 0] == pytest.approx([2 / 3, 0.5, 1.0], abs=0.02)


def test_the_null_keeps_the_sizes_of_codes() -> None:
    codes = np.repeat([0, 1, 2], [5, 3, 2])
    found = agreement(codes, members([["all"]] * 10), draws=20)
    assert found is not None
    assert found.coverage[0] == pytest.approx([0.5, 0.8, 1.0])
    for line in found.null[:, 0]:
        assert line == pytest.approx([0.5, 0.8, 1.0])


def test_the_null_is_seeded() -> None:
    rng = np.random.default_rng(1)
    codes, of = rng.integers(0, 6, 200), members([[f"g{g}"] for g in rng.integers(0, 5, 200)])
    one, again, other = (agreement(codes, of, seed=seed) for seed in (0, 0, 1))
    assert one is not None
    assert again is not None
    assert other is not None
    assert one.statistics == again.statistics
    assert one.statistics["purity"].null != other.statistics["purity"].null
    # Codes that know nothing of the categories are within their own null.
    assert one.statistics["purity"].low <= one.statistics["purity"].value <= one.statistics["purity"].high


@pytest.mark.parametrize("categories", [[], [[], []]])
def test_without_categories_there_is_nothing_to_say(categories: list[list[str]]) -> None:
    assert agreement(np.zeros(len(categories), dtype=int), members(categories)) is None


def test_stability() -> None:
    ours = np.array([0, 0, 1, 1, 2, 2])
    assert stability(ours, np.array([5, 5, 9, 9, 7, 7])) == pytest.approx(1.0)
    assert stability(ours, np.array([0, 1, 0, 1, 0, 1])) < 0.01


def test_figure(tmp_path: Path) -> None:
    found = agreement(np.array([0, 0, 1, 1]), members([["$x_", "Y"], ["$x_"], ["Y"], ["Y$"]]), draws=3)
    assert found is not None
    draw_coverage(tmp_path / "coverage.png", "item", [found, found, found])
    assert (tmp_path / "coverage.png").read_bytes().startswith(b"\x89PNG")


def test_similarity_of_codes_against_all_pairs() -> None:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 3, (20, 5))
    of = members([[name for name in "abc" if draw.random() < 0.5] for _ in range(20)])
    found = code_similarity(codes, of)
    for g, h in np.ndindex(3, 3):
        ours, theirs = of.items[of.categories == g], of.items[of.categories == h]
        pairs = [(codes[i] == codes[j]).sum() for i in ours for j in theirs if i != j]
        assert found[g, h] == pytest.approx(np.mean(pairs))

"""What a table says of its figures: verdicts, gains, and where the data of a row would come from."""

import math
from pathlib import Path

import pytest
from scipy import stats

from lightning_vq.reproduce.gains import gains, paired_gain, words_of
from lightning_vq.reproduce.paper import Row, read_paper
from lightning_vq.reproduce.report import number
from lightning_vq.reproduce.results import Figure, Result


def test_verdicts() -> None:
    def verdict(
        values: list[float], paper: float | None = 1.0, tolerance: float | None = 0.03, status: str = ""
    ) -> str:
        return Figure("row", "column", paper, values, 2, tolerance, status).verdict

    assert verdict([1.0, 1.05]) == "within 3%"
    assert verdict([1.1, 1.2]) == "above"
    assert verdict([0.9, 0.9]) == "below"
    assert verdict([1.0]) == "1 of 2 seeds"
    assert verdict([1.0, 1.0], tolerance=None) == "not comparable"
    assert verdict([1.0, 1.0], paper=None) == ""
    assert verdict([], status="not run") == "not run"
    other = Figure("row", "column", 1.0, [1.1], 1, None, "", comparable=False)
    assert (other.verdict, math.isnan(other.difference)) == ("not comparable", True)
    share = 0.45002498750624687  # of which numpy's mean of three is another number
    assert Figure("row", "column", None, [share] * 3, 3, None, "").spread == 0.0


def test_gains_against_scipy() -> None:
    base, values = [0.20, 0.22, 0.21], [0.23, 0.24, 0.25]
    gain = paired_gain(("b", "a", "x"), 0.1, base, values)
    test = stats.ttest_rel(values, base)
    interval = test.confidence_interval()
    assert gain.p == pytest.approx(test.pvalue)
    assert (gain.low, gain.high) == pytest.approx((interval.low / 0.21, interval.high / 0.21))
    assert gain.verdict(holm=0.04) == "better"
    assert gain.verdict(holm=0.06) == "not settled"
    assert paired_gain(("b", "a", "x"), None, values, base).verdict(0.04) == "worse"
    seconds = paired_gain(("b", "a", "x"), None, [14.0, 14.1], [15.0, 15.2], words_of("test_seconds"))
    assert seconds.verdict(0.04) == "more"  # and not better
    for name in ("test/logloss", "test/rmse", "test/mse/user"):
        loss = paired_gain(("b", "a", "x"), None, [0.57, 0.58], [0.60, 0.62], words_of(name))
        assert loss.verdict(0.04) == "worse"
    assert paired_gain(("b", "a", "x"), None, [0.2], [0.3]).verdict(math.nan) == "one seed"
    assert math.isnan(paired_gain(("b", "a", "x"), None, [0.0, 0.0], [0.1, 0.1]).gain)
    assert math.isnan(paired_gain(("b", "a", "x"), None, [0.1] * 3, [0.2] * 3).p)  # no spread to test with


def test_a_loss_that_is_small_enough() -> None:
    base, values = [1.0, 1.0, 1.0], [0.99, 1.0, 1.005]  # mean difference -0.00167, standard error 0.00441, t 4.303
    gain = paired_gain(("b", "a", "x"), None, base, values, words_of("test/ndcg@10/full"))
    assert (gain.low, gain.high) == pytest.approx((-0.02064, 0.01731), abs=1e-5)
    assert (gain.within(0.03), gain.within(0.01)) == ("yes", "no")
    loss = paired_gain(("b", "a", "x"), None, base, values, words_of("test/rmse"))  # more of it is worse
    assert (loss.within(0.018), loss.within(0.017)) == ("yes", "no")
    certain = paired_gain(("b", "a", "x"), None, [1.0, 1.0, 1.0], [0.989, 0.99, 0.991])
    assert (certain.verdict(0.01), certain.within(0.03)) == ("worse", "yes")  # less, but not by much
    assert paired_gain(("b", "a", "x"), None, base, values, words_of("bytes")).within(0.03) == ""
    assert paired_gain(("b", "a", "x"), None, base[:2], values[:2]).within(0.03) == ""
    assert paired_gain(("b", "a", "x"), None, base, [0.975] * 3).within(0.03) == ""  # no spread to tell by


def test_figures_have_the_places_that_papers_print() -> None:
    assert [number(value) for value in (0.12345, 30.339, 352.26, 512000.0)] == ["0.1235", "30.34", "352.3", "512,000"]


def test_where_data_would_come_from(tmp_path: Path) -> None:
    def get(source: str) -> str | None:
        return Row("a", source, base=["x"]).at_hand(str(tmp_path))

    assert get("planted") is None
    assert get("ml-1m") == "python -m lightning_vq data download ml-1m"
    assert "data download" not in str(get("amazon-toys"))  # has no address
    assert get(str(tmp_path / "plays.csv")) == f"put it at {tmp_path / 'plays.csv'}"
    assert get(str(tmp_path)) is None
    (tmp_path / "ml-1m").mkdir()
    assert get("ml-1m") is None


def test_groups_that_no_model_ever_hits_are_left_out() -> None:
    _, paper = read_paper("mgqe/table3")
    base, row = paper.rows[0], paper.rows[1]

    def of(cold: float, tail: float) -> Result:
        return Result({"test": {}, "size": 1.0, "bytes": 1}, {"cold items": cold, "tail items": tail}, {}, {})

    for cold, told in ((0.0, ["tail items"]), (0.1, ["cold items", "tail items"])):
        found = gains(paper, row, base, {1: of(0.0, 0.2), 2: of(cold, 0.3)}, {1: of(0.0, 0.1), 2: of(0.0, 0.3)})
        assert [gain.column for gain in found if gain.column not in paper.columns] == told

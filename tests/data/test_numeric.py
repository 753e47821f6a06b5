"""What training tells of numeric columns, whatever the number of rows that are read at a time."""

import numpy as np
import pytest

from lightning_vq.data import arrays
from lightning_vq.data.numeric import Numeric
from lightning_vq.data.splits import DEV, TRAIN
from lightning_vq.sources.schema import Schema

SCHEMA = Schema(numeric={"price": "standardised", "age": 4, "same": "standardised", "never": "standardised"})


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_of_training_rows_alone_and_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(arrays, "ROWS", rows)
    rng = np.random.default_rng(0)
    price, age = rng.lognormal(size=200), rng.integers(0, 80, 200).astype(float)
    price[rng.random(200) < 0.1] = np.nan
    part_of = np.where(rng.random(200) < 0.8, TRAIN, DEV)
    values = np.stack([price, np.full(200, 0.1), np.full(200, np.nan), age], 1)  # standardised ones first
    found = Numeric.fitted(SCHEMA, values, part_of)
    trained = price[(part_of == TRAIN) & ~np.isnan(price)]
    assert found.moments["price"] == pytest.approx((trained.mean(), trained.std()), rel=1e-12)
    assert found.moments["same"] == (pytest.approx(0.1), 1.0)  # rounding is no deviation
    assert found.moments["never"] == (0.0, 1.0)
    ages = age[part_of == TRAIN]
    assert found.edges["age"].tolist() == np.quantile(ages, (0.25, 0.5, 0.75), method="higher").tolist()
    assert found.counts["age"].tolist() == np.histogram(ages, [-np.inf, *found.edges["age"], np.inf])[0].tolist()


def test_buckets_of_a_sample_are_those_of_evenly_spaced_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_vq.data.numeric.SAMPLED", 50)
    values = np.random.default_rng(1).random((330, 1))
    cuts = np.quantile(values[::7, 0], (0.5,), method="higher")
    for rows in (1, 5, 7, 100, 330):
        monkeypatch.setattr(arrays, "ROWS", rows)
        found = Numeric.fitted(Schema(numeric={"x": 2}), values, np.zeros(330, np.int8))
        assert found.edges["x"].tolist() == cuts.tolist()
        assert found.counts["x"].sum() == 330

"""What an encoding is learned from: training rows alone, and of those the ones whose label counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click_tables import SCHEMA, encoded, of_rows, sample_table, written

from lightning_vq.data import ClickThroughData
from lightning_vq.data.encoding import Encoded
from lightning_vq.data.shares import Split
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.sources import feed
from lightning_vq.sources.schema import Schema


def meaning(found: Encoded, part: int) -> list[Any]:
    """Return rows of a part by ids and numbers: which number an id has is not learned."""
    samples, lists = found.samples[part], SCHEMA.sequence.values()
    names = {vocab: [*map(str, ids.to_pylist()), "unknown"] for vocab, ids in found.vocabularies.items()}
    return [
        [names[vocab][i] for vocab, i in zip(SCHEMA.fields().values(), fields)]
        + [[names[vocab][i] for i in row if i >= 0] for vocab, row in zip(lists, rows)]
        + numbers
        for fields, rows, numbers in zip(samples.fields.tolist(), samples.sequences.tolist(), samples.numbers.tolist())
    ]


def test_nothing_is_learned_of_rows_that_are_held_out(tmp_path: Path) -> None:
    table = sample_table()
    other = {name: table[name].to_pylist() for name in table.column_names}
    draw = np.random.default_rng(9)
    for i, part in enumerate(other["part"]):
        if part != "train":
            other["user"][i], other["item"][i] = (int(n) for n in draw.integers(0, 1000, 2))
            other["price"][i], other["age"][i] = draw.normal(-500, 80), int(draw.integers(100, 900))
            other["history"][i], other["words"][i] = draw.integers(0, 90, 3).tolist(), ["w1", "other"]
            other["clicked"][i] = 1 - other["clicked"][i]
    one = encoded(written(table, tmp_path / "one.parquet"))
    two = encoded(written(pa.table(other, table.schema), tmp_path / "two.parquet"))
    assert one.moments == two.moments
    for vocab in one.vocabularies:
        ours, theirs = (dict(zip(e.vocabularies[vocab].to_pylist(), e.counts[vocab])) for e in (one, two))
        assert ours == theirs
        assert sum(ours.values()) > 100
    assert meaning(one, TRAIN) == meaning(two, TRAIN)
    assert meaning(one, TEST) != meaning(two, TEST)


def test_how_much_of_test_is_unknown() -> None:
    held = ClickThroughData("planted", schema=Schema(["u", "v"], split="part"))
    columns = {"u": ["a", "b", "a", "c", None, "b"], "v": ["x"] * 6, "part": ["train", "train", "dev"] + ["test"] * 3}
    held.encoded = of_rows(held.schema, label=[0] * 6, **columns)
    assert held.unknown(TEST) == {"u": pytest.approx(2 / 3), "v": 0}
    assert "unknown in test: u 66.67%" in held.told(frozenset())
    assert "v" not in held.told(frozenset()).partition("unknown")[2]


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_labels_above_and_rows_that_are_dropped(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(feed, "BATCH", batch)
    columns: dict[str, Any] = {
        "label": [5, 3, 4, 1, 3, 2], "u": list("abcdef"), "part": ["train", "test", "dev", "train", "train", "test"],
    }  # fmt: skip
    found = of_rows(Schema(["u"], label_above=3, label_drop=[3], split="part"), **columns)
    assert [found.samples[part].labels.tolist() for part in (TRAIN, DEV, TEST)] == [[1, 0], [1], [0]]
    assert [found.samples[part].cases.tolist() for part in (TRAIN, DEV, TEST)] == [[0, 3], [2], [5]]
    assert found.vocabularies["u"].to_pylist() == ["a", "d"]


def test_rows_whose_label_is_no_label_can_be_dropped() -> None:
    columns: dict[str, Any] = {"label": [-1, 0, 1, 1, -1], "u": list("abcde"), "g": list("axyzw")}
    found = of_rows(Schema(["u"], label_drop=[-1], group="g"), Split("group", (1, 1, 1), 0), **columns)
    assert sorted(found.samples[part].labels.tolist() for part in (TRAIN, DEV, TEST)) == [[0], [1], [1]]

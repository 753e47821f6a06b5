"""A table of samples as numbers, against cases worked by hand and any rows that hypothesis thinks of."""

from functools import partial
from typing import Any

import pyarrow as pa
import pytest
import torch
from click_tables import bytes_of, chunks_of, of_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_vq.data import encoding
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.sources import feed
from lightning_vq.sources.schema import Schema


def test_ids_by_hand() -> None:
    schema = Schema(["u"], sequence={"seen": "u"}, split="part", max_length=3)
    found = of_rows(
        schema,
        label=[1, 0, 1, 0, 1],
        u=["c", "x", "a", None, "new"],
        seen=["a b c d", "", "  b   a ", "x new a", None],
        part=["train", "dev", "train", "train", "test"],
    )
    # Training shows c and a as u, and then a b c d, b a, x new a in lists, of which the last three values count.
    assert found.vocabularies["u"].to_pylist() == ["c", "x", "a", "new", "b", "d"]
    assert found.counts["u"].tolist() == [2, 1, 3, 1, 2, 1]
    assert found.samples[TRAIN].fields.tolist() == [[0], [2], [6]]  # missing is past the last
    assert found.samples[TRAIN].sequences.tolist() == [[[4, 0, 5]], [[4, 2, -1]], [[1, 3, 2]]]
    assert found.samples[DEV].sequences.tolist() == [[[-1, -1, -1]]] == found.samples[TEST].sequences.tolist()
    assert found.samples[TEST].fields.tolist() == [[3]]
    assert [found.samples[part].cases.tolist() for part in (TRAIN, DEV, TEST)] == [[0, 2, 3], [1], [4]]
    assert [found.samples[part].labels.tolist() for part in (TRAIN, DEV, TEST)] == [[1, 1, 0], [0], [1]]


def test_rare_values_share_the_row_of_the_unknown() -> None:
    columns = {
        "label": [1] * 7, "u": ["a", "b", "a", "b", "c", "c", "c"], "seen": ["c", "b", "", "", "c", "", "d"],
        "part": ["train"] * 4 + ["train", "dev", "test"],
    }  # fmt: skip
    schema = Schema(["u"], sequence={"seen": "u"}, split="part", min_count=3, max_length=2)
    found = of_rows(schema, **columns)
    # a 2; b 2 + 1 in a list; c 1 + 2 in lists; d only in test
    assert found.vocabularies["u"].to_pylist() == ["b", "c"]
    assert found.counts["u"].tolist() == [3, 3]
    assert found.samples[TRAIN].fields.flatten().tolist() == [2, 0, 2, 0, 1]
    assert found.samples[TEST].sequences.tolist() == [[[2, -1]]]  # unknown is a value, not a gap


def test_numbers_by_hand() -> None:
    found = of_rows(
        Schema(["u"], {"x": "standardised", "age": 2, "same": "standardised", "none": "standardised"}, split="part"),
        label=[0, 1, 0, 1, 1, 0], u=["a"] * 6, x=["1", " 3", "", "2e0", "nan", "9"], age=[30, 10, None, 20, 5, None],
        same=[0.1, None, 0.1, 0.1, 0.2, None], none=pa.array([None, None, None, None, 2.0, None]),
        part=["train"] * 4 + ["dev", "test"],
    )  # fmt: skip
    deviation = (2 / 3) ** 0.5
    assert found.moments == {"x": (2.0, deviation), "same": (pytest.approx(0.1), 1.0), "none": (0.0, 1.0)}
    train, dev, test = (found.samples[part] for part in (TRAIN, DEV, TEST))
    expected = [[-1 / deviation, 0, 0], [1 / deviation, 0, 0], [0, 0, 0], [0, 0, 0]]
    torch.testing.assert_close(train.numbers, torch.tensor(expected))
    torch.testing.assert_close(dev.numbers, torch.tensor([[0, 0.1, 2.0]]))  # a column of one value is not blown up
    torch.testing.assert_close(test.numbers, torch.tensor([[7 / deviation, 0, 0]]))
    assert found.vocabularies["age"].to_pylist() == ["[-inf, 20)", "[20, inf)"]
    assert found.counts["age"].tolist() == [1, 2]
    assert [s.fields[:, 1].tolist() for s in (train, dev, test)] == [[1, 0, 2, 1], [0], [2]]


@pytest.mark.parametrize(
    ("values", "buckets", "counts"),
    [
        (list(range(12)), 4, [3, 3, 3, 3]),
        ([887431973, 887431974, 887431975, 887431976], 4, [1, 1, 1, 1]),
        ([0, 0, 0, 0, 1, 2, 3, 4], 4, [4, 2, 2]),  # quantiles 0, 1, 3: nothing is below 0
        ([7, 7, 7], 5, [3]),
        ([None, None], 3, [0]),
    ],
)
def test_buckets_hold_as_many_rows_each_as_ties_allow(values: list[Any], buckets: int, counts: list[int]) -> None:
    size = len(values)
    found = of_rows(
        Schema(["u"], {"x": buckets}, split="part"),
        label=[0] * (size + 2), u=["a"] * (size + 2), part=["train"] * size + ["dev", "test"],
        x=pa.array([*values, -5, 10**10], pa.float64()),
    )  # fmt: skip
    assert found.counts["x"].tolist() == counts
    assert len(set(found.vocabularies["x"].to_pylist())) == len(counts)
    told = [found.samples[part].fields[0, 1].item() for part in (DEV, TEST)]
    assert told == [0, len(counts) - 1]  # beyond all of training is the nearest bucket, not an untrained one


VALUES = st.sampled_from([None, "", *"abcdef"])
ROW = st.tuples(st.sampled_from(["train", "train", "dev", "test"]), VALUES, VALUES, st.lists(VALUES, max_size=5))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROW, max_size=12), batch=st.integers(1, 5), chunk=st.integers(1, 5), least=st.integers(1, 3),
    length=st.integers(1, 3),
)  # fmt: skip
def test_ids_come_back_as_they_were_if_training_has_them(
    rows: list[Any], batch: int, chunk: int, least: int, length: int
) -> None:
    rows = rows + [("train", "a", "b", ["a"])] * least + [("dev", None, "z", None), ("test", "z", "", ["z", "a"])]
    parts, u, v, seen = (list(column) for column in zip(*rows))
    schema = Schema(["u", "v"], sequence={"seen": "u"}, split="part", min_count=least, max_length=length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "BATCH", batch)
        patch.setattr(encoding, "chunks", partial(chunks_of, chunk))
        columns = {"u": u, "v": v, "seen": pa.array(seen, pa.list_(pa.string()))}
        found = of_rows(schema, label=[0] * len(rows), part=parts, **columns)
    lists = [[value for value in row or [] if value][-length:] for row in seen]
    trained = [i for i, part in enumerate(parts) if part == "train"]
    shown = {
        "u": [u[i] for i in trained] + [value for i in trained for value in lists[i]],
        "v": [v[i] for i in trained],
    }
    known = {
        vocab: {value for value in values if value and values.count(value) >= least} for vocab, values in shown.items()
    }
    for vocab, values in shown.items():
        told = dict(zip(found.vocabularies[vocab].to_pylist(), found.counts[vocab].tolist(), strict=True))
        assert told == {value: values.count(value) for value in known[vocab]}
    for part, word in ((TRAIN, "train"), (DEV, "dev"), (TEST, "test")):
        samples = found.samples[part]
        at = [i for i, one in enumerate(parts) if one == word]
        assert samples.cases.tolist() == at
        names = {vocab: [*ids.to_pylist(), None] for vocab, ids in found.vocabularies.items()}  # the last: not known
        for i, fields, row in zip(at, samples.fields.tolist(), samples.sequences[:, 0].tolist()):
            assert [names["u"][fields[0]], names["v"][fields[1]]] == [
                value if value in known[vocab] else None for vocab, value in (("u", u[i]), ("v", v[i]))
            ]
            expected = [value if value in known["u"] else None for value in lists[i]]
            assert [names["u"][code] for code in row if code >= 0] == expected
            assert row[len(expected) :] == [-1] * (length - len(expected))


def test_numbers_in_a_column_and_text_in_its_sequences_are_the_same_ids() -> None:
    schema = Schema(["u"], sequence={"seen": "u"}, split="part", max_length=2)
    columns: dict[str, Any] = {"label": [0] * 3, "part": ["train", "dev", "test"]}
    text = of_rows(schema, u=[7, 8, 9], seen=["8 7", "7", "10"], **columns)
    lists = of_rows(schema, u=[7, 8, 9], seen=[[8, 7], [7], [10]], **columns)
    assert bytes_of(text) == bytes_of(lists)
    assert text.samples[TRAIN].sequences.tolist() == [[[1, 0]]]
    large = of_rows(Schema(["u"], split="part"), u=pa.array([2**64 - 1, 0, 2**64 - 1], pa.uint64()), **columns)
    assert large.vocabularies["u"].to_pylist() == [str(2**64 - 1)]
    assert large.samples[TEST].fields.tolist() == [[0]]

"""A table of samples as numbers: the same from every form of file, and learned from training rows alone."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from click_tables import SCHEMA, encoded, sample_table, written
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_vq.data import ClickThroughData, encoding
from lightning_vq.data.encoding import Encoded, encode
from lightning_vq.data.shares import Kind, Split
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources import feed
from lightning_vq.sources.feed import feed_of_table
from lightning_vq.sources.schema import Schema

KINDS: tuple[Kind, ...] = ("given", "ratio", "time", "group")
GIVEN = Split("given", (0.8, 0.1, 0.1), 0)


def of_rows(schema: Schema, split: Split = GIVEN, **columns: list[Any]) -> Encoded:
    """Return the encoding of columns in memory."""
    return encode(feed_of_table("here", pa.table(columns)), schema, split)


def bytes_of(found: Encoded) -> dict[str, Any]:
    """Return everything of an encoding in a form that == compares to the last bit."""
    groups = None if found.group_ids is None else list(map(str, found.group_ids.to_pylist()))
    told: dict[str, Any] = {"moments": found.moments, "group_ids": groups}
    for part, samples in found.samples.items():
        tensors = {name: column for name, column in samples._asdict().items() if column is not None}
        told |= {f"{part} {name}": (t.dtype, t.shape, t.numpy().tobytes()) for name, t in tensors.items()}
    told |= {f"ids of {name}": [str(i) for i in ids.to_pylist()] for name, ids in found.vocabularies.items()}
    return told | {f"counts of {name}": count.tolist() for name, count in found.counts.items()}


def chunks_of(size: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, rows, size))


# -- the same from every form ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_table_is_encoded_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    table = sample_table()
    whole = bytes_of(encoded(written(table, tmp_path / "t.parquet"), kind=kind))
    assert whole[f"{TEST} fields"][1][0] > 20
    for form in ("t.csv", "t.tsv.gz", "t"):
        assert bytes_of(encoded(written(table, tmp_path / form), kind=kind)) == whole, form
    for form in ("t.parquet", "t.csv", "t"):
        folder = tmp_path / f"disk-{form}"
        folder.mkdir()
        assert bytes_of(encoded(tmp_path / form, kind=kind, folder=folder)) == whole, form
    monkeypatch.setattr(feed, "BATCH", 7)
    monkeypatch.setattr(feed, "BLOCK", 2000)  # bytes
    monkeypatch.setattr(encoding, "chunks", partial(chunks_of, 11))
    for form in ("t.parquet", "t.csv", "t"):
        assert bytes_of(encoded(tmp_path / form, kind=kind)) == whole, form
        folder = tmp_path / f"small-{form}"
        folder.mkdir()
        assert bytes_of(encoded(tmp_path / form, kind=kind, folder=folder)) == whole, form


def test_small_batches_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above is none if they are not."""
    monkeypatch.setattr(feed, "BATCH", 7)
    monkeypatch.setattr(feed, "BLOCK", 2000)
    for form, least in (("t.parquet", 300 / 7), ("t", 300 / 7), ("t.csv", 4)):
        sizes = [len(part.rows) for part in feed.feed_of(written(sample_table(), tmp_path / form)).parts(["user"])]
        assert sum(sizes) == 300
        assert len(sizes) > least


def test_the_files_on_disk_are_what_is_read(tmp_path: Path) -> None:
    path = written(sample_table(), tmp_path / "t.parquet")
    folder = tmp_path / "made"
    folder.mkdir()
    made = encode(feed.feed_of(path), SCHEMA, Split("ratio", (0.8, 0.1, 0.1), 0), folder)
    for word, part in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        samples = made.samples[part]
        for name in ("fields", "numbers", "sequences", "labels", "cases"):
            kept = np.load(folder / f"{word}-{name}.npy", mmap_mode="r")
            assert np.array_equal(kept, getattr(samples, name).numpy())
    samples.labels[0] = 1 - samples.labels[0]  # mapped, not a copy
    assert np.load(folder / "test-labels.npy")[0] == samples.labels[0]


def test_disk_and_memory_give_the_same_batches(tmp_path: Path) -> None:
    path = str(written(sample_table(), tmp_path / "t.parquet"))
    both = [ClickThroughData(path, schema=SCHEMA, memory=m, batch_size=32, seed=3) for m in ("resident", "disk")]
    for held in both:
        held.setup()
    for ours, theirs in zip(*(held.train_dataloader() for held in both), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.rows[:5], theirs.rows[:5]))
    for ours, theirs in zip(*(held.test_dataloader() for held in both), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


# -- by hand -----------------------------------------------------------------------------------------------------------


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


# -- learned from training rows ----------------------------------------------------------------------------------------


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


# -- labels ------------------------------------------------------------------------------------------------------------


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


# -- splits ------------------------------------------------------------------------------------------------------------

RATIO = (0.7, 0.1, 0.2)


def split_of(kind: Kind, rows: int, seed: int = 0, **columns: list[Any]) -> dict[int, list[int]]:
    """Return the places of each part's rows in a table."""
    schema = Schema(["u"], timestamp="t" if kind == "time" else None, group="g" if kind == "group" else None)
    found = of_rows(schema, Split(kind, RATIO, seed), label=[0, 1] * (rows // 2), u=["a"] * rows, **columns)
    return {part: samples.cases.tolist() for part, samples in found.samples.items()}


def test_ratio_gives_exact_shares_and_the_same_again() -> None:
    one, again, other = split_of("ratio", 200), split_of("ratio", 200), split_of("ratio", 200, seed=1)
    assert [len(rows) for rows in one.values()] == [140, 20, 40]
    assert sorted(chain.from_iterable(one.values())) == list(range(200))
    assert one == again != other


@given(st.lists(st.integers(0, 40), min_size=15, max_size=30).map(lambda times: times * 2))
@settings(max_examples=40, deadline=None)
def test_time_leaks_nothing(times: list[int]) -> None:
    try:
        parts = split_of("time", len(times), t=times)
    except UserError as error:
        assume("part is empty" not in str(error))  # too many equal ones at a border
        raise
    train, dev, test = ([times[i] for i in parts[part]] for part in (TRAIN, DEV, TEST))
    assert max(train) < min(dev) <= max(dev) < min(test)  # so that equal ones are together
    assert sorted(train + dev + test) == sorted(times)


def test_time_gives_exact_shares_where_no_two_are_equal() -> None:
    times = np.random.default_rng(0).permutation(100).tolist()
    parts = split_of("time", 100, t=[f"{t / 4}" for t in times])  # text, as of a CSV
    assert sorted(times[i] for i in parts[TRAIN]) == list(range(70))
    assert sorted(times[i] for i in parts[DEV]) == list(range(70, 80))


def test_no_group_is_in_two_parts() -> None:
    groups = np.random.default_rng(0).integers(0, 20, 400).tolist()
    one, again, other = (split_of("group", 400, seed=seed, g=groups) for seed in (0, 0, 1))
    of = [{groups[i] for i in rows} for rows in one.values()]
    assert [len(part) for part in of] == [14, 2, 4]
    assert set.union(*of) == set(range(20))
    assert one == again != other


def test_rows_of_no_group_are_in_none(tmp_path: Path) -> None:
    found = of_rows(
        Schema(["u"], split="part", group="g"),
        label=[0] * 4, u=["a"] * 4, g=["x", None, "", "x"], part=["train", "dev", "test", "test"],
    )  # fmt: skip
    assert [found.samples[part].groups.tolist() for part in (TRAIN, DEV, TEST)] == [[0], [-1], [-1, 0]]
    plain = of_rows(replace(SCHEMA, group=None, numeric={}, sequence={}, categorical=["u"], label="y"), y=[0] * 3,
                    u=["a"] * 3, part=["train", "dev", "test"])  # fmt: skip
    assert [plain.samples[part].groups for part in (TRAIN, DEV, TEST)] == [None, None, None]

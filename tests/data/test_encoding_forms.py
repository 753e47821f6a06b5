"""A table of samples is the same numbers from every form of file, in memory and on disk."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click_tables import KINDS, SCHEMA, bytes_of, chunks_of, encoded, sample_table, written

from lightning_vq.data import ClickThroughData, encoding
from lightning_vq.data.encoding import encode
from lightning_vq.data.shares import Kind, Split
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.sources import feed


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

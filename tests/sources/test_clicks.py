"""Named sources as samples: counts as when they were first read; clicks of the planted world against its truth."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from lightning_vq import data_command
from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.sources import planted_clicks as clicks
from lightning_vq.sources.clicks import CLICKS, click_source, tally
from lightning_vq.sources.feed import Feed, feed_of, feed_of_table
from lightning_vq.sources.named import ROOT_VARIABLE, named_source
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.planted_clicks import bayes_auc, make_click_world, planted_clicks, write_planted_clicks
from lightning_vq.sources.schema import Schema

OPTIONS = PlantedOptions(users=60, items=40, branching=(4, 3))


def on_disk(name: str) -> None:
    """Skip where a source is not there; a test never downloads."""
    if not os.environ.get(ROOT_VARIABLE):
        pytest.skip(f"{ROOT_VARIABLE} does not name a folder of real data")
    if not named_source(name).folder(None).is_dir():
        pytest.skip(f"{named_source(name).folder(None)} is not there")


def whole(feed: Feed, columns: list[str] | None = None) -> pa.Table:
    return pa.Table.from_batches([part.rows for part in feed.parts(columns or list(feed.columns))]).combine_chunks()


# -- real data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLICKS)
def test_expected_counts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(name)
    data_command.main(["verify", name])
    assert f"{name}: {CLICKS[name].expected.told}, as expected\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", CLICKS)
def test_schema_fits_the_table(name: str) -> None:
    on_disk(name)
    feed, schema = click_source(name, None)
    schema.check()
    columns = {"ratio": "", "given": schema.split, "time": schema.timestamp, "group": schema.group}
    for split in [split for split, column in columns.items() if column is not None]:
        feed.check(schema.columns(split))


def test_sample_of_mind_keeps_impressions_together_and_in_time() -> None:
    on_disk("mind-small-sample")
    feed, _ = click_source("mind-small-sample", None)
    table = whole(feed, ["impression", "split", "timestamp", "label"])
    shown = table.filter(table["impression"].is_valid())
    pairs = table.filter(table["impression"].is_null())
    assert shown.num_rows == 189_359
    assert set(pairs["split"].to_pylist()) == {"train"}
    assert set(pairs["label"].to_pylist()) == {"1"}
    one = shown.group_by(["impression", "split"]).aggregate([("timestamp", "min")])
    times = {
        part: one["timestamp_min"].to_numpy()[one["split"].to_numpy() == part].astype(int)
        for part in ["train", "dev", "test"]
    }
    assert {part: len(found) for part, found in times.items()} == {"train": 4000, "dev": 500, "test": 500}
    assert times["train"].max() <= times["dev"].min() <= times["dev"].max() <= times["test"].min()


def test_info_tells_samples(capsys: pytest.CaptureFixture[str]) -> None:
    on_disk("frappe")
    data_command.main(["info", "frappe"])
    out = capsys.readouterr().out
    assert "lies in   " in out
    assert "samples   86,582, 28,599 of them clicked (33.03%)\nfields    f0 913, f1 4,082, f2 7, " in out
    with pytest.raises(UserError, match="--min-user says nothing of frappe; what does: none"):
        data_command.main(["info", "frappe", "--min-user", "2"])


def test_info_on_what_is_not_there_yet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data_command.main(["info", "mind-small", "--root", str(tmp_path)])
    out = capsys.readouterr().out
    assert "nowhere yet: python -m lightning_vq data download mind-small" in out
    assert "expected  9,993,270 samples, 1,756,555 clicked; user 94,057, item 65,238" in out


def test_info_on_planted(capsys: pytest.CaptureFixture[str]) -> None:
    data_command.main(["info", "planted"])
    out = capsys.readouterr().out
    assert "samples   100,000, " in out
    assert "numbers   price\nsequences recent (of item)\n" in out


def test_what_has_no_samples_or_no_interactions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ml-1m has no samples for click-through rate; did you mean"):
        click_source("ml-1m", str(tmp_path))
    with pytest.raises(UserError, match="there is no source 'frape'; did you mean 'frappe'"):
        click_source("frape", str(tmp_path))
    with pytest.raises(UserError, match=r"reczoo/Frappe_x1\. Put there .* it belongs in .*frappe-ctr-libfm"):
        click_source("frappe", str(tmp_path))
    (tmp_path / "frappe-ctr-libfm").mkdir()
    with pytest.raises(UserError, match=r"no file at .*frappe-ctr-libfm/interactions\.csv\.gz"):
        click_source("frappe", str(tmp_path))
    with pytest.raises(UserError, match=r"holds samples for click-through rate .* not interactions"):
        CollaborativeData("frappe", str(tmp_path)).setup()


def test_tally_of_a_table_by_hand() -> None:
    rows = {"a": ["x", "y", "x", "", "z"], "h": ["x q", "", "y", "q", "r"], "label": ["5", "1", "3", "4", "2"]}
    schema = Schema(categorical=["a"], sequence={"h": "a"}, label_above=3, label_drop=[2])
    counts, parts = tally(feed_of_table("here", pa.table(rows)), schema)
    assert counts == (4, 2, {"a": 3})  # x, y, q
    assert parts == {}
    assert tally(feed_of_table("here", pa.table(rows)), Schema(["a"], sequence={"h": "h"}, label_above=3))[
        0
    ].values == {
        "a": 3,
        "h": 4,
    }
    with pytest.raises(UserError, match=r"here, row 1: the column 'h' holds 'x q', not a number"):
        tally(feed_of_table("here", pa.table(rows)), Schema(categorical=["a"], label="h"))
    with pytest.raises(UserError, match="here: there are no rows"):
        tally(feed_of_table("here", pa.table(rows).slice(0, 0)), Schema(categorical=["a"]))


# -- the planted world -------------------------------------------------------------------------------------------------


def test_same_seed_same_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks, "ROWS", 300)
    feed, _ = planted_clicks(OPTIONS, 1000)
    table = whole(feed)
    assert [len(part.rows) for part in feed.parts(["user"])] == [300, 300, 300, 100]
    assert whole(feed).equals(table)
    assert whole(planted_clicks(OPTIONS, 1000)[0]).equals(table)
    assert whole(feed, ["label"])["label"].equals(table["label"])  # whatever else is asked for
    assert whole(planted_clicks(OPTIONS, 600)[0]).equals(table.slice(0, 600))
    assert not whole(planted_clicks(OPTIONS._replace(seed=1), 1000)[0])["item"].equals(table["item"])


@pytest.mark.parametrize("options", [PlantedOptions(), OPTIONS, PlantedOptions(seed=7, branching=(5, 3, 2))])
def test_best_auc_is_known(options: PlantedOptions) -> None:
    table = whole(planted_clicks(options)[0], ["probability", "label"])
    truth, labels = table["probability"].to_numpy(), table["label"].to_numpy()
    assert bayes_auc(truth) > 0.8
    assert roc_auc_score(labels, truth) == pytest.approx(bayes_auc(truth), abs=0.006)
    assert 0.3 < labels.mean() < 0.45
    assert truth.mean() == pytest.approx(labels.mean(), abs=0.006)


def test_best_auc_by_hand() -> None:
    p = np.array([0.2, 0.9, 0.5, 0.5])
    wins = sum(a * (1 - b) * ((a > b) + (a == b) / 2) for i, a in enumerate(p) for j, b in enumerate(p) if i != j)
    assert bayes_auc(p) == pytest.approx(
        wins / sum(a * (1 - b) for i, a in enumerate(p) for j, b in enumerate(p) if i != j)
    )


def test_truth_is_logistic_in_known_effects() -> None:
    world = make_click_world(OPTIONS)
    table = whole(planted_clicks(OPTIONS, 5000)[0])
    users, items, devices = (
        np.array([int(one[1:]) for one in table[name].to_pylist()]) for name in ("user", "item", "device")
    )
    leaf, own = world.world.item_leaf[items], world.world.user_leaves[users]
    near = [0.6 if one in mine else -0.6 if one // 3 in mine // 3 else -2.6 for one, mine in zip(leaf, own)]
    logits = near + world.quality[items] + world.devices[devices] - 0.12 * (table["price"].to_numpy() - 20)
    assert np.allclose(1 / (1 + np.exp(-logits)), table["probability"].to_numpy())
    assert sorted(world.devices) == pytest.approx(np.linspace(-1.2, 1.2, 6))


@pytest.mark.parametrize("rows", [100, 1 << 18])
def test_recent_is_what_the_user_clicked_before(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(clicks, "ROWS", rows)
    clicked: dict[str, list[str]] = {}
    table = whole(planted_clicks(OPTIONS, 1500)[0], ["user", "item", "label", "recent"])
    for row in table.to_pylist():
        before = clicked.setdefault(row["user"], [])
        assert row["recent"] == before[-5:]
        if row["label"]:
            before.append(row["item"])


@pytest.mark.parametrize("name", ["clicks.csv", "clicks.tsv.gz", "clicks.parquet"])
def test_written_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(clicks, "ROWS", 400)
    write_planted_clicks(tmp_path / name, 1000, OPTIONS)
    feed, schema = planted_clicks(OPTIONS, 1000)
    feed.check(schema.columns("time"))
    written = whole(feed_of(tmp_path / name))
    table = whole(feed, list(written.column_names))
    assert "probability" not in written.column_names
    if name != "clicks.parquet":
        lists = [" ".join(one) for one in table["recent"].to_pylist()]
        assert written["recent"].to_pylist() == lists
        written, table = written.drop(["recent"]), table.drop(["recent"])
        written = written.cast(table.schema)
    assert written.equals(table)


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"planted\.samples is 0; it must be at least 1"):
        planted_clicks(OPTIONS, 0)
    with pytest.raises(UserError, match=r"planted\.users is 0"):
        planted_clicks(OPTIONS._replace(users=0))
    with pytest.raises(UserError, match="unknown kind of file"):
        write_planted_clicks(tmp_path / "clicks.json", 10)

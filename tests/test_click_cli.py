"""The command line on a small table of clicks of one's own: a config, a run folder, mistakes, comparisons."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from clicks import click_table
from command import checked_again, done, refused, run

from lightning_vq import compare_command
from lightning_vq.errors import UserError

CONFIG = """
model:
  class_path: lightning_vq.modules.ClickThroughRate
  init_args:
    backbone: {class_path: lightning_vq.backbones.ctr.dcn.DCN, init_args: {dim: 8, cross_layers: 1, hidden: [16]}}
    lr: 1.0e-2
data:
  class_path: lightning_vq.data.ClickThroughData
  init_args:
    source: SOURCE
    schema:
      categorical: [user, item]
      numeric: {price: 4, when: standardised}
      sequence: {history: item}
      label: click
      split: part
      timestamp: when
      group: user
      max_length: 3
    batch_size: 256
quantization:
  quantizers:
    user: {class_path: lightning_vq.quantizers.Cascaded, init_args: {codebook_sizes: [12, 4]}}
trainer: {max_epochs: 2, enable_progress_bar: false}
monitor: val/auc
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    table = click_table(1500)
    table = table.append_column("when", [np.arange(1500) // 3])
    pyarrow.csv.write_csv(table, folder / "clicks.csv")
    (folder / "mine.yaml").write_text(CONFIG.replace("SOURCE", str(folder / "clicks.csv")))
    return folder / "mine.yaml"


@pytest.fixture(scope="module")
def runs(config: Path) -> tuple[Path, Path, str]:
    """Return a quantized run with its plain base model, and what it printed."""
    root = config.parent
    told = done("fit", "--config", str(config), f"--trainer.default_root_dir={root}")
    done("fit", "--config", str(config), f"--trainer.default_root_dir={root}", "--quantization.quantizers={}")
    return root / "runs" / "mine" / "1", root / "runs" / "mine" / "2", told


def test_what_is_told(runs: tuple[Path, Path, str], config: Path) -> None:
    folder, _, told = runs
    source = config.parent / "clicks.csv"
    assert f"{source}: 1,200 rows to train on, 4" in told
    assert (
        "% clicked; fields user 40, item 30, price 4; numbers when; sequences history; unknown in test: user " in told
    )
    for words in ("DCN on", "test/auc", "test/logloss", "test/ece", "test/gauc/user", "test/ndcg@5/user", "codes used"):
        assert words in told
    assert f"Next: python -m lightning_vq predict --run {folder}" in told


def test_the_run_folder_is_complete(runs: tuple[Path, Path, str]) -> None:
    table = click_table(1500)
    for folder in runs[:2]:
        summary = json.loads((folder / "metrics.json").read_text())
        assert summary["state"] == "finished"
        assert {"test/auc", "test/logloss", "test/ece", "test/gauc/user", "test/hr@1/user"} <= set(summary["test"])
        bins = summary["calibration"]
        assert set(bins) == {"predicted", "observed", "rows"}
        assert sum(bins["rows"]) == 150
        assert bins["predicted"] == sorted(bins["predicted"])
        gaps = [abs(p - o) * n for p, o, n in zip(bins["predicted"], bins["observed"], bins["rows"])]
        assert sum(gaps) / 150 == pytest.approx(summary["test"]["test/ece"], abs=1e-6)
        test = [row for row in table.to_pylist() if row["part"] == "test"]
        assert sum(np.multiply(bins["observed"], bins["rows"])) == pytest.approx(sum(row["click"] for row in test))
        new, gone = (sum(check(row) for row in test) / 150 for check in (new_user, lambda row: row["item"] is None))
        assert summary["unknown"] == pytest.approx({"user": new, "item": gone, "price": 0}, abs=1e-6)
        assert summary["unknown"]["user"] > 0.05
        for name in ("calibration", "losses", "ranking"):
            assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        names = pq.read_table(folder / "vocab" / "price.parquet")
        assert names["count"].to_pylist() == [300] * 4
        assert [p.name for p in folder.rglob(".*")] == []
    assert len(pq.read_table(runs[0] / "tree" / "user.parquet")) == 40


def new_user(row: dict) -> bool:
    return row["user"].startswith("new")


def test_the_files_of_the_test_agree_with_its_metrics(runs: tuple[Path, Path, str]) -> None:
    folder = runs[0]
    summary = json.loads((folder / "metrics.json").read_text())
    users, cases = (pq.read_table(folder / f"test_{name}.parquet") for name in ("users", "cases"))
    assert cases.column_names == ["user", "row", "item", "rank/user"]
    table = click_table(1500)
    for row in cases.to_pylist():
        there = table.slice(row["row"], 1).to_pylist()[0]
        assert (there["user"], there["click"], there["part"]) == (row["user"], 1, "test")
        assert row["item"] in (str(there["item"]), None)  # null for one that training has not seen
    for name in ("hr@1/user", "ndcg@5/user", "ndcg@10/user"):
        assert np.mean(users[name].to_numpy()) == pytest.approx(summary["test"][f"test/{name}"], abs=1e-6)
    first: dict[str, int] = {}
    for row in cases.to_pylist():
        first[row["user"]] = min(row["rank/user"], first.get(row["user"], 99))
    assert dict(zip(users["user"].to_pylist(), users["hr@1/user"].to_pylist())) == {u: r == 1 for u, r in first.items()}


def test_test_validate_and_predict_from_the_folder_alone(runs: tuple[Path, Path, str]) -> None:
    folder = runs[0]
    summary = checked_again(folder, abs=1e-7)
    assert f"Written: {folder / 'predictions.parquet'}" in done("predict", "--run", str(folder))
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    parts = click_table(1500)["part"].to_pylist()
    assert [row["row"] for row in rows] == [i for i, part in enumerate(parts) if part == "test"]
    mean = np.average(summary["calibration"]["predicted"], weights=summary["calibration"]["rows"])
    assert np.mean([row["chance"] for row in rows]) == pytest.approx(mean, abs=1e-6)


def test_the_saved_config_is_a_config_also_with_the_table_on_disk(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    options = [f"--trainer.default_root_dir={tmp_path}", "--data.init_args.memory=disk"]
    done("fit", "--config", str(runs[0] / "config.yaml"), *options, f"--data.init_args.folder={tmp_path}")
    folder = tmp_path / "runs" / "mine" / "1"
    again, before = (json.loads((one / "metrics.json").read_text()) for one in (folder, runs[0]))
    assert again["test"] == before["test"]
    assert again["calibration"] == before["calibration"]


def test_two_processes_leave_the_same_folder(config: Path, tmp_path: Path) -> None:
    """The ranks of ddp_fork are gone when metrics.json is written."""
    ranks = ["--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp_fork"]
    done("fit", "--config", str(config), f"--trainer.default_root_dir={tmp_path}", *ranks)
    folder = tmp_path / "runs" / "mine" / "1"
    summary = json.loads((folder / "metrics.json").read_text())
    assert sum(summary["calibration"]["rows"]) == 150
    assert set(summary["unknown"]) == {"user", "item", "price"}
    assert (folder / "figures" / "calibration.png").is_file()
    users = pq.read_table(folder / "test_users.parquet")
    assert np.mean(users["ndcg@5/user"].to_numpy()) == pytest.approx(summary["test"]["test/ndcg@5/user"], abs=1e-6)


# -- mistakes ----------------------------------------------------------------------------------------------------------

SCHEMA = "data.init_args.schema"
BAD = {
    f"{SCHEMA}.label=clik": "clicks.csv: there is no column 'clik' (data.init_args.schema.label); did you mean 'click'",
    f"{SCHEMA}.labl=click": "did you mean",
    f"{SCHEMA}.min_count=0": "min_count is 0",
    f"{SCHEMA}.numeric={{price: 1}}": "numeric.price is 1; it must be at least 2 buckets, or standardised",
    f"{SCHEMA}.numeric={{price: log}}": "numeric",
    f"{SCHEMA}.numeric={{user: standardised}}": "the column 'user' is named twice",
    f"{SCHEMA}.numeric={{history: standardised}}": "the column 'history' is named twice",
    f"{SCHEMA}.numeric={{part: standardised}}": "row 2: the column 'part' holds 'train', not a number",
    f"{SCHEMA}.label=when": "the column 'when' is named twice",
    f"{SCHEMA}=null": "data.init_args.schema is missing",
    f"{SCHEMA}={{group: null}}": "'val/ndcg@5/user' is not a validation metric of this config; choose from val/auc",
    "data.init_args.split=times": "split",
    "data.init_args.ratio=[1,0,0]": "each share must be above 0",
    "data.init_args.source=absent.csv": "no file at absent.csv",
    "data.init_args.memory=tape": "memory",
    "monitor=val/ndgc@5/user": "did you mean 'val/ndcg@5/user'",
    "model=lightning_vq.modules.CollaborativeFiltering": "is trained on CollaborativeData, not ClickThroughData",
    "model.init_args.backbone=lightning_vq.backbones.collaborative.bprmf.BPRMF": "BPRMF needs ['pairs'], but the data",
    "model.init_args.backbone.init_args.hidden=[]": "hidden is []",
    "model.init_args.categories={item: before}": "categories names 'item'",
    "model.init_args.bins=0": "bins is 0",
    "quantization.quantizers.user.init_args.codebook_sizes=[50,4]": "rows (40)",
}


@pytest.mark.parametrize("option", list(BAD))
def test_a_mistake_is_one_line_and_status_two_and_leaves_nothing(
    option: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [f"--trainer.default_root_dir={tmp_path}", "--monitor=val/ndcg@5/user", f"--{option}"]
    assert BAD[option] in refused(monkeypatch, capfd, "fit", "--config", str(config), *options)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_ends_the_process_with_status_two(config: Path, tmp_path: Path) -> None:
    bad = (config.parent / "clicks.csv").read_text().replace(",0,", ",3,", 1)
    (tmp_path / "bad.csv").write_text(bad)
    told = run("fit", "--config", str(config), f"--data.init_args.source={tmp_path / 'bad.csv'}", expect=2)
    assert told.stderr.count("error: ") == 1
    row = next(n for n, line in enumerate(bad.splitlines(), 1) if ",3," in line)
    assert f"error: {tmp_path / 'bad.csv'}, row {row}: the label 'click' is 3; it must be 0 or 1" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_metric_that_is_not_defined_chooses_no_epoch(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first, *rest = (config.parent / "clicks.csv").read_text().splitlines()
    rows = [f"{first},alone", *(f"{line},{i}" for i, line in enumerate(rest))]  # no group has both labels
    (tmp_path / "alone.csv").write_text("\n".join([*rows, ""]))
    options = [f"--trainer.default_root_dir={tmp_path}", f"--data.init_args.source={tmp_path / 'alone.csv'}"]
    options += ["--data.init_args.schema.group=alone", "--monitor=val/gauc/alone"]
    told = refused(monkeypatch, capfd, "fit", "--config", str(config), *options)
    assert "val/gauc/alone is not defined on the validation data; choose another --monitor" in told


# -- comparison --------------------------------------------------------------------------------------------------------


def test_runs_are_compared_by_their_groups(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    quantized, base, _ = runs
    told = done("compare", str(base), str(quantized), f"--out={tmp_path / 'out'}")
    assert "A = mine/2, B = mine/1: ndcg@10/user by group" in told  # val/auc, which chose the epoch, is of no user
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "Groups are of users, and of the items held out (n cases), as A's training counted them." in text
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    rows, metric = compare_command.compare([base, quantized], "ndcg@5/user")
    assert metric == "ndcg@5/user"
    whole = {row.metric: row for row in rows if row.of == "all"}
    for folder, column in ((base, "base"), (quantized, "other")):
        test = json.loads((folder / "metrics.json").read_text())["test"]
        for name, row in whole.items():
            assert getattr(row, column) == pytest.approx(test[f"test/{name}"], abs=1e-6)
    assert {f"{name}@{k}/user" for name in ("hr", "ndcg") for k in (1, 5, 10)} == set(whole)
    users = pq.read_table(base / "test_users.parquet")
    groups = {row.group: row for row in rows if row.of == "users"}
    assert {row.of for row in rows} == {"all", "users", "items"}
    held = pq.read_table(base / "test_cases.parquet")
    assert sum(row.n for row in rows if row.of == "items" and row.metric == metric) == len(held)
    cold = [name.startswith("new") for name in users["user"].to_pylist()]  # whom training has not seen
    assert groups["cold"].n == sum(cold) > 2
    assert groups["cold"].base == pytest.approx(np.mean(users["ndcg@5/user"].to_numpy()[cold]), abs=1e-6)
    assert sum(row.n for row in groups.values()) == len(users)


def test_groups_without_a_vocabulary_and_rows_that_differ(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    copies = [tmp_path / "runs" / "copy" / name for name in ("1", "2")]
    for folder, copy in zip(runs, copies):
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.ckpt"))
        for field in ("user", "item"):  # as of a column that is no field
            (copy / "vocab" / f"{field}.parquet").unlink()
    told = done("compare", *map(str, copies), f"--out={tmp_path / 'out'}")
    assert "by group" not in told
    assert (tmp_path / "out" / "comparison.png").is_file()
    pq.write_table(pq.read_table(copies[0] / "test_cases.parquet").slice(1), copies[0] / "test_cases.parquet")
    with pytest.raises(UserError, match=r"1 of the .* held-out interactions of .* are not in"):
        compare_command.compare(copies, None)


def test_a_run_without_groups(config: Path, tmp_path: Path) -> None:
    options = [f"--trainer.default_root_dir={tmp_path}", f"--{SCHEMA}={{group: null}}"]
    for more in ([], ["--quantization.quantizers={}"]):
        told = done("fit", "--config", str(config), *options, *more, "--trainer.max_epochs=1")
        assert "test/auc" in told
        assert "/user" not in told.partition("test/auc")[2].partition("Run folder")[0]
    folder = tmp_path / "runs" / "mine" / "1"
    done("test", "--run", str(folder))
    with pytest.raises(UserError) as caught:
        compare_command.compare([folder, folder.parent / "2"], None)
    expected = f"{folder} ranked nothing in its test, for data.init_args.schema.group names no column"
    assert str(caught.value) == expected

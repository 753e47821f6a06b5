"""The command line on relevance scores: the shipped configs, a file of one's own, mistakes, comparisons, a table."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import checked_again, done, refused
from relevances import relevance_file
from small_table import reproduce, table

from lightning_vq import compare_command
from lightning_vq.callbacks.history import read_history
from lightning_vq.errors import UserError
from lightning_vq.groups import GROUPS, frequency_groups

SMALL = ["--data.init_args.planted={items: 90, branching: [4, 3], mean_length: 12}", "--data.init_args.batch_size=64"]
SMALL += ["--trainer.enable_progress_bar=false", "--trainer.max_epochs=4"]
LINES = [f"app {n % 17},app {(n * n) % 23},{(n * 37) % 201 - 100}" for n in range(17 * 23)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Return a quantized run, its plain base model, and what was printed."""
    root = tmp_path_factory.mktemp("runs")
    options = [f"--quantization.quantizers.{side}.init_args.subspaces=[8, 8]" for side in ("user", "item")]
    options += [*SMALL, f"--trainer.default_root_dir={root}"]
    told = done("fit", "--config", "conf/mgqe_relevance.yaml", *options)
    folder = root / "runs" / "mgqe_relevance" / "1"
    return folder, folder / "baseline", told


def test_the_table_shows_base_quantized_and_the_floor(runs: tuple[Path, Path, str]) -> None:
    folder, _, told = runs
    assert told.startswith("planted: 90 items and 90 related ones, 864 pairs to train on with scores ")
    summary = json.loads((folder / "metrics.json").read_text())
    assert f"the truth itself has RMSE {summary['best_rmse']:.4f} on test" in told
    for words in ("GMF on planted", "test/rmse ", "test/mae ", "test/rmse_of_mean", "test/mse/user", "stored: user"):
        assert words in told
    assert f"Next: python -m lightning_vq predict --run {folder}" in told


def test_the_run_folders_are_complete_and_the_best_epoch_is_the_lowest(runs: tuple[Path, Path, str]) -> None:
    for folder in runs[:2]:
        summary = json.loads((folder / "metrics.json").read_text())
        assert summary["state"] == "finished"
        test = summary["test"]
        assert set(test) == {"test/rmse", "test/mae", "test/rmse_of_mean", "test/mse/user"}
        history = read_history(folder)
        assert summary["best"]["epoch"] == min(history, key=lambda row: row["val/rmse"])["epoch"]
        cases, users = (pq.read_table(folder / f"test_{name}.parquet") for name in ("cases", "users"))
        assert cases.column_names == ["user", "row", "item", "prediction", "score", "squared_error"]
        assert np.sqrt(np.mean(cases["squared_error"].to_numpy())) == pytest.approx(test["test/rmse"], rel=1e-6)
        assert np.mean(users["mse/user"].to_numpy()) == pytest.approx(test["test/mse/user"], rel=1e-6)
        for name in ("losses", "ranking"):
            if folder == runs[0]:
                assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_test_validate_and_predict_from_the_folder_alone(runs: tuple[Path, Path, str]) -> None:
    folder = runs[0]
    summary = checked_again(folder, rel=1e-6)
    assert f"Written: {folder / 'relevance.parquet'}" in done("predict", "--run", str(folder))
    rows = pq.read_table(folder / "relevance.parquet")
    error = rows["prediction"].to_numpy() - rows["score"].to_numpy()
    assert np.sqrt(np.mean(error**2)) == pytest.approx(summary["test"]["test/rmse"], rel=1e-6)


def test_the_plain_config_goes_on_for_longer_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    found = []
    for name, epochs in (("short", 2), ("long", 4)):
        options = [*SMALL, f"--trainer.max_epochs={epochs}", f"--trainer.default_root_dir={tmp_path / name}"]
        done("fit", "--config", "conf/relevance.yaml", *options)
        folder = tmp_path / name / "runs" / "relevance" / "1"
        if name == "short":
            done("fit", "--run", str(folder), "--trainer.max_epochs=4")
        found.append(json.loads((folder / "metrics.json").read_text()))
    assert found[0]["test"] == found[1]["test"]
    assert found[0]["epochs"] == found[1]["epochs"] == 4


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = relevance_file(tmp_path, LINES, "left,right,rated")
    columns = "--data.init_args.columns={item: left, related: right, score: rated}"
    source = [f"--data.init_args.source={path}", columns, f"--trainer.default_root_dir={tmp_path}"]
    options = ["--quantization.quantizers.user.init_args.centroids=[8, 4]", "--baseline=false", *SMALL[1:]]
    wrong = done("fit", "--config", "conf/mgqe_relevance.yaml", *source, *options, expect=2)
    assert "stand in row" in wrong  # app pairs repeat
    told = done("fit", "--config", "conf/mgqe_relevance.yaml", *source, *options, "--data.init_args.duplicates=mean")
    assert "truth" not in told
    folder = tmp_path / "runs" / "mgqe_relevance" / "1"
    path.rename(tmp_path / "moved.csv")
    assert "no file at" in done("predict", "--run", str(folder), expect=2)
    (tmp_path / "moved.csv").rename(path)
    done("predict", "--run", str(folder))
    first = pq.read_table(folder / "relevance.parquet").to_pylist()[0]
    assert LINES[first["row"]].startswith(f"{first['item']},{first['related']},")


BAD = {
    "monitor=val/rmsee": "did you mean 'val/rmse'",
    "monitor=val/ndcg@10/full": "is not a validation metric of this config; choose from val/mae, val/rmse",
    "data.init_args.source=absent.csv": "no file at absent.csv",
    "data.init_args.source=planned": "data.init_args.source is 'planned'; it must be planted, or a file that ends in",
    "data.init_args.duplicates=first": "there is no 'first'; choose from mean, refuse",
    "data.init_args.ratio=[1,0,0]": "each share must be above 0",
    "data.init_args.planted={items: 90, mean_length: 80}": "pairs of items were found of the 7,200 wanted",
    "data.init_args.refit=true": "refit trains on the validation part",
    "model=lightning_vq.modules.CollaborativeFiltering": "CollaborativeFiltering is trained on CollaborativeData",
    "model.init_args.backbone=lightning_vq.backbones.ctr.dcn.DCN": "DCN needs ['features'], but the data provides",
    "model.init_args.categories={item: before}": "categories names 'item', but of the data's categories it knows none",
    "quantization.quantizers.item.init_args.shares=[0.5, 0.4]": "must be positive and sum to 1",
}


@pytest.mark.parametrize("option", list(BAD))
def test_a_mistake_is_one_line_and_status_two_and_leaves_nothing(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [*SMALL, f"--trainer.default_root_dir={tmp_path}", f"--{option}"]
    told = refused(monkeypatch, capfd, "fit", "--config", "conf/mgqe_relevance.yaml", *options)
    assert BAD[option] in told
    assert list(tmp_path.iterdir()) == []


# -- comparison --------------------------------------------------------------------------------------------------------


def test_runs_are_compared_by_the_items_that_are_asked_about(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    quantized, base, _ = runs
    told = done("compare", str(base), str(quantized), f"--out={tmp_path / 'out'}")
    assert "mse/user by group" in told
    rows, metric = compare_command.compare([base, quantized], None)
    assert metric == "mse/user"
    (whole,) = (row for row in rows if row.of == "all")
    for folder, value in ((base, whole.base), (quantized, whole.other)):
        test = json.loads((folder / "metrics.json").read_text())["test"]
        assert value == pytest.approx(test["test/mse/user"], rel=1e-6)
    cases = pq.read_table(base / "test_cases.parquet")
    assert sum(row.n for row in rows if row.of == "users") == whole.n == len(set(cases["user"].to_pylist()))
    assert sum(row.n for row in rows if row.of == "items") == len(cases) == 108
    vocabulary = pq.read_table(base / "vocab" / "item.parquet")
    group = dict(zip(vocabulary["id"].to_pylist(), frequency_groups(vocabulary["count"].to_numpy())))
    tail: dict[str, list[float]] = {}
    for case in cases.to_pylist():
        if GROUPS[group[case["item"]]] == "tail":
            tail.setdefault(case["user"], []).append(case["squared_error"])
    (of_tail,) = (row for row in rows if (row.of, row.group) == ("items", "tail"))
    assert of_tail.n == sum(map(len, tail.values())) > 20
    assert of_tail.base == pytest.approx(np.mean([np.mean(errors) for errors in tail.values()]))


def test_more_error_is_worse(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    base, copy = runs[1], tmp_path / "runs" / "copy" / "1"
    shutil.copytree(base, copy, ignore=shutil.ignore_patterns("*.ckpt"))
    users = pq.read_table(copy / "test_users.parquet")
    more = users.set_column(1, "mse/user", [users["mse/user"].to_numpy() + 9.0])
    pq.write_table(more, copy / "test_users.parquet")
    for pair, said in (((base, copy), "worse"), ((copy, base), "better")):
        done("compare", *map(str, pair), f"--out={tmp_path / 'out'}")
        other = "better" if said == "worse" else "worse"
        told = (tmp_path / "out" / "comparison.md").read_text()
        assert f" is {said} than " in told
        assert f" on 1 of 1 metrics after correction, {other} on none" in told


def test_runs_of_other_pairs_are_not_compared(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    options = [*SMALL, "--data.init_args.split_seed=1", f"--trainer.default_root_dir={tmp_path}"]
    done("fit", "--config", "conf/relevance.yaml", *options)
    with pytest.raises(UserError, match="cannot be paired"):
        compare_command.compare([runs[1], tmp_path / "runs" / "relevance" / "1"], None)


# -- tables and sweeps -------------------------------------------------------------------------------------------------

LR = {"model.init_args.lr": {"low": 1e-3, "high": 1e-2, "log": True}}
PLANTED = {"items": 90, "branching": [4, 3], "mean_length": 12}
TABLE: dict[str, Any] = {
    "title": "Small",
    "columns": {"RMSE": "test/rmse", "MSE": "test/mse/user", "bytes": "bytes", "size": "size"},
    "budgets": {"small": {"trials": 2, "fixed": {"trainer.max_epochs": 2}}},
    "seeds": 2,
    "sweep": {"objectives": {"val/rmse": "minimize"}, "fixed": {"data.init_args.planted": PLANTED}},
    "rows": [
        {"name": "Full", "source": "planted", "base": ["conf/relevance.yaml"], "space": LR, "paper": {"RMSE": 30.34},
         "comparable": False},
        {"name": "MGQE", "source": "planted", "base": ["conf/mgqe_relevance.yaml"], "over": "Full",
         "fixed": {"quantization.quantizers.user.init_args.centroids": [16, 4]}},
    ],
}  # fmt: skip


def test_a_table_of_losses_is_tuned_to_the_lowest_and_told_as_losses(tmp_path: Path) -> None:
    text = reproduce(tmp_path, table=TABLE)
    folder = tmp_path / "out/small/small"
    tuned = json.loads((folder / "full/runs/sweeps/tune/summary.json").read_text())
    trials = [json.loads(path.read_text()) for path in (folder / "full/runs/sweeps/tune/trials").glob("*/metrics.json")]
    values = [trial["best"]["val/rmse"] for trial in trials]
    assert len(values) == 2
    assert tuned["best"][0]["values"] == [min(values)]
    assert table(tmp_path)[("Full", "RMSE")]["verdict"] == "not comparable"
    full, small = (float(table(tmp_path)[(row, "bytes")]["mean"]) for row in ("Full", "MGQE"))
    assert full == 4 * (2 * 90 * 64 + 64) > small  # two tables, and GMF's weights of their products
    assert float(table(tmp_path)[("MGQE", "size")]["mean"]) == pytest.approx(small / full)
    assert "Gains by group: MSE" in text
    gains = (folder / "gains.csv").read_text().splitlines()
    assert any(line.startswith("MGQE,Full,tail items,test/mse/user,") for line in gains)


def test_a_loss_is_not_maximized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = ["base: [conf/relevance.yaml]", "space: {model.init_args.lr: {low: 1.0e-3, high: 1.0e-2}}"]
    (tmp_path / "s.yaml").write_text("\n".join([*lines, "objectives: {val/rmse: maximize}", f"root: {tmp_path}"]))
    told = refused(monkeypatch, capfd, "sweep", "--config", str(tmp_path / "s.yaml"))
    assert "objective 'val/rmse': a trial's best epoch is the lowest, so it must be minimize" in told

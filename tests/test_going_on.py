"""Runs that are stopped and gone on with, from the command line: Ctrl-C, signals, more epochs, their base model."""

import json
import signal
from pathlib import Path

import pytest
import torch
import yaml
from command import SMALL, begun, done, ended
from stub import wait_for


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    options = [*SMALL, "--baseline=false", "--patience=null", f"--trainer.default_root_dir={tmp_path}"]
    command = ["-m", "lightning_vq", "fit", "--config", "conf/cove_lgcn.yaml", *options]
    folder = tmp_path / "runs" / "cove_lgcn" / "1"
    with begun(*command, "--trainer.max_epochs=100000") as process:
        wait_for((folder / "metrics.csv").is_file)
        process.send_signal(signal.SIGINT)
        assert f"To go on: python -m lightning_vq fit --run {folder}" in ended(process, 130)
    stopped = json.loads((folder / "metrics.json").read_text())
    assert stopped["state"] == "stopped"
    epochs = stopped["epochs"] + 2
    done("fit", "--run", str(folder), f"--trainer.max_epochs={epochs}")
    assert json.loads((folder / "metrics.json").read_text())["state"] == "finished"
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(epochs))
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["max_epochs"] == epochs


def test_the_last_checkpoint_is_the_last_epoch_also_where_it_is_not_the_best(tmp_path: Path) -> None:
    options = [*SMALL, "--baseline=false", "--patience=4", "--model.init_args.lr=0.05"]
    done("fit", "--config", "conf/cove_lgcn.yaml", *options, f"--trainer.default_root_dir={tmp_path}")
    folder = tmp_path / "runs" / "cove_lgcn" / "1"
    summary = json.loads((folder / "metrics.json").read_text())
    last, best = (torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("last", "best"))
    assert last["epoch"] + 1 == summary["epochs"]
    assert best["epoch"] == summary["best"]["epoch"] < last["epoch"]
    moved = folder.rename(tmp_path / "moved")
    longer = ["--patience=4", "--trainer.max_epochs=1000"]
    done("fit", "--run", str(moved))  # it had stopped, and stays stopped
    still = json.loads((moved / "metrics.json").read_text())
    assert (still["epochs"], still["best"], still["test"]) == (summary["epochs"], summary["best"], summary["test"])
    assert still["seconds"] > summary["seconds"]
    assert still["train_seconds"] == summary["train_seconds"]
    assert "another model section" in done("fit", "--run", str(moved), "--model.init_args.lr=1", expect=2)
    more = [*longer, "--patience=1000", "--trainer.max_epochs=" + str(summary["epochs"] + 1)]
    done("fit", "--run", str(moved), *more)
    assert json.loads((moved / "metrics.json").read_text())["epochs"] == summary["epochs"] + 1
    again = json.loads((moved / "metrics.json").read_text())
    best = torch.load(moved / "best.ckpt", weights_only=True)
    assert best["epoch"] == again["best"]["epoch"]
    assert again["best"]["val/ndcg@10/full"] >= summary["best"]["val/ndcg@10/full"]


def test_the_base_model_goes_on_with_the_same_budget(tmp_path: Path) -> None:
    options = [*SMALL, "--trainer.max_epochs=2", f"--trainer.default_root_dir={tmp_path}"]
    done("fit", "--config", "conf/cove_bprmf.yaml", *options)
    folder = tmp_path / "runs" / "cove_bprmf" / "1"
    done("fit", "--run", str(folder), "--trainer.max_epochs=4", "--patience=null")
    for one in (folder, folder / "baseline"):
        assert json.loads((one / "metrics.json").read_text())["epochs"] == 4
        config = yaml.safe_load((one / "config.yaml").read_text())
        assert (config["trainer"]["max_epochs"], config["patience"]) == (4, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_this_process_alone_stops_the_base_models_run(tmp_path: Path, number: int) -> None:
    options = [*SMALL, "--trainer.max_epochs=1", f"--trainer.default_root_dir={tmp_path}"]
    done("fit", "--config", "conf/cove_bprmf.yaml", *options, "--baseline=false")
    folder = tmp_path / "runs" / "cove_bprmf" / "1"
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 1\n", "max_epochs: 100000\n"))
    code = (
        "import sys; from pathlib import Path; from lightning_vq.baseline import train_baseline\n"
        "try: train_baseline(Path(sys.argv[1]))\nexcept KeyboardInterrupt: sys.exit(130)"
    )
    with begun("-c", code, str(folder)) as process:
        wait_for((folder / "baseline" / "metrics.csv").is_file)
        process.send_signal(number)
        assert f"To go on: python -m lightning_vq fit --run {folder}" in ended(process, 130)
    assert json.loads((folder / "baseline" / "metrics.json").read_text())["state"] == "stopped"

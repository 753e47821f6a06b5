"""conf/strategy/row_sharded.yaml after a config: the same YAML, cut over two processes, trains to the same losses."""

import csv
from pathlib import Path

import torch
from command import SMALL, done, run

from lightning_vq.runs import read_yaml


def losses(folder: Path) -> list[list[float]]:
    with (folder / "metrics.csv").open() as file:
        return [[float(row[key]) for key in row if key.startswith(("loss/", "val/"))] for row in csv.DictReader(file)]


def test_the_same_yaml_cut_over_two_processes(tmp_path: Path) -> None:
    config, strategy = Path("conf/cove_bprmf.yaml").absolute(), Path("conf/strategy/row_sharded.yaml").absolute()
    options = [*SMALL, "--trainer.max_epochs=4", "--baseline=false"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    done("fit", "--config", str(config), *options, folder=whole)
    run("fit", "--config", str(config), "--config", str(strategy), *options, folder=cut, OMP_NUM_THREADS="1")
    one, two = (folder / "runs/cove_bprmf/1" for folder in (whole, cut))
    cut_over = read_yaml(two / "config.yaml")["trainer"]
    assert cut_over["strategy"]["class_path"].endswith("ModelParallelStrategy")
    assert cut_over["devices"] == 2
    assert len(losses(one)) == 4
    assert len(losses(one)[0]) > 2
    torch.testing.assert_close(torch.tensor(losses(two)), torch.tensor(losses(one)), rtol=1e-4, atol=1e-5)
    assert (two / "metrics.json").is_file()

"""Tables cut by rows over two gloo ranks: the model trains as one process with whole tables does."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
import yaml
from command import run
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from small import cascaded, data, trained, weights
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.data import CollaborativeData
from lightning_vq.errors import UserError
from lightning_vq.lookup import rows_of
from lightning_vq.quantizers import MGQE, Cascaded, LowRank, Quantizer
from lightning_vq.run_config import refuse_another
from lightning_vq.sharding import is_sharded, shard
from lightning_vq.sources.planted import PlantedOptions

EPOCHS = 12


def averaged(rows: int, dim: int) -> Quantizer:
    return Cascaded(rows, dim, codebook_sizes=[12, 4], learning="ema")


def product(rows: int, dim: int) -> Quantizer:
    return MGQE(rows, dim, shares=[0.2, 0.8], centroids=[8, 4], subspaces=[4, 4])


def uneven() -> CollaborativeData:
    """Return data of 121 users and 79 items, of which the first rank has one more."""
    return data(planted=PlantedOptions(users=121, items=79, branching=(4, 3), mean_length=12))


MODELS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "rows": lambda: (BPRMF(), {"user": cascaded, "item": averaged}),
    "plain": lambda: (BPRMF(), {}),
    "whole": lambda: (LightGCN(), {"item": cascaded}),
    "in place": lambda: (NeuMF(), {"user": product, "item": lambda rows, dim: LowRank(rows, dim, rank=8)}),
}


class Held(Callback):
    """Notes what this process holds while it trains: numbers of its tables and of their moments."""

    def __init__(self) -> None:
        self.cut: dict[str, tuple[int, int]] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state = trainer.optimizers[0].state
        for name, table in pl_module.tables.items():  # type: ignore[operator,union-attr]
            if is_sharded(table):
                parts = [table, state[table]["exp_avg"], state[table]["exp_avg_sq"]]
                self.cut[name] = (sum(part.to_local().numel() for part in parts), 3 * table.numel())


def outcome(name: str, **options: Any) -> dict[str, Any]:
    seed_everything(0, verbose=False)  # layers of a backbone are drawn when it is made
    backbone, quantizers = MODELS[name]()
    held = Held()
    clip = 0.005 if name == "plain" else None
    module, trainer = trained(backbone, quantizers, EPOCHS, [held], uneven(), clip=clip, **options)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {"weights": weights(module), "logged": logged, "cut": held.cut}


def rank_of_two(rank: int, folder: str) -> None:
    for key, value in {"LOCAL_RANK": rank, "WORLD_SIZE": 2, "NODE_RANK": 0, "MASTER_ADDR": "127.0.0.1"}.items():
        os.environ[key] = str(value)
    os.environ["MASTER_PORT"] = (Path(folder) / "port").read_text()
    torch.set_num_threads(1)
    for name in MODELS:
        strategy = ModelParallelStrategy(process_group_backend="gloo")
        torch.save(outcome(name, strategy=strategy, devices=2), Path(folder) / f"{name} {rank}.pt")
    table = shard(nn.Parameter(torch.ones(5, 2)), init_device_mesh("cpu", (2,)))
    for outside in (-1, 5):
        with pytest.raises(IndexError, match=f"id {outside} of a table of 5 rows"):
            rows_of(table, torch.tensor([0, outside]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sharded")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (path / "port").write_text(str(free.getsockname()[1]))
    mp.start_processes(rank_of_two, (str(path),), nprocs=2, start_method="fork")
    return path


@pytest.mark.parametrize("name", list(MODELS))
def test_two_ranks_with_half_the_rows_train_as_one_process(folder: Path, name: str) -> None:
    one = outcome(name)
    for rank in (0, 1):
        two = torch.load(folder / f"{name} {rank}.pt", weights_only=True)
        assert two["logged"] == pytest.approx(one["logged"], rel=1e-6)
        assert {"loss/task", "val/ndcg@10/full"} <= set(two["logged"])
        for key, value in one["weights"].items():
            torch.testing.assert_close(two["weights"][key], value, atol=1e-7, rtol=1e-5)
    assert not one["cut"]


def test_each_rank_holds_its_share_of_tables_and_moments(folder: Path) -> None:
    parts = [torch.load(folder / f"rows {rank}.pt", weights_only=True)["cut"] for rank in (0, 1)]
    assert set(parts[0]) == {"user", "item", "item_bias"}
    for name, (first, whole) in parts[0].items():
        second, _ = parts[1][name]
        assert first + second == whole
        assert 0 < first - second <= 3 * 64
    assert set(torch.load(folder / "in place 0.pt", weights_only=True)["cut"]) == {
        "user",
        "user_mlp",
    }  # factors stay whole


@pytest.mark.parametrize(("size", "nodes"), [("2", 1), ("auto", 2)])
def test_copies_of_cut_tables_are_refused(size: str, nodes: int, tmp_path: Path) -> None:
    strategy = "lightning.pytorch.strategies.ModelParallelStrategy"
    options = [f"--trainer.strategy={strategy}", f"--trainer.strategy.init_args.data_parallel_size={size}"]
    options += ["--trainer.devices=2", f"--trainer.num_nodes={nodes}"]
    config = str(Path("conf/bprmf.yaml").absolute())
    said = run("fit", "--config", config, *options, expect=2, folder=tmp_path).stderr
    assert f"data_parallel_size is {size}, which is 2 copies of the tables" in said
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_with_as_many_processes(tmp_path: Path) -> None:
    strategy = {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy", "init_args": {}}

    def config(strategy: object, devices: object) -> dict[str, Any]:
        trainer = {"strategy": strategy, "devices": devices, "num_nodes": 1}
        rest = dict.fromkeys(("quantization", "data", "seed_everything", "monitor"), 0)
        return {"trainer": trainer, "model": {"init_args": {"backbone": 0}}, **rest}

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config(strategy, 2)))
    refuse_another(tmp_path, config(strategy, 2), going_on=True)
    refuse_another(tmp_path, config("auto", 1), going_on=False)
    refuse_another(tmp_path, config(strategy, [0, 1]), going_on=True)
    refuse_another(tmp_path, config(strategy, "auto"), going_on=True)  # which may be two
    for now, told in ((config(strategy, [0, 1, 2]), "3"), (config("auto", 2), r"0 \(0: not cut\)")):
        with pytest.raises(UserError, match=f"cut over 2 processes and would be over {told}"):
            refuse_another(tmp_path, now, going_on=True)

"""Runs of list completion: they learn, go on bit for bit, and two ranks measure what one does."""

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from small import weights
from small_lists import lists, quiet, trained
from stopped import StopAt

from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.callbacks.cases import CaseMetrics
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.modules import ListCompletion, Recommender
from lightning_vq.quantizers import Cascaded
from lightning_vq.sources.planted import PlantedOptions

TREE = {"item": partial(Cascaded, codebook_sizes=[12, 4])}
TWO: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork"}
SASREC = partial(SASRec, dim=16, layers=1, heads=2, dropout=0.2)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[ListCompletion, Path]:
    """Return a module that was trained for long enough, and its checkpoint."""
    held = lists(planted=PlantedOptions(users=400, items=60, branching=(4, 3), mean_length=24))
    saving = ModelCheckpoint(tmp_path_factory.mktemp("run"), "one", save_on_train_epoch_end=True)
    module, _ = trained(SASREC(), TREE, held, epochs=15, callbacks=[saving], omega_c=0.5)
    return module, Path(str(saving.dirpath)) / "one.ckpt"


def test_it_learns_to_continue_lists(learned: tuple[ListCompletion, Path]) -> None:
    told = {name: float(value) for name, value in learned[0].trainer.callback_metrics.items()}
    chance = 5 / 60
    assert told["val/hr@5/list"] > 3 * chance
    assert told["val/ndcg@5/list"] > 2 * chance
    assert 0 < told["val/n@5/list"] <= 40
    assert {"loss/task", "loss/quantization", "loss/commitment", "loss/classification"} <= set(told)


@pytest.mark.parametrize("protocol", ["halves", "next"])
def test_two_ranks_measure_what_one_does(learned: tuple[ListCompletion, Path], protocol: str) -> None:
    found = []
    for ranks in ({}, TWO):
        module = Recommender.load_from_checkpoint(learned[1])
        held = lists(protocol=protocol, planted=learned[0].trainer.datamodule.planted, eval_batch_size=7)
        found += quiet(**ranks).test(module, datamodule=held, verbose=False)
    assert found[0] == pytest.approx(found[1], abs=1e-6, nan_ok=True)
    assert len(found[0]) == (4 if protocol == "halves" else 8)  # no list of them has ten to come


def test_two_ranks_train(tmp_path: Path) -> None:
    module, trainer = trained(SASREC(), TREE, omega_c=0.5, epochs=2, ranks=TWO)
    assert trainer.world_size == 2
    assert float(trainer.callback_metrics["val/hr@5/list"]) >= 0.0
    assert all(torch.isfinite(value).all() for value in weights(module).values())


@pytest.mark.parametrize("kind", [SASRec, BERT4Rec, FANS])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, kind: Any) -> None:
    options: dict[str, Any] = {"epochs": 3, "omega_c": 0.5, "warmup_steps": 5}

    def made() -> Any:
        torch.manual_seed(1)
        return kind(dim=8, layers=1, heads=2, dropout=0.2)

    whole, trainer = trained(made(), TREE, **options)
    assert len(trainer.train_dataloader) == 3
    interrupt = Interrupt(tmp_path)
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained(made(), TREE, callbacks=[StopAt(interrupt, 5), interrupt, saving], **options)
    resumed, _ = trained(made(), TREE, ckpt_path=str(tmp_path / "last.ckpt"), **options)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


@pytest.mark.parametrize("protocol", ["halves", "next"])
def test_what_a_test_and_a_prediction_write(
    learned: tuple[ListCompletion, Path], tmp_path: Path, protocol: str
) -> None:
    module = learned[0]
    held = lists(protocol=protocol, planted=module.trainer.datamodule.planted, eval_batch_size=16)
    trainer = quiet(callbacks=[CaseMetrics(tmp_path), Predictions(tmp_path)])
    [told] = trainer.test(module, datamodule=held, verbose=False)
    trainer.predict(module, datamodule=held, return_predictions=False)
    users, cases = (pq.read_table(tmp_path / f"test_{name}.parquet") for name in ("users", "cases"))
    column = "hr@5/list" if protocol == "halves" else "hr@5/full"
    found = dict(zip(users["user"].to_pylist(), users[column].to_pylist()))
    there = [value for value in found.values() if value == value]
    assert sum(there) / len(there) == pytest.approx(told[f"test/{column}"])
    written: dict[str, list[str]] = {}
    for row in pq.read_table(tmp_path / "completions.parquet").to_pylist():
        written.setdefault(row["list"], []).append(row["item"])
        assert row["place"] == len(written[row["list"]]) <= 10
        assert ("score" in row) == (protocol == "next")
    assert set(written) == set(found)
    assert all(len(set(items)) == len(items) for items in written.values())
    if protocol == "next":
        assert {len(items) for items in written.values()} == {10}
        return
    # What came stands in the written list at its rank, and a list is a hit within five exactly where one of them is.
    best = dict.fromkeys(found, 99)
    for row in cases.to_pylist():
        rank = row["rank/list"]
        best[row["user"]] = min(best[row["user"]], rank)
        items = written[row["user"]]
        assert (items[rank - 1] if rank <= len(items) else row["item"]) == row["item"]
        assert (row["item"] in items) == (rank <= len(items))
    assert {user for user, rank in best.items() if rank <= 5} >= {user for user, value in found.items() if value == 1}
    assert all((best[user] <= 5) == (value == 1) for user, value in found.items() if value == value)

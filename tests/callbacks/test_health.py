"""A collapse is noticed within an epoch, told or refused, and repaired by restarts; both ranks see the same."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from small import trained

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.callbacks.health import CodebookHealth, codes_used
from lightning_vq.callbacks.history import History
from lightning_vq.errors import UserError
from lightning_vq.quantizers import DPQ, Cascaded, LowRank

TREE = partial(Cascaded, codebook_sizes=[12, 4])


class Collapse(Callback):
    """Sends all codes but one far away at the start of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch and batch_idx == 0:
            with torch.no_grad():
                pl_module.quantizers["item"].codebooks[0].weight[:, 1:] = 1e3


def test_a_collapse_stops_the_run_with_advice(tmp_path: Path) -> None:
    history = History(tmp_path)
    callbacks = [Collapse(1), CodebookHealth(fail_on_collapse=True), history]
    with pytest.raises(UserError, match=r"item level 1 uses 1 of 12 codes.*restart_dead_codes"):
        trained(BPRMF(), {"item": TREE}, epochs=9, callbacks=callbacks)
    assert len(history.rows) == 2  # the epoch of the collapse is on record, and is the last


def test_restarts_repair_it_within_an_epoch(tmp_path: Path) -> None:
    history = History(tmp_path)
    module, _ = trained(
        BPRMF(), {"item": TREE}, epochs=4, callbacks=[Collapse(1), CodebookHealth(), history], restart_dead_codes=True
    )
    used = [row["codes/item/level1/used"] for row in history.rows]
    assert used[1] == pytest.approx(1 / 12)
    assert used[2] > 0.7
    assert codes_used(module)["item"][0][0] == round(12 * used[3])


def test_a_collapse_that_restarts_repair_does_not_stop_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(tmp_path)
    callbacks = [Collapse(1), CodebookHealth(fail_on_collapse=True), history]
    trained(BPRMF(), {"item": TREE}, epochs=4, callbacks=callbacks, restart_dead_codes=True)
    assert history.rows[1]["codes/item/level1/dead"] == 11
    assert len(history.rows) == 4
    assert "collapse" not in caplog.text


def test_without_restarts_it_stays_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = History(tmp_path)
    trained(BPRMF(), {"item": TREE}, epochs=4, callbacks=[Collapse(1), CodebookHealth(), history])
    assert [row["codes/item/level1/dead"] for row in history.rows[1:]] == [11, 11, 11]
    assert caplog.text.count("codebook collapse: item level 1") == 1


def test_what_is_logged(tmp_path: Path) -> None:
    history = History(tmp_path)
    trained(BPRMF(), {"item": TREE}, epochs=2, callbacks=[CodebookHealth(), history])
    first, second = history.rows
    level = {"used", "dead", "perplexity", "gini", "used_head", "used_tail"}
    assert {f"codes/item/level2/{name}" for name in level} <= set(first)
    assert "codes/item/level1/changed" not in first
    assert 0 <= second["codes/item/level1/changed"] <= 1
    assert first["codes/item/collisions"] > 0.9
    assert first["codes/item/level1/used_head"] <= first["codes/item/level1/used"]


def test_many_levels_are_logged_as_mean_and_worst_and_no_codes_as_nothing(tmp_path: Path) -> None:
    history = History(tmp_path)
    quantizers = {"item": partial(DPQ, subspaces=16, centroids=4), "user": partial(LowRank, rank=4)}
    trained(BPRMF(dim=16), quantizers, epochs=1, callbacks=[CodebookHealth(), history])
    names = [name for name in history.rows[0] if name.startswith("codes/")]
    assert {name.split("/")[2] for name in names} == {"mean", "worst", "collisions"}
    assert {name.split("/")[1] for name in names} == {"item"}


def test_two_ranks_find_the_same(tmp_path: Path) -> None:
    class Note(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("codes/")}
            (tmp_path / f"{trainer.global_rank}.json").write_text(json.dumps(found))

    callbacks = [CodebookHealth(), Note()]
    trained(BPRMF(), {"item": TREE}, epochs=2, callbacks=callbacks, strategy="ddp_fork", devices=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert len(first) > 10
    assert first == second


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="collapse_below"):
        CodebookHealth(collapse_below=1.0)


def test_what_takes_more_than_its_table_is_told(caplog: pytest.LogCaptureFixture) -> None:
    large, small = partial(DPQ, subspaces=4, centroids=200), partial(DPQ, subspaces=4, centroids=16)
    trained(BPRMF(), {"user": small, "item": large}, epochs=1)
    share = (80 * 4 * 8 + 32 * 200 * 64) / (32 * 80 * 64)
    assert caplog.text.count(f"DPQ for 'item' takes {100 * share:.0f} % of the float32 table it replaces") == 1
    assert "DPQ for 'user'" not in caplog.text

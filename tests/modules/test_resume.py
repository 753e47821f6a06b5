"""A run that was stopped and resumed is bit-equal to one that never was, quantizer on."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small import cascaded, data, trained, weights
from stopped import StopAt

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.callbacks.history import History
from lightning_vq.callbacks.interrupt import Interrupt

QUANTIZERS = {"user": cascaded, "item": cascaded}


class Terminate(Callback):
    """Sends this process SIGTERM, as a cluster or a sweep does, in a block; Lightning has a handler of its own."""

    def __init__(self, block: int) -> None:
        self.left = block

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.left -= 1
        if self.left == 0:
            assert threading.current_thread() is threading.main_thread()
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("block", [64, 4])
def test_bit_equal_after_a_signal(tmp_path: Path, block: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    whole, _ = trained(BPRMF(), QUANTIZERS, epochs=3, held=data(block=block))
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    callbacks = [Terminate(2), Interrupt(tmp_path), saving]
    with pytest.raises(SystemExit) as end:
        trained(BPRMF(), QUANTIZERS, epochs=3, callbacks=callbacks, held=data(block=block))
    assert end.value.code == 1
    assert signal.getsignal(signal.SIGTERM) is before
    resumed, _ = trained(BPRMF(), QUANTIZERS, epochs=3, ckpt_path=str(tmp_path / "last.ckpt"), held=data(block=block))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def moments(trainer: Trainer) -> list[torch.Tensor]:
    return [value for state in trainer.optimizers[0].state.values() for value in state.values()]


# Blocks of 4 mini-batches make 4 an epoch: stops in the middle, at both ends; blocks of 64 make 1 an epoch.
STOPS = [(BPRMF, 4, 1), (BPRMF, 4, 3), (BPRMF, 4, 4), (BPRMF, 4, 5), (BPRMF, 64, 1), (BPRMF, 64, 2)]
STOPS += [(LightGCN, 4, 3), (LightGCN, 4, 10), (LightGCN, 64, 1)]


@pytest.mark.parametrize(("kind", "block", "stop"), STOPS)
def test_bit_equal_at_any_block(tmp_path: Path, kind: type, block: int, stop: int) -> None:
    unstopped = History(tmp_path)
    whole, whole_trainer = trained(kind(), QUANTIZERS, epochs=3, callbacks=[unstopped], held=data(block=block))
    assert len(whole_trainer.train_dataloader) == {4: 4, 64: 1}[block]
    interrupt = Interrupt(tmp_path)
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    callbacks = [StopAt(interrupt, stop), History(tmp_path), interrupt, saving]
    with pytest.raises(SystemExit):
        trained(kind(), QUANTIZERS, epochs=3, callbacks=callbacks, held=data(block=block))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)["callbacks"]["History"]["part"]
    assert (saved[0] > 0) == (saved[1] > 0)  # samples and seconds of an epoch that is stopped within
    history = History(tmp_path)
    resumed, trainer = trained(
        kind(), QUANTIZERS, epochs=3, callbacks=[history], ckpt_path=str(tmp_path / "last.ckpt"), held=data(block=block)
    )
    assert trainer.global_step == whole_trainer.global_step
    assert trainer.current_epoch == 3
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    for ours, theirs in zip(moments(whole_trainer), moments(trainer)):
        assert torch.equal(ours, theirs)
    assert [row["epoch"] for row in history.rows] == [0, 1, 2]
    assert history.samples == unstopped.samples  # an epoch stopped within counts once, and whole


def test_bit_equal_at_the_border_of_an_epoch(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    trained(BPRMF(), QUANTIZERS, epochs=2, callbacks=[saving])
    whole, _ = trained(BPRMF(), QUANTIZERS, epochs=3)
    resumed, _ = trained(BPRMF(), QUANTIZERS, epochs=3, ckpt_path=str(tmp_path / "last.ckpt"))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name

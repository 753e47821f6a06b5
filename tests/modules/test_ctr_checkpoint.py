"""Click-through rate from a checkpoint: it opens alone, goes on bit for bit, and predicts as before."""

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from clicks import QUANTIZERS, TWO, clicks, fitted, logits, samples, trainer_of
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small import weights
from stopped import StopAt

from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.data.splits import DEV
from lightning_vq.errors import UserError
from lightning_vq.modules import ClickThroughRate, Recommender
from lightning_vq.specs import describe


def test_a_checkpoint_opens_alone(path: Path, learned: tuple[ClickThroughRate, Trainer, Path]) -> None:
    module, _, saved = learned
    opened = Recommender.load_from_checkpoint(saved)
    assert isinstance(opened, ClickThroughRate)
    assert opened.facts is not None
    assert opened.facts.fields == {"user": "user", "item": "item"}
    for batch in (samples(path), samples(path, DEV)):
        assert torch.equal(logits(opened, batch), logits(module, batch))
    assert describe(opened.quantizers["user"]) == describe(module.quantizers["user"])


def test_data_that_has_changed_is_refused(path: Path, tmp_path: Path, learned: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(50).append_column("more", [[0] * (len(table) - 50)]), tmp_path / "clicks.parquet")
    module = Recommender.load_from_checkpoint(learned[2])
    with pytest.raises(UserError, match=r"number their .* differently: the data has changed"):
        trainer_of().test(module, datamodule=clicks(tmp_path / "clicks.parquet"), verbose=False)


@pytest.mark.parametrize("stop", [5, 19, 25])  # of 19 mini-batches an epoch
def test_a_run_that_was_stopped_goes_on_bit_for_bit(path: Path, tmp_path: Path, stop: int) -> None:
    dropping = partial(DCN, dim=8, cross_layers=1, hidden=(16,), dropout=0.2)
    whole, whole_trainer = fitted(clicks(path), QUANTIZERS, dropping, epochs=3)
    assert len(whole_trainer.train_dataloader) == 19
    interrupt = Interrupt(tmp_path)
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    with pytest.raises(SystemExit):
        fitted(clicks(path), QUANTIZERS, dropping, epochs=3, callbacks=[StopAt(interrupt, stop), interrupt, saving])
    resumed, trainer = fitted(clicks(path), QUANTIZERS, dropping, epochs=3, ckpt_path=str(tmp_path / "last.ckpt"))
    assert trainer.global_step == whole_trainer.global_step == 57
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


@pytest.mark.parametrize("ranks", [{}, TWO], ids=["one process", "two"])
def test_predict_writes_each_test_row_once(path: Path, tmp_path: Path, learned: Any, ranks: dict[str, Any]) -> None:
    module = Recommender.load_from_checkpoint(learned[2])
    trainer = trainer_of([Predictions(tmp_path)], **ranks)
    trainer.predict(module, datamodule=clicks(path, eval_batch_size=50), return_predictions=False)
    found, test = pq.read_table(tmp_path / "predictions.parquet"), samples(path)
    table = pq.read_table(path)
    rows = [i for i, part in enumerate(table["part"].to_pylist()) if part == "test"]
    assert found.column_names == ["row", "chance", "label"]
    assert found["row"].to_pylist() == rows == test.cases.tolist()
    assert found["label"].to_pylist() == table["click"].take(rows).to_pylist()
    chances = torch.sigmoid(logits(module, test))
    assert found["chance"].to_pylist() == pytest.approx(chances.tolist(), abs=1e-6)

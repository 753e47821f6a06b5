"""Item-to-item regression goes on bit for bit, chooses its lowest epoch, predicts alike on one and two processes."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from clicks import TWO
from lightning.pytorch.callbacks import ModelCheckpoint
from relevances import QUANTIZERS, fitted, relevance
from small import weights
from small_lists import quiet
from stopped import StopAt

from lightning_vq.callbacks.checkpoints import BestCheckpoint, Patience
from lightning_vq.callbacks.history import History
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.data import CollaborativeData
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.modules import Recommender, RelevanceRegression


@pytest.mark.parametrize("stop", [3, 7, 10])  # of 7 blocks an epoch: within one, at its end, in the second
def test_bit_equal_after_a_stop(tmp_path: Path, stop: int) -> None:
    whole, whole_trainer = fitted(relevance(), QUANTIZERS, epochs=3)
    assert len(whole_trainer.train_dataloader) == 7
    interrupt = Interrupt(tmp_path)
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    with pytest.raises(SystemExit):
        fitted(relevance(), QUANTIZERS, epochs=3, callbacks=[StopAt(interrupt, stop), interrupt, saving])
    resumed, trainer = fitted(relevance(), QUANTIZERS, epochs=3, ckpt_path=str(tmp_path / "last.ckpt"))
    assert trainer.global_step == whole_trainer.global_step
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_the_best_epoch_is_the_lowest_and_patience_waits_for_a_lower_one(tmp_path: Path) -> None:
    history, best = History(tmp_path), BestCheckpoint(tmp_path, "val/rmse")
    callbacks = [history, best, Patience("val/rmse", 2)]
    fitted(relevance(), epochs=30, lr=0.05, weight_decay=0.0, callbacks=callbacks)
    values = [row["val/rmse"] for row in history.rows]
    assert len(values) < 30  # it overfits
    lowest = min(range(len(values)), key=values.__getitem__)
    assert 0 < lowest == len(values) - 3
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] == lowest
    assert float(best.best_model_score) == pytest.approx(values[lowest])


@pytest.mark.parametrize("ranks", [{}, TWO], ids=["one process", "two"])
def test_predict_writes_each_test_pair_once(tmp_path: Path, ranks: dict[str, Any]) -> None:
    saving = ModelCheckpoint(tmp_path, "one", save_on_train_epoch_end=True)
    held = relevance(eval_batch_size=50)
    module, trainer = fitted(held, callbacks=[saving])
    trainer.test(module, datamodule=held, verbose=False)
    cases = module.tested(held)[0]
    opened = Recommender.load_from_checkpoint(tmp_path / "one.ckpt")
    trainer = quiet(callbacks=[Predictions(tmp_path)], **ranks)
    trainer.predict(opened, datamodule=relevance(eval_batch_size=50), return_predictions=False)
    found = pq.read_table(tmp_path / "relevance.parquet")
    assert found.column_names == ["row", "item", "related", "prediction", "score"]
    assert found["row"].to_pylist() == held.rows[TEST].tolist()
    columns = (cases["user"].to_pylist(), cases["item"].to_pylist(), cases["prediction"].tolist())
    expected = dict(zip(cases["row"].tolist(), zip(*columns)))
    for row in found.to_pylist():
        item, related, prediction = expected[row["row"]]
        assert (row["item"], row["related"]) == (item, related)
        assert row["prediction"] == pytest.approx(prediction, abs=1e-4)


def test_two_processes_train_and_test_as_one(tmp_path: Path) -> None:
    one, one_trainer = fitted(relevance(batch_size=128), QUANTIZERS)
    (expected,) = one_trainer.test(one, datamodule=relevance(), verbose=False)
    two, _ = fitted(relevance(batch_size=64), QUANTIZERS, **TWO)
    (found,) = quiet(**TWO).test(two, datamodule=relevance(), verbose=False)
    assert found == pytest.approx(expected, rel=1e-3)


def test_data_of_another_family_is_refused() -> None:
    module, _ = fitted(relevance(), epochs=1)
    with pytest.raises(UserError, match="RelevanceRegression is trained on RelevanceData, not CollaborativeData"):
        module.check(CollaborativeData())
    assert isinstance(module, RelevanceRegression)

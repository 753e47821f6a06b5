"""Click-through rate on two gloo ranks: they train and measure as one process does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from clicks import QUANTIZERS, TWO, clicks, fitted, samples, trainer_of
from small import cascaded, weights

from lightning_vq.data.splits import TRAIN
from lightning_vq.modules import Recommender


def test_two_ranks_measure_what_one_does(path: Path, learned: Any) -> None:
    assert len(samples(path).labels) % 2  # shares differ
    found = []
    for ranks in ({}, TWO):
        module = Recommender.load_from_checkpoint(learned[2])
        trainer = trainer_of(**ranks)
        found += trainer.test(module, datamodule=clicks(path, eval_batch_size=64), verbose=False)
    one, two = found
    assert set(one) == set(two)
    assert two == pytest.approx(one, abs=1e-9)


def test_two_ranks_train_as_one_process_at_the_same_global_batch(path: Path) -> None:
    # Without a quantizer on items: its losses are means over what a rank looks up, and lists are of any length.
    exact: dict[str, Any] = {"precision": "64-true", "limit_train_batches": 18, "epochs": 4}
    one, alone = fitted(clicks(path), {"user": cascaded}, **exact)
    two, trainer = fitted(clicks(path, batch_size=64), {"user": cascaded}, **exact, **TWO)
    assert (trainer.world_size, alone.world_size) == (2, 1)
    for name, value in weights(one).items():
        theirs = weights(two)[name]  # float32: it came back from the rank
        torch.testing.assert_close(theirs, value.to(theirs.dtype), atol=1e-6, rtol=1e-5)
    ours, theirs = (
        {name: float(value) for name, value in of.callback_metrics.items() if name.startswith("loss/")}
        for of in (alone, trainer)
    )
    assert set(ours) == {"loss/task", "loss/quantization", "loss/commitment"}
    assert theirs == pytest.approx(ours, abs=1e-9)
    assert 0 < float(trainer.callback_metrics["val/auc"]) <= 1


def test_ranks_whose_batches_differ_in_what_they_know(path: Path) -> None:
    held = clicks(path, batch_size=100)
    module, trainer = fitted(held, QUANTIZERS, epochs=2, **TWO)  # a parameter that a rank leaves out would stop it
    assert held.encoded is not None
    assert len(held.encoded.samples[TRAIN].labels) % 200  # nor does an uneven last mini-batch
    assert float(trainer.callback_metrics["val/auc"]) > 0.5
    assert module.outside["item"].any()

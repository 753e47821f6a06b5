"""Two gloo ranks: the model comes back with its quantizers, and trains like one process on the same batches."""

import pytest
import torch
from small import cascaded, data, trained, weights

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN

TWO = {"strategy": "ddp_fork", "devices": 2}
QUANTIZERS = {"user": cascaded, "item": cascaded}


@pytest.mark.parametrize("kind", [BPRMF, LightGCN])
def test_two_ranks_equal_one_process_on_the_same_global_batch(kind: type) -> None:
    # Two ranks at batch 32 see what one sees at 64, but for an uneven last mini-batch, which is left out here.
    exact = {"precision": "64-true", "limit_train_batches": 7, "limit_val_batches": 0}
    one, alone = trained(kind(), QUANTIZERS, epochs=15, **exact)
    two, trainer = trained(kind(), QUANTIZERS, epochs=15, held=data(batch_size=32), **exact, **TWO)
    assert trainer.world_size == 2
    assert alone.global_step == 15 * 7 * 2 > 200
    for name, value in weights(one).items():
        torch.testing.assert_close(
            weights(two)[name], value.to(weights(two)[name].dtype), atol=1e-7, rtol=1e-5
        )  # the caller's copy is float32


def test_quantizers_survive_forked_ranks_and_an_uneven_last_batch() -> None:
    before, _ = trained(BPRMF(), QUANTIZERS, epochs=0)
    held = data(batch_size=50)
    two, trainer = trained(BPRMF(), QUANTIZERS, epochs=1, held=held, **TWO)
    assert len(held.parts[0][0]) % 100
    for name in ("user", "item"):
        moved = two.quantizers[name].books()[0] - before.quantizers[name].books()[0]
        assert moved.abs().max() > 0
    results = trainer.callback_metrics
    assert 0 <= float(results["val/hr@10/full"]) <= 1

"""Warm-up, k-means start and restarts in a real fit."""

import hashlib
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small import data, trained, weights

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.callbacks.checkpoints import BestCheckpoint
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.errors import UserError
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.quantizers import DPQ, DQVAE, MGQE, Cascaded, LowRank, Residual, Scalar

KMEANS = partial(Cascaded, codebook_sizes=[12, 4], init="kmeans")
MENU = {
    "residual": partial(Residual, codebook_sizes=[8, 8]),
    "residual-ema": partial(Residual, codebook_sizes=[8, 8], learning="ema"),
    "cascaded-ema": partial(Cascaded, codebook_sizes=[12, 4], learning="ema", init="kmeans"),
    "dpq": partial(DPQ, subspaces=8, centroids=16),
    "mgqe": partial(MGQE, centroids=[16, 4], subspaces=[8, 8]),
    "dqvae": partial(DQVAE, groups=4, codes=16),
    "lowrank": partial(LowRank, rank=8),
    "scalar": partial(Scalar, bits_each=8),
}


def test_until_the_warm_up_is_over_the_run_is_the_base_models_bit_for_bit() -> None:
    base, _ = trained(BPRMF(), {}, epochs=1)
    warm, _ = trained(BPRMF(), {"item": KMEANS}, epochs=1)
    assert warm.warming_up
    for name, value in weights(base).items():
        assert torch.equal(value, weights(warm)[name]), name
    started, _ = trained(BPRMF(), {"item": KMEANS}, epochs=2)
    assert not started.warming_up
    assert started.quantizers["item"].books()[0].abs().sum() > 0


@pytest.mark.parametrize("name", list(MENU))
def test_every_quantizer_trains_and_its_checkpoint_opens_alone(name: str, tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    module, _ = trained(BPRMF(dim=16), {"user": MENU[name], "item": MENU[name]}, epochs=3, callbacks=[saving])
    opened = CollaborativeFiltering.load_from_checkpoint(tmp_path / "last.ckpt")
    ids = torch.arange(9)
    for table in ("user", "item"):
        assert opened.quantizers[table].active
        assert torch.equal(opened.lookup()(table, ids), module.lookup()(table, ids))
    if name == "lowrank":
        assert opened.tables["item"].numel() == 0


@pytest.mark.parametrize("kind", ["kmeans", "ema"])
def test_resume_is_bit_equal_through_a_start_and_restarts(kind: str, tmp_path: Path) -> None:
    make = partial(KMEANS, learning="ema") if kind == "ema" else KMEANS

    def run(epochs: int, path: str | None = None, callbacks: tuple[Callback, ...] = ()) -> CollaborativeFiltering:
        quantization = {"item": make, "user": make}
        return trained(
            BPRMF(), quantization, epochs=epochs, callbacks=callbacks, ckpt_path=path, restart_dead_codes=True
        )[0]

    whole = run(4)
    for stop in (1, 2, 3):
        saving = ModelCheckpoint(tmp_path / str(stop), save_last=True, save_on_train_epoch_end=True)
        run(stop, callbacks=(saving,))
        resumed = run(4, str(tmp_path / str(stop) / "last.ckpt"))
        for name, value in weights(whole).items():
            assert torch.equal(value, weights(resumed)[name]), (stop, name)


def test_the_best_epoch_is_never_one_of_the_warm_up(tmp_path: Path) -> None:
    callback = BestCheckpoint(tmp_path, "val/ndcg@10/full")
    # A single code in place of every vector: every epoch after the warm-up is worse than it.
    trained(
        BPRMF(dim=16), {"item": partial(DPQ, subspaces=1, centroids=1, init="data")}, epochs=3, callbacks=[callback]
    )
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] >= 1


def test_adams_moments_of_a_restarted_code_start_anew() -> None:
    class Break(Callback):
        """Sends half of the codes away, and looks at what the next epoch's start makes of them."""

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            book = pl_module.quantizers["item"].codebooks[0].weight
            with torch.no_grad():
                book[:, :6] = 1e3
            trainer.optimizers[0].state[book]["exp_avg"].fill_(7.0)

        def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, i: int) -> None:
            if trainer.current_epoch == 1 and i == 0:
                self.book = pl_module.quantizers["item"].codebooks[0].weight.detach().clone()
                weight = pl_module.quantizers["item"].codebooks[0].weight
                self.moments = trainer.optimizers[0].state[weight]["exp_avg"].clone()
                self.squares = trainer.optimizers[0].state[weight]["exp_avg_sq"].clone()

    watch = Break()
    make = partial(Cascaded, codebook_sizes=[12, 4])
    trained(BPRMF(), {"item": make}, epochs=2, callbacks=[watch], restart_dead_codes=True)
    assert (watch.book[0, :6].abs() < 100).all()
    assert (watch.moments[0, :6] == 0).all()
    assert (watch.moments[0, 6:] == 7).any()
    assert (watch.squares[0, :6] > 0).all()  # zero would make the next step a leap


def test_adam_has_not_counted_the_warm_up() -> None:
    module, trainer = trained(BPRMF(), {"item": KMEANS}, epochs=3)
    _, before = trained(BPRMF(), {"item": KMEANS}, epochs=1)
    [book] = [p for p in module.quantizers["item"].parameters() if p.shape[1] == 12]
    steps = trainer.optimizers[0].state[book]["step"]
    assert steps == trainer.global_step - before.global_step


def test_scalar_is_off_for_training_and_on_the_grid_of_the_epochs_end(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    make = {"user": MENU["scalar"], "item": MENU["scalar"]}
    base, _ = trained(BPRMF(), {}, epochs=2)
    trained(BPRMF(), make, epochs=2, callbacks=[saving])
    opened = CollaborativeFiltering.load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(opened.tables["item"], base.tables["item"])
    grid = opened.quantizers["item"]
    seen = opened.lookup()("item", torch.arange(50))
    gap = (seen - base.tables["item"][:50]).abs()
    assert (gap <= grid.step / 2 * (1 + 1e-4) + 1e-7).all()
    assert gap.max() > 0


def test_a_start_that_cannot_come_is_refused_before_data_loads() -> None:
    with pytest.raises(UserError, match="warmup_epochs must be at least 1"):
        QuantizationCallback({"item": KMEANS}, warmup_epochs=0).check(64)
    with pytest.raises(UserError, match="max_epochs=2"):
        QuantizationCallback({"item": KMEANS}, warmup_epochs=2).check(64, epochs=2)
    with pytest.raises(UserError, match=r"quantizers\.item: 7 subspaces do not divide"):
        QuantizationCallback({"item": partial(DPQ, subspaces=7)}).check(64)
    with pytest.raises(UserError, match=r"quantization\.beta is -1"):
        QuantizationCallback(beta=-1.0)
    QuantizationCallback({"item": KMEANS}, warmup_epochs=2).check(64, epochs=3)
    QuantizationCallback({"item": partial(Cascaded, codebook_sizes=[9])}, warmup_epochs=0).check(64, epochs=1)


EMA = {
    "cascaded": partial(Cascaded, codebook_sizes=[12, 4], learning="ema"),
    "residual": partial(Residual, codebook_sizes=[12, 4], learning="ema"),
    "dpq": partial(DPQ, subspaces=8, centroids=16, learning="ema"),
    "mgqe": partial(MGQE, centroids=[16, 4], subspaces=[8, 4], shared=False, learning="ema"),
    "mgqe-gradient": partial(MGQE, centroids=[16, 4], subspaces=[8, 8]),
}


@pytest.mark.parametrize("name", list(EMA))
def test_moving_averages_on_two_ranks_are_those_of_the_global_batch(name: str) -> None:
    make = EMA[name]
    exact = {"precision": "64-true", "limit_train_batches": 7, "limit_val_batches": 0}
    one, alone = trained(BPRMF(), {"item": make}, epochs=15, **exact)
    two, _ = trained(
        BPRMF(), {"item": make}, epochs=15, held=data(batch_size=32), strategy="ddp_fork", devices=2, **exact
    )
    assert alone.global_step > 200
    for key, value in weights(one).items():
        here = weights(two)[key]
        torch.testing.assert_close(here, value.to(here.dtype), atol=1e-6, rtol=1e-5)


class Hashes(Callback):
    """Writes a digest of the quantizers, a file a rank."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        digest = hashlib.sha256()
        for value in pl_module.quantizers.state_dict().values():
            digest.update(value.numpy().tobytes())
        (self.folder / str(trainer.global_rank)).write_text(f"{trainer.global_step} {digest.hexdigest()}")


@pytest.mark.parametrize("name", ["gradient", "cascaded-ema", "mgqe", "dqvae", "lowrank", "scalar"])
def test_ranks_hold_the_same_codes_after_200_steps_and_uneven_batches(name: str, tmp_path: Path) -> None:
    make = MENU.get(name, KMEANS)
    held = data(batch_size=7)
    trained(
        BPRMF(dim=16), {"user": make, "item": make}, epochs=4, held=held, callbacks=[Hashes(tmp_path)],
        restart_dead_codes=True, strategy="ddp_fork", devices=2,
    )  # fmt: skip
    assert len(held.parts[0][0]) % 14
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert int(first.split()[0]) >= 200
    assert first == second

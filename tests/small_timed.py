"""Interactions in time and the three stages of DQRec, small, for tests that train."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from small import PLANTED

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.timed.dual_tower import DualTower
from lightning_vq.backbones.timed.feature_tower import FeatureTower
from lightning_vq.backbones.vectors import Vectors
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import TimedData, VectorData
from lightning_vq.modules import Recommender, TimedFiltering, VectorQuantization
from lightning_vq.quantizers import DQVAE, Quantizer
from lightning_vq.trainer import Trainer


def timed(**options: Any) -> TimedData:
    return TimedData(**{"planted": PLANTED, "batch_size": 128, "recent": 6, "eval_batch": 32, **options})


def trainer_of(
    quantizers: dict[str, Callable[[int, int], Quantizer]] | None = None, epochs: int = 2, **options: Any
) -> Trainer:
    return Trainer(
        max_epochs=epochs, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[QuantizationCallback(quantizers)], **options,
    )  # fmt: skip


def fitted(
    module: Recommender,
    data: Any,
    folder: Path,
    quantizers: dict[str, Callable[[int, int], Quantizer]] | None = None,
    epochs: int = 2,
) -> Trainer:
    """Train from seed 0, test, and leave what a run leaves that a later stage reads."""
    seed_everything(0, verbose=False)
    trainer = trainer_of(quantizers, epochs)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(folder / "best.ckpt")
    with torch.no_grad():
        module.leave(folder, data)
    return trainer


def first_stage(folder: Path) -> tuple[TimedFiltering, TimedData]:
    module, data = TimedFiltering(FeatureTower(8, layers=(12,)), lr=1e-2, ks=(5,)), timed()
    fitted(module, data, folder)
    (folder / "config.yaml").write_text(f"data: {{init_args: {{recent: {data.recent}}}}}\n")
    return module, data


def second_stage(folder: Path, first: Path) -> tuple[VectorQuantization, VectorData]:
    module, data = VectorQuantization(Vectors(8), lr=1e-2, links=6, latent_links=2), VectorData(str(first))
    dqvae = partial(DQVAE, groups=2, codes=8)
    fitted(module, data, folder, {"user": dqvae, "item": dqvae})
    (folder / "config.yaml").write_text(f"data: {{init_args: {{vectors: {first}}}}}\n")
    return module, data


def third_stage(folder: Path, second: Path, backbone: Backbone | None = None, **options: Any) -> TimedFiltering:
    backbone = backbone or DualTower(8, layers=(12,), semantic_ids=("user", "item"), links=("user", "item"))
    options = {"links": 6, "latent_links": 2, "lr": 1e-2, "ks": (5,), **options}
    module = TimedFiltering(backbone, patterns=str(second), **options)
    fitted(module, timed(), folder)
    return module

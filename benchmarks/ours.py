"""Our side of a contest of speed: a built model with its data, an epoch of Trainer.fit, a pass of full ranking."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from timing import intervals

from lightning_vq.backbones.base import Backbone
from lightning_vq.data import CollaborativeData
from lightning_vq.metrics import user_metrics
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.modules.collaborative import Loss
from lightning_vq.trainer import Trainer

SOURCE, DIM = "ml-100k", 64


class EpochClock(Callback):
    """Notes when epochs start: from one start to the next is all that an epoch costs."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self.starts.append(time.perf_counter())


def quiet_trainer(*callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", callbacks=list(callbacks), logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def made(
    backbone: Backbone, source: str, batch: int, loss: Loss = "bpr"
) -> tuple[CollaborativeFiltering, CollaborativeData]:
    """Return a built module and its data, validated by full ranking alone."""
    torch.manual_seed(0)
    data = CollaborativeData(source=source, batch_size=batch, val_protocols=("full",), seed=0)
    data.prepare_data()
    data.setup("fit")
    module = CollaborativeFiltering(backbone, loss=loss, ks=(10,))
    module.build(data.facts())
    return module, data


def our_epoch(module: CollaborativeFiltering, data: CollaborativeData, epochs: int) -> float:
    """Return the median seconds of a training epoch of Trainer.fit, draw of negatives and logging included."""
    clock = EpochClock()
    quiet_trainer(clock, max_epochs=epochs + 2, limit_val_batches=0).fit(module, datamodule=data)
    return intervals(clock.starts)


@torch.inference_mode()
def our_evaluation(module: CollaborativeFiltering, data: CollaborativeData) -> list[float]:
    """Return HR@10 and NDCG@10 of full ranking: loader, mask, lookup, scores, ranks, metrics; no Trainer."""
    module.eval()  # as a Trainer would: a training step's dropout is no part of it
    module.on_validation_epoch_start()
    for i, batch in enumerate(data.val_dataloader()):
        module.validation_step(batch, i)
    _, users, ranks = module.ranks["full"].compute()
    values = user_metrics(("hr", "ndcg"), (10,), users, ranks, one_list=True)
    return [values[name].mean().item() for name in ("hr@10", "ndcg@10")]

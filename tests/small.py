"""A small planted world and short runs, for tests that train."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_vq.backbones.base import Backbone
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import CollaborativeData
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.modules.collaborative import Loss
from lightning_vq.quantizers import Cascaded, Quantizer
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.trainer import Trainer

PLANTED = PlantedOptions(users=120, items=80, branching=(4, 3), mean_length=12)


def cascaded(rows: int, dim: int) -> Quantizer:
    return Cascaded(rows, dim, codebook_sizes=[12, 4])


def data(**options: Any) -> CollaborativeData:
    return CollaborativeData(**{"planted": PLANTED, "batch_size": 64, "block": 2, **options})


def trained(
    backbone: Backbone,
    quantizers: dict[str, Callable[[int, int], Quantizer]],
    epochs: int = 2,
    callbacks: Sequence[Callback] = (),
    held: CollaborativeData | None = None,
    ckpt_path: str | None = None,
    omega_q: float = 1.0,
    restart_dead_codes: bool = False,
    loss: Loss = "bpr",
    clip: float | None = None,
    **options: Any,
) -> tuple[CollaborativeFiltering, Trainer]:
    """Return a module trained from seed 0 and its trainer."""
    seed_everything(0, verbose=False)
    module = CollaborativeFiltering(backbone, lr=1e-2, weight_decay=1e-4, clip=clip, loss=loss)
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_progress_bar=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_model_summary=False, num_sanity_val_steps=0, accelerator="cpu",
        callbacks=[QuantizationCallback(quantizers, omega_q, restart_dead_codes=restart_dead_codes), *callbacks],
        **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=held or data(), ckpt_path=ckpt_path)
    return module, trainer


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}

"""A small planted set of relevance scores, and short runs on it, for tests that train."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from small import cascaded
from small_lists import quiet

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.gmf import GMF
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import RelevanceData
from lightning_vq.modules import RelevanceRegression
from lightning_vq.quantizers import Quantizer
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.types import Pairs, ScoredPairs

PLANTED = PlantedOptions(items=90, branching=(4, 3), mean_length=12)
QUANTIZERS = {"user": cascaded, "item": cascaded}


def relevance(**options: Any) -> RelevanceData:
    return RelevanceData(**{"planted": PLANTED, "batch_size": 64, "block": 2, **options})


def relevance_file(folder: Path, lines: Sequence[str], header: str = "item,related,score", **options: Any) -> Path:
    path = folder / options.get("name", "mine.csv")
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def small_gmf() -> GMF:
    return GMF(dim=8)


def fitted(
    held: RelevanceData,
    quantizers: dict[str, Callable[[int, int], Quantizer]] | None = None,
    backbone: Callable[[], Backbone] = small_gmf,
    epochs: int = 2,
    callbacks: Sequence[Callback] = (),
    ckpt_path: str | None = None,
    omega_q: float = 1.0,
    lr: float = 1e-2,
    weight_decay: float = 1e-4,
    **options: Any,
) -> tuple[RelevanceRegression, Trainer]:
    """Return a module trained from seed 0 and its trainer."""
    seed_everything(0, verbose=False)
    module = RelevanceRegression(backbone(), lr=lr, weight_decay=weight_decay)
    trainer = quiet(
        max_epochs=epochs,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        callbacks=[QuantizationCallback(quantizers or {}, omega_q), *callbacks],
        **options,
    )
    trainer.fit(module, datamodule=held, ckpt_path=ckpt_path)
    return module, trainer


@torch.no_grad()
def raw_scores(module: RelevanceRegression, pairs: ScoredPairs) -> torch.Tensor:
    """Return what the backbone makes of pairs (B,), in deviations of the training scores."""
    output = module.eval().backbone(module.lookup(), Pairs(pairs.users, pairs.items[:, None]))
    if output.scores is not None:
        return output.scores[:, 0]
    assert output.hidden is not None
    assert output.keys is not None
    product = (output.hidden * output.keys[:, 0]).sum(1)
    return product if output.bias is None else product + output.bias[:, 0]

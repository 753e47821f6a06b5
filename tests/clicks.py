"""A small table of clicks that can be learned, and short runs on it, for tests that train."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from small import cascaded

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import ClickThroughData
from lightning_vq.data.splits import TEST
from lightning_vq.modules import ClickThroughRate, Recommender
from lightning_vq.quantizers import Quantizer
from lightning_vq.sources.schema import Schema
from lightning_vq.trainer import Trainer
from lightning_vq.types import Samples

USERS, ITEMS, KINDS = 40, 30, 3
QUANTIZERS = {"user": cascaded, "item": cascaded}
TWO = {"strategy": "ddp_fork", "devices": 2}
SCHEMA = Schema(
    ["user", "item"], {"price": "standardised"}, {"history": "item"}, label="click", split="part", group="user",
    max_length=3,
)  # fmt: skip


def click_table(rows: int = 3006) -> pa.Table:
    """Return clicks that follow whether user and item are of one kind, which no sum over fields can tell.

    Held-out rows have some users and items that training has not, and missing ones; training misses some items.
    """
    draw = np.random.default_rng(0)
    users, items = draw.integers(0, USERS, rows), draw.integers(0, ITEMS, rows)
    prices = draw.normal(10, 2, rows)
    odds = np.where(users % KINDS == items % KINDS, 2.5, -2.0) + 0.7 * (prices - 10)
    held = np.arange(rows) >= 0.8 * rows
    new = held & (draw.random(rows) < 0.1)
    lists = [" ".join(f"i{i}" for i in draw.integers(0, ITEMS, n)) for n in draw.integers(0, 5, rows)]
    return pa.table(
        {
            "user": [f"new{u}" if n else f"u{u}" for u, n in zip(users, new)],
            "item": [None if gap else f"i{i}" for i, gap in zip(items, draw.random(rows) < 0.02)],
            "price": prices,
            "history": lists,
            "click": (draw.random(rows) < 1 / (1 + np.exp(-odds))).astype(int),
            "part": np.where(held, np.where(np.arange(rows) % 2, "test", "dev"), "train"),
        }
    )


def click_file(folder: Path, rows: int = 3006) -> Path:
    path = folder / "clicks.parquet"
    pq.write_table(click_table(rows), path)
    return path


def clicks(path: Path, **options: Any) -> ClickThroughData:
    return ClickThroughData(**{"source": str(path), "schema": SCHEMA, "batch_size": 128, **options})


def small_dcn() -> DCN:
    return DCN(dim=8, cross_layers=2, hidden=(24,), dropout=0.0)


def trainer_of(callbacks: Sequence[Callback] = (), **options: Any) -> Trainer:
    return Trainer(
        logger=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, accelerator="cpu",
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks), callbacks=list(callbacks),
        **options,
    )  # fmt: skip


def fitted(
    held: ClickThroughData,
    quantizers: dict[str, Callable[[int, int], Quantizer]] | None = None,
    backbone: Callable[[], Backbone] = small_dcn,
    epochs: int = 2,
    callbacks: Sequence[Callback] = (),
    ckpt_path: str | None = None,
    omega_q: float = 1.0,
    **options: Any,
) -> tuple[ClickThroughRate, Trainer]:
    """Return a module trained from seed 0 and its trainer."""
    seed_everything(0, verbose=False)
    module = ClickThroughRate(backbone(), lr=1e-2, weight_decay=1e-5)
    quantization = QuantizationCallback(quantizers or {}, omega_q)
    trainer = trainer_of([quantization, *callbacks], max_epochs=epochs, **options)
    trainer.fit(module, datamodule=held, ckpt_path=ckpt_path)
    return module, trainer


def samples(path: Path, part: int = TEST) -> Samples:
    """Return one part of the table."""
    held = clicks(path)
    held.setup()
    assert held.encoded is not None
    return held.encoded.samples[part]


@torch.no_grad()
def logits(module: Recommender, batch: Samples) -> torch.Tensor:
    """Return the logit of each sample (B,)."""
    scores = module.eval().backbone(module.lookup(), batch).scores
    assert scores is not None
    return scores


def built(path: Path, quantizers: dict[str, Any] | None = None, **options: Any) -> ClickThroughRate:
    """Return a module that knows its data and has trained on none of it."""
    held = clicks(path)
    held.setup()
    torch.manual_seed(0)
    module = ClickThroughRate(small_dcn(), **options)
    module.build(held.facts())
    QuantizationCallback(quantizers or {}).attach(module)
    return module

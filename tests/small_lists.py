"""Small planted lists and short runs, for tests that train."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import ListData
from lightning_vq.modules import ListCompletion
from lightning_vq.quantizers import Quantizer
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.trainer import Trainer

PLANTED = PlantedOptions(users=90, items=60, branching=(4, 3), mean_length=12)


def lists(**options: Any) -> ListData:
    return ListData(**{"planted": PLANTED, "batch_size": 32, **options})


def quiet(**options: Any) -> Trainer:
    return Trainer(
        **{
            "logger": False, "enable_progress_bar": False, "accelerator": "cpu", "num_sanity_val_steps": 0,
            "enable_checkpointing": False, "enable_model_summary": False, **options,
        }
    )  # fmt: skip


def trained(
    backbone: ListBackbone,
    quantizers: dict[str, Callable[[int, int], Quantizer]],
    held: ListData | None = None,
    epochs: int = 1,
    callbacks: Sequence[Callback] = (),
    ckpt_path: str | None = None,
    omega_q: float = 1.0,
    omega_c: float = 0.0,
    ranks: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[ListCompletion, Trainer]:
    """Return a module trained from seed 0 and its trainer."""
    seed_everything(0, verbose=False)
    module = ListCompletion(backbone, lr=1e-2, weight_decay=1e-4, **options)
    trainer = quiet(
        max_epochs=epochs,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        callbacks=[QuantizationCallback(quantizers, omega_q, omega_c=omega_c), *callbacks],
        **(ranks or {}),
    )
    trainer.fit(module, datamodule=held or lists(), ckpt_path=ckpt_path)
    return module, trainer


def listed(folder: Path, lists: Sequence[Sequence[str]], **options: Any) -> ListData:
    """Return the data of lists, named 1, 2, ...; a list's items may be the letters of a word."""
    rows = [f"{name},{place},{item}" for name, one in enumerate(lists, 1) for place, item in enumerate(one)]
    (folder / "mine.csv").write_text("\n".join(["list,position,item", *rows]) + "\n")
    data = ListData(str(folder / "mine.csv"), **options)
    data.prepare_data()
    data.setup()
    return data

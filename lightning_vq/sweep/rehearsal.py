"""What a sweep wants to know before its first trial: is every part of its space a config that can be trained?"""

import json
import os
from typing import Any

import torch
from lightning.pytorch.accelerators import CUDAAccelerator

from lightning_vq.cli import CLI
from lightning_vq.errors import UserError
from lightning_vq.messages import quieten
from lightning_vq.sweep.processes import Found
from lightning_vq.trainer import Trainer, prepare


class Rehearsal(CLI):
    """Parses, checks and builds what a fit would, and trains nothing.

    Args:
        args: options of `fit`.
        sources: datamodules of earlier rehearsals by their config; read data is not read again.
        build: the model on the data; else no more is read of it than tells its metrics.
    """

    def __init__(self, args: list[str], sources: dict[str, Any], build: bool = True) -> None:
        self.sources, self.build = sources, build
        super().__init__(["fit", *args], "rehearsal", None, 0.0)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        key = json.dumps(self._get(self.config, "data").as_dict(), default=str, sort_keys=True)
        self.datamodule = self.sources.setdefault(key, self.datamodule)
        quantization, _, _ = self.checked()
        if self.build:
            prepare(self.model, self.datamodule, [quantization])
        config = {**self._get(self.config_init, "trainer"), "logger": False, "enable_checkpointing": False}
        return self._instantiate_trainer(config, [])  # type: ignore[return-value]

    def fit(self, **options: Any) -> None:
        """Do nothing."""

    def found(self) -> Found:
        """Return what the config says."""
        visible: list[str] = []
        if isinstance(self.trainer.accelerator, CUDAAccelerator):
            named = os.environ.get("CUDA_VISIBLE_DEVICES")
            visible = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
        trainer = self._get(self.config, "trainer")
        return Found(visible, trainer["max_epochs"], trainer["strategy"] == "ddp_fork")


def rehearse(base: list[str], variants: list[tuple[str, list[str]]]) -> Found:
    """Check the base options of a sweep's trials, and each variant of them.

    Args:
        base: options of `fit`.
        variants: (what it is, further options).

    Raises:
        UserError: one of them cannot be trained; the message says which and why.
    """
    quieten()
    sources: dict[str, Any] = {}
    found = Rehearsal(base, sources).found()
    for name, options in variants:
        try:
            Rehearsal([*base, *options], sources)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
    return found


def tested_metrics(fit: list[str], sources: dict[str, Any]) -> list[str]:
    """Return the names of the metrics that a fit would be tested by.

    Args:
        fit: options of `fit`.
        sources: as of `Rehearsal`.

    Raises:
        UserError: it cannot be trained, whatever the data.
    """
    quieten()
    rehearsal = Rehearsal(fit, sources, build=False)
    return rehearsal.model.tests(rehearsal.datamodule)

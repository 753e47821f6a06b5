"""A click-through rate model trained for long enough, for tests of what it learned and of what is kept of it."""

from pathlib import Path

import pytest
from clicks import QUANTIZERS, click_file, clicks, fitted
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_vq.modules import ClickThroughRate


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return click_file(tmp_path_factory.mktemp("clicks"))


@pytest.fixture(scope="session")
def learned(path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClickThroughRate, Trainer, Path]:
    """Return a quantized module that was trained for long enough, its trainer and its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    saving = ModelCheckpoint(folder, "one", save_on_train_epoch_end=True)
    module, trainer = fitted(clicks(path), QUANTIZERS, epochs=12, callbacks=[saving])
    return module, trainer, folder / "one.ckpt"

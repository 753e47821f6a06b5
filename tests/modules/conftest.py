"""Models that several files test: a click-through rate model trained for long enough, the three stages of DQRec."""

from pathlib import Path

import pytest
from clicks import QUANTIZERS, click_file, clicks, fitted
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small_timed import first_stage, second_stage, third_stage

from lightning_vq.modules import ClickThroughRate, TimedFiltering, VectorQuantization


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


@pytest.fixture(scope="session")
def stages(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, TimedFiltering, VectorQuantization, TimedFiltering]:
    folder = tmp_path_factory.mktemp("stages")
    first, _ = first_stage(folder / "1")
    second, _ = second_stage(folder / "2", folder / "1")
    return folder, first, second, third_stage(folder / "3", folder / "2")

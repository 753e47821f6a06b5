"""DQRec's stages in several processes: in two real ones each trains to its end, and two measure what one does."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from small_timed import first_stage, second_stage, timed, trainer_of

from lightning_vq.backbones.timed.dual_tower import DualTower
from lightning_vq.backbones.timed.feature_tower import FeatureTower
from lightning_vq.backbones.vectors import Vectors
from lightning_vq.data import VectorData
from lightning_vq.data.splits import TEST
from lightning_vq.data.timed_evaluation import CaseLoader
from lightning_vq.modules import Recommender, TimedFiltering, VectorQuantization
from lightning_vq.quantizers import DQVAE
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.types import TimedCases

TWO = {"strategy": "ddp_fork", "devices": 2}


def in_two(module: Recommender, data: Any, quantizers: Any = None) -> dict[str, float]:
    """Train by two processes from seed 0, and return what two tell in a test and what one does."""
    seed_everything(0, verbose=False)
    trainer = trainer_of(quantizers, **TWO)
    trainer.fit(module, datamodule=data)
    assert trainer.world_size == 2
    assert all(torch.isfinite(value).all() for value in module.state_dict().values() if value.is_floating_point())
    [two] = trainer_of(quantizers, **TWO).test(module, datamodule=data, verbose=False)
    [one] = trainer_of(quantizers).test(module, datamodule=data, verbose=False)
    assert two == pytest.approx(one, rel=1e-5)
    assert one
    return dict(one)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_ranks_share_every_batch(world: int) -> None:
    """Where items have met many between two cases, too."""
    data = timed(split="leave_one_out", planted=PlantedOptions(users=200, items=100, mean_length=60))
    data.setup()
    one = data.test_dataloader().of
    found = []
    for rank in range(world):
        batches = [batch for batch in CaseLoader(one, rank, world) if isinstance(batch, TimedCases)]
        found.append([case for batch in batches for case in batch.cases.tolist()])
    assert all(found)
    assert sorted(case for mine in found for case in mine) == list(range(len(data.parts[TEST][0])))


def test_towers_of_features() -> None:
    told = in_two(TimedFiltering(FeatureTower(8, layers=(12,)), lr=1e-2, ks=(5,)), timed())
    assert 0 < told["test/hr@5/batch32"] <= 1


def test_vectors_and_two_towers(tmp_path: Path) -> None:
    first_stage(tmp_path / "1")
    dqvae = partial(DQVAE, groups=2, codes=8)
    module = VectorQuantization(Vectors(8), lr=1e-2, links=6, latent_links=2)
    in_two(module, VectorData(str(tmp_path / "1")), {"user": dqvae, "item": dqvae})
    second_stage(tmp_path / "2", tmp_path / "1")
    backbone = DualTower(8, layers=(12,), semantic_ids=("user", "item"), links=("user", "item"))
    told = in_two(
        TimedFiltering(backbone, patterns=str(tmp_path / "2"), links=6, latent_links=2, lr=1e-2, ks=(5,)), timed()
    )
    assert 0 < told["test/hr@5/batch32"] <= 1

"""The contract of every datamodule."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lightning_vq.sources.features import Features
from lightning_vq.sources.interactions import Array, Metadata
from lightning_vq.types import Facts
from lightning_vq.vocabulary import Vocabulary


class RecommenderData(LightningDataModule, ABC):
    """What happened, as tensors that are resident or mapped; `setup` reads it once, for all stages."""

    source: str
    refit: bool = False  # trains on dev as well
    in_time: ClassVar[bool] = False  # an evaluation's first batches are what its others are ranked by

    @abstractmethod
    def facts(self) -> Facts:
        """Return what a model must know before its tables exist."""

    @abstractmethod
    def vocabularies(self) -> dict[str, Vocabulary]:
        """Return the entities behind the rows of each table."""

    @abstractmethod
    def told(self, needs: frozenset[str]) -> str:
        """Return what the data is, once it is set up, in a line.

        Args:
            needs: of the backbone: what nobody asks for is not told.
        """

    def truth(self, vocab: str) -> dict[str, Array]:
        """Return known categories (N,) of a vocabulary's entities by level, finest first, where they were planted."""
        return {}

    def rank(self) -> tuple[int, int]:
        """Return which share of the data this process has, and of how many."""
        return share_of_data(self.trainer)

    def seed_and_epoch(self, seed: int | None) -> tuple[int, int]:
        """Return the seed of training, and the epoch to begin with.

        A run resumed between epochs gets no state of its loader back, only the number of the epoch.

        Args:
            seed: of the data's own; None takes that of seed_everything.
        """
        trainer: Any = self.trainer
        epoch = trainer.fit_loop.epoch_progress.current.processed if trainer is not None else 0
        return (torch.initial_seed() if seed is None else seed), epoch


def share_of_data(trainer: Any) -> tuple[int, int]:
    """Return which share of the data a trainer's process has, and of how many: (0, 1) where all train on the same."""
    shares = trainer.distributed_sampler_kwargs if trainer is not None else None
    return (shares["rank"], shares["num_replicas"]) if shares else (0, 1)


def category_rows(known: Metadata | None) -> tuple[list[str], Tensor]:
    """Return the names of all categories (C), sorted, and the places (N, W) int64 of each entity's, -1 after the last.

    >>> category_rows(Metadata([None, None, None], [["b", "a"], [], ["b"]]))[1].tolist()
    [[1, 0], [-1, -1], [1, -1]]
    """
    of = known.categories if known is not None else []
    names = sorted({name for categories in of for name in categories})
    lengths = np.array([len(categories) for categories in of], dtype=np.int64)
    rows = np.full((len(of), int(lengths.max(initial=0))), -1, dtype=np.int64)
    place = {name: i for i, name in enumerate(names)}
    values = [place[name] for categories in of for name in categories]
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = values
    return names, torch.from_numpy(rows)


def feature_rows(features: Features) -> tuple[list[str], Tensor]:
    """Return the values of all fields as "field=value" (V), and the places (N, F, W) int64 of each entity's values of
    each field, -1 after the last.

    >>> feature_rows({"sex": [["f"], ["m"]], "tags": [[], ["b", "a"]]})
    (['sex=f', 'sex=m', 'tags=a', 'tags=b'], tensor([[[ 0, -1],
             [-1, -1]],
    <BLANKLINE>
            [[ 1, -1],
             [ 3,  2]]]))
    """
    names: list[str] = []
    fields = []
    for field, of in features.items():
        known, rows = category_rows(Metadata([None] * len(of), of))
        fields.append(torch.where(rows < 0, -1, rows + len(names)))
        names += [f"{field}={value}" for value in known]
    width = max((rows.shape[1] for rows in fields), default=0)
    padded = [torch.nn.functional.pad(rows, (0, width - rows.shape[1]), value=-1) for rows in fields]
    return names, torch.stack(padded, 1) if padded else torch.empty(0, 0, 0, dtype=torch.int64)


def digest(ids: Sequence[object]) -> str:
    """Return what tells two numberings of entities apart."""
    return hashlib.sha256("\0".join(map(str, ids)).encode()).hexdigest()

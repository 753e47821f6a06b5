"""TimedData: interactions in time, each of a user and an item as they were right before it.

Shapes: E interactions, P held-out ones, N items, B batch, T others of a sequence.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_vq.data.base import digest, feature_rows
from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.evaluation import Protocol
from lightning_vq.data.loaders import BlockLoader
from lightning_vq.data.samplers import PairSampler
from lightning_vq.data.splits import DEV, TEST, TRAIN, Split
from lightning_vq.data.timed_evaluation import CaseLoader, HeldOut, NextItems
from lightning_vq.data.timeline import Timeline
from lightning_vq.errors import UserError
from lightning_vq.sources.features import features_of
from lightning_vq.sources.folders import is_path
from lightning_vq.sources.named import named_source
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.types import FEATURE, Block, Facts, TimedPairs


class TimedData(CollaborativeData):
    """Implicit feedback in time, for models of two towers.

    A user goes in as the last items that she had met before the interaction, an item as its last users. What is
    trained on is what training interactions show; a held-out interaction is predicted from all that happened before it
    in its part and the parts before, and never from what came later. Its candidates are as they were at that moment.

    Args:
        source: see CollaborativeData; there must be times.
        root: folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq.
        columns: for a file or folder, {role: column} with roles user, item, timestamp, rating, split.
        min_rating: for a file or folder, keep rows rated at least this.
        duplicates: for a file or folder, what to do with a (user, item) that stands twice.
        min_user: drop users with fewer interactions, until nothing changes.
        min_item: drop items with fewer.
        split: "ratio_by_time" cuts each user's history as it stands; see `splits.py` for the others.
        ratio: shares of train, dev and test.
        recent: others of a sequence (T), the last that were met.
        user_file: CSV, TSV or Parquet of users' features, with a column user; else users.csv.gz of a named source.
        item_file: the same of items, with a column item. Of titles and categories for trees nothing is taken from it.
        user_features: columns of that file; None: all but those that tell nearly every user apart.
        item_features: columns of that file; None: all but those that tell nearly every item apart.
        batch_size: positives of a mini-batch, on each rank (B), each with one negative.
        block: mini-batches that one training_step walks through.
        eval_protocols: "batch" and "alone"; see `alone.py`.
        val_protocols: the protocols of validation during training.
        eval_batch: held-out interactions of a batch.
        eval_seed: of those batches and of split=ratio.
        eval_memory_mib: size that the vectors of candidates may take.
        seed: of training order and negatives; None takes that of seed_everything.
        planted: what the planted world looks like.
    """

    in_time: ClassVar[bool] = True

    def __init__(
        self,
        source: str = "planted",
        root: str | None = None,
        columns: dict[str, str] | None = None,
        min_rating: float | None = None,
        duplicates: Literal["refuse", "first", "last"] = "refuse",
        min_user: int = 1,
        min_item: int = 1,
        split: Split = "ratio_by_time",
        ratio: tuple[float, float, float] = (0.8, 0.1, 0.1),
        recent: int = 5,
        user_file: str | None = None,
        item_file: str | None = None,
        user_features: list[str] | None = None,
        item_features: list[str] | None = None,
        batch_size: int = 1024,
        block: int = 8,
        eval_protocols: Sequence[Protocol] = ("batch", "alone"),
        val_protocols: Sequence[Protocol] = ("batch",),
        eval_batch: int = 1024,
        eval_seed: int = 0,
        eval_memory_mib: int = 64,
        seed: int | None = None,
        planted: PlantedOptions = PlantedOptions(),  # noqa: B008 (a constant record)
    ) -> None:
        super().__init__(
            source=source, root=root, columns=columns, min_rating=min_rating, duplicates=duplicates, min_user=min_user,
            min_item=min_item, split=split, ratio=ratio, batch_size=batch_size, block=block,
            eval_protocols=eval_protocols, val_protocols=val_protocols, eval_batch=eval_batch, eval_seed=eval_seed,
            eval_memory_mib=eval_memory_mib, seed=seed, planted=planted,
        )  # fmt: skip
        if recent < 1:
            raise UserError(f"data.init_args.recent is {recent}; it must be at least 1")
        for name, protocols in (("eval", eval_protocols), ("val", val_protocols)):
            for protocol in protocols:
                if protocol not in ("batch", "alone"):
                    raise UserError(
                        f"data.init_args.{name}_protocols has {protocol!r}; users and items that change in time are "
                        "ranked by 'batch' and 'alone' only"
                    )
        self.recent, self.user_file, self.item_file = recent, user_file, item_file
        self.user_features, self.item_features = user_features, item_features
        # By part, what interactions of it and of the parts before it show, of users and of items.
        self.timelines: dict[int, dict[str, Timeline]] = {}

    # -- reading -----------------------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        if self.raw is not None:
            return
        super().setup(stage)
        raw: Any = self.raw
        self.raw = None
        if raw.order is None or not raw.clock:
            raise UserError(
                f"{raw.where}: there are no times of all interactions together"
                + ("" if raw.order is None else ", only places within each user's history")
            )
        time = np.empty(len(raw.users), dtype=np.int64)
        time[np.argsort(raw.order, kind="stable")] = np.arange(len(raw.users))
        self.moments = {part: torch.from_numpy(time[rows]) for part, rows in self.rows.items()}
        for last in (TRAIN, DEV, TEST):
            parts = range(last + 1)
            users, items = (torch.cat([self.parts[part][i] for part in parts]) for i in (0, 1))
            moments = torch.cat([self.moments[part] for part in parts])
            self.timelines[last] = {
                "user": Timeline(users, items, moments, self.user_count, len(time)),
                "item": Timeline(items, users, moments, self.item_count, len(time)),
            }
        asked = {"user": (self.user_file, self.user_features), "item": (self.item_file, self.item_features)}
        self.features = {
            vocab: feature_rows(features_of(raw, vocab, *of, self._folder())) for vocab, of in asked.items()
        }
        self.raw = raw  # last: where this is set, all of the above stands

    def facts(self) -> Facts:
        facts = super().facts()
        known = {vocab: of for vocab, of in self.features.items() if of[0]}
        values = {f"{vocab}{FEATURE}": names for vocab, (names, _) in known.items()}
        return facts._replace(
            rows=facts.rows | {vocab: len(names) for vocab, names in values.items()},
            ids=facts.ids | {vocab: digest(names) for vocab, names in values.items()},
            provides=(*facts.provides, "timed"),
            features={vocab: of for vocab, (_, of) in known.items()},
        )

    def told(self, needs: frozenset[str]) -> str:
        told = []
        for vocab, (names, rows) in self.features.items():
            if names:
                without = int((rows < 0).all(2).all(1).sum())
                fields = ", ".join(dict.fromkeys(name.partition("=")[0] for name in names))
                told.append(f"{vocab}s' {fields}" + (f" ({without:,} of {len(rows):,} have none)" if without else ""))
        return super().told(needs) + (f"; features at hand: {'; '.join(told)}" if told else "")

    def _folder(self) -> Path | None:
        """Return where a named source lies."""
        return None if self.source == "planted" or is_path(self.source) else named_source(self.source).folder(self.root)

    # -- batches -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> BlockLoader:
        users, items = self.parts[TRAIN]
        sampler = _TimedSampler(PairSampler(users, items, self.train_known, 1), self.moments[TRAIN])
        seed, epoch = self.seed_and_epoch(self.seed)
        return _TimedLoader(self._filled, sampler, self.batch_size, self.block, seed, epoch, *self.rank())

    def _filled(self, rows: TimedPairs) -> TimedPairs:
        """Return pairs with what their users and items had met."""
        user, item = self.timelines[TRAIN]["user"], self.timelines[TRAIN]["item"]
        of_users = user.before(rows.users, rows.moments)
        of_items = item.before(rows.items, rows.moments[:, None])  # the negative at the same moment
        recent = user.recent(of_users, self.recent), item.recent(of_items, self.recent)
        return TimedPairs(rows.users, rows.items, rows.moments, of_users, of_items, *recent)

    def val_dataloader(self) -> CaseLoader:  # type: ignore[override]
        return CaseLoader(self._held_out(DEV, self.val_protocols), *self.rank())

    def test_dataloader(self) -> CaseLoader:  # type: ignore[override]
        return CaseLoader(self._held_out(TEST, self.eval_protocols), *self.rank())

    def predict_dataloader(self) -> CaseLoader:  # type: ignore[override]
        """Return every user, after train and dev, so that lists can be held against test."""
        return CaseLoader(NextItems(self.evaluation, self.timelines[DEV], self.recent), *self.rank())

    def _held_out(self, part: int, protocols: Sequence[Protocol]) -> HeldOut:
        return HeldOut(self.evaluation, self.timelines[part], self.moments, part, protocols, self.recent)


class _TimedSampler:
    """Pairs with a negative each, and when they met.

    Args:
        pairs: what draws them (E).
        moments: (E,) of the observed ones.
    """

    def __init__(self, pairs: PairSampler, moments: Tensor) -> None:
        self.pairs, self.moments, self.count = pairs, moments, pairs.count

    def draw(self, generator: torch.Generator) -> TimedPairs:
        """Return all pairs; what their users and items had met is left to `TimedData`, a block at a time."""
        drawn = self.pairs.draw(generator)
        assert drawn.items is not None
        return TimedPairs(drawn.users, drawn.items, self.moments)


class _TimedLoader(BlockLoader):
    """Blocks of pairs, and what their users and items had met."""

    def __init__(self, fill: Callable[[TimedPairs], TimedPairs], *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fill = fill

    def draw(self, generator: torch.Generator) -> Callable[[int], Block]:
        block = super().draw(generator)
        return lambda at: Block(self.fill(block(at).rows), self.batch_size)  # type: ignore[arg-type]

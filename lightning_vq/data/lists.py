"""ListData: lists of items of which the rest, or the next item, is to be predicted.

Shapes: L lists, E entries of all of them, N items, M stretches of lists, B batch.
"""

from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq.data.base import RecommenderData, category_rows, digest
from lightning_vq.data.item_clusters import clustered
from lightning_vq.data.list_creators import known_creators
from lightning_vq.data.list_evaluation import ListEvaluation
from lightning_vq.data.list_loader import ListLoader
from lightning_vq.data.list_range import LONGEST, Protocol, kept_range
from lightning_vq.data.list_splits import each_next, halves, known_pairs, leave_one_out, occurrences, whole_lists
from lightning_vq.data.loaders import EvalLoader
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.files import SUFFIXES
from lightning_vq.sources.folders import is_folder, is_path, read_folder
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.list_files import read_lists
from lightning_vq.sources.list_sources import list_source
from lightning_vq.sources.lists import RawLists, filtered, histories, qualifying
from lightning_vq.sources.metadata import read_own_metadata
from lightning_vq.sources.named import located, named_source
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.planted_lists import planted_lists
from lightning_vq.types import CATEGORY, CREATOR, Facts, Lists
from lightning_vq.vocabulary import Vocabulary


class ListData(RecommenderData):
    """Lists, or the histories of users, in one order from first to last.

    Args:
        source: "planted", a named source (`python -m lightning_vq data list`) of lists or of interactions in an order,
            a CSV, TSV or Parquet file, or a folder of ReChorus or RecBole with times.
        root: folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq.
        columns: for a file, {role: column} with roles list (or user), position (or timestamp) and item; for a folder
            the roles user, item, timestamp.
        item_file: see CollaborativeData.
        protocol: "halves": the first half of a list (rounded down) is given, the rest is to be predicted, and lists are
            split into train, dev and test; "next": of each list the last item is test, the one before dev, the others
            train; "each": the last shares of each history are dev and test, as `ratio` has them, of which each item is
            to be predicted from all before it, and ranked alone (see `alone.py`).
        min_length: drop lists of fewer items; None: as the papers do with a named source of lists, else what the
            protocol needs.
        max_length: of "halves" keep the first items of longer lists; of the others the last items of a history, before
            the item to be predicted, that a batch shows. None: as the papers do with a named source of lists, else all
            of a list and 200 of a history.
        min_item: drop items that occur less often; items and lists are dropped until nothing changes. None: as the
            papers do with a named source of lists, else 1.
        ratio: of "halves" and "each", shares of train, dev and test.
        split_seed: of that split.
        batch_size: lists of a mini-batch, on each rank (B).
        eval_batch_size: lists that are evaluated at a time.
        eval_negatives: of "next", sampled items that the list does not hold, to rank the held-out one against; 0: none.
        eval_batch: of "each", held-out items of a batch that are ranked among each other.
        eval_seed: of what is drawn of these.
        negatives: in training, sampled for each position, uniformly from all items that what is trained on of its list
            does not hold; 0: none.
        clusters: that items are put in by what stands near them, before training; they become the items' categories, in
            the place of the source's (FANS' pre-extracted ones); 0: none.
        cluster_lists: which lists tell them: "train", or "all" as in FANS, with those that are tested on.
        seed: of training order and negatives; None takes that of seed_everything.
        planted: what the planted world looks like; its users are lists.
    """

    def __init__(
        self,
        source: str = "planted",
        root: str | None = None,
        columns: dict[str, str] | None = None,
        item_file: str | None = None,
        protocol: Protocol = "halves",
        min_length: int | None = None,
        max_length: int | None = None,
        min_item: int | None = None,
        ratio: tuple[float, float, float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        batch_size: int = 256,
        eval_batch_size: int = 256,
        eval_negatives: int = 99,
        eval_batch: int = 1024,
        eval_seed: int = 0,
        negatives: int = 0,
        clusters: int = 0,
        cluster_lists: Literal["train", "all"] = "train",
        seed: int | None = None,
        planted: PlantedOptions = PlantedOptions(),  # noqa: B008 (a constant record)
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1), ("eval_batch_size", eval_batch_size, 1),
            ("eval_negatives", eval_negatives, 0), ("negatives", negatives, 0), ("clusters", clusters, 0),
            ("eval_batch", eval_batch, 1),
        ):  # fmt: skip
            if value < least:
                raise UserError(f"data.init_args.{name} is {value}; it must be at least {least}")
        if not all(share > 0 for share in ratio):
            raise UserError(f"data.init_args.ratio is {list(ratio)}; each share must be above 0")
        self.source, self.root, self.columns, self.protocol = source, root, columns, protocol
        self.described_by = item_file
        self.kept = kept_range(source, protocol, min_length, max_length, min_item)
        self.ratio, self.split_seed = ratio, split_seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.eval_negatives, self.eval_batch, self.eval_seed = eval_negatives, eval_batch, eval_seed
        self.negatives = negatives
        self.clusters, self.cluster_lists = clusters, cluster_lists
        self.seed, self.planted = seed, planted
        self.raw: RawLists | None = None
        self.left_out = 0  # lists that the filter drops
        self.listed: KnownPairs | None = None  # what is trained on of them holds: nor are those of training
        self.creators: Vocabulary | None = None  # who made the lists that are trained on, where that is told

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self) -> RawLists:
        """Read the source, unfiltered."""
        if self.source == "planted":
            return planted_lists(self.planted)
        if self.source.endswith(SUFFIXES):
            return read_lists(Path(self.source), self.columns)
        if is_folder(self.source):
            return histories(read_folder(Path(self.source), self.columns, duplicates="keep"))
        return list_source(self.source, self.root)

    def prepare_data(self) -> None:
        if self.source != "planted" and not is_path(self.source):
            located(named_source(self.source), self.root)  # downloads on one process only

    def setup(self, stage: str | None = None) -> None:
        if self.raw is not None:
            return
        # Of a history the last items are kept, and only in batches: it is split before.
        kept = self.kept if self.protocol == "halves" else self.kept._replace(max_length=None)
        whole = self.read()
        if self.described_by is not None:
            whole = whole._replace(item_metadata=read_own_metadata(Path(self.described_by), whole.item_ids))
        raw = filtered(whole, kept)
        self.left_out = len(whole.list_ids) - len(raw.list_ids)
        if len(raw.item_ids) < 2:
            raise UserError(f"{raw.where}: there is one item only, {raw.item_ids[0].as_py()!r}")
        if self.protocol == "halves":
            self.parts = halves(raw, self.ratio, self.split_seed)
            self.creators = known_creators(raw, self.parts)
        elif self.protocol == "next":
            self.parts = leave_one_out(raw, self.kept.max_length)
        else:
            self.parts = each_next(raw, self.ratio, self.kept.max_length)
        if not len(self.parts[TRAIN].lengths):
            raise UserError(f"{raw.where}: no list has 4 items, of which two would be left to train on")
        sizes = self.eval_batch_size, self.eval_negatives, self.eval_batch
        self.evaluation = ListEvaluation(raw, self.parts, self.protocol, *sizes, self.eval_seed)
        if self.negatives:
            self.listed = known_pairs(raw, self.parts[TRAIN], "negatives")
        self.counts = occurrences(self.parts[TRAIN], len(raw.item_ids))
        if self.clusters:
            lists = self.parts[TRAIN] if self.cluster_lists == "train" else whole_lists(raw)
            raw = clustered(raw, lists, self.clusters, self.split_seed)
        self.categories, self.categories_of = category_rows(raw.item_metadata)
        self.raw = raw  # last: where this is set, all of the above stands

    # -- what a model must know --------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        known, category = self.vocabularies(), "item" + CATEGORY
        ids = {name: of.ids.to_pylist() for name, of in known.items()} | {category: self.categories}
        return Facts(
            rows={name: len(of) for name, of in ids.items()},
            counts={name: torch.from_numpy(of.counts) for name, of in known.items()},
            ids={name: digest(of) for name, of in ids.items()},
            provides=("lists",),
            categories={"item": self.categories_of} if self.categories else {},
            length=max(int(part.lengths.max()) for part in self.parts.values()),
        )

    def vocabularies(self) -> dict[str, Vocabulary]:
        raw = self._ready()
        known = {"item": Vocabulary(raw.item_ids, self.counts.numpy(), raw.item_metadata)}
        return known if self.creators is None else known | {CREATOR: self.creators}

    def truth(self, vocab: str) -> dict[str, Array]:
        return self._ready().item_categories if vocab == "item" else {}

    def list_ids(self, cases: Tensor) -> pa.Array:
        """Return the original ids of lists (B,) by their places in the data; of histories they are the users'."""
        return self._ready().list_ids.take(pa.array(cases.numpy()))

    def item_ids(self, items: Tensor) -> pa.Array:
        """Return the original ids of items (B,)."""
        return self._ready().item_ids.take(pa.array(items.numpy()))

    def told(self, needs: frozenset[str]) -> str:
        raw, train, test = self._ready(), self.parts[TRAIN], self.parts[TEST]
        kept = self.kept.told
        kept += f"; {self.left_out:,} lists left out" if self.left_out else ""
        told = f"{self.source}: {raw.counts.told} ({kept}); {len(train.lengths):,} lists to train on"
        if self.protocol != "halves":
            return f"{told}, {len(test.lengths):,} to be continued by one item after {int(test.known.max()):,} at most"
        lengths, longest = test.lengths.numpy(), int(raw.lengths.max())
        told += f", {len(lengths):,} to test on: @5 on {qualifying(lengths, 5):,}, @10 on {qualifying(lengths, 10):,}"
        if longest > LONGEST:  # a batch with it is as wide for all of its lists
            told += f"; the longest has {longest:,} items: with data.init_args.max_length training is faster"
        return told

    def _ready(self) -> RawLists:
        assert self.raw is not None
        return self.raw

    # -- batches -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> ListLoader:
        seed, epoch = self.seed_and_epoch(self.seed)
        return ListLoader(self.parts[TRAIN], self.batch_size, self.negatives, self.listed, seed, epoch, *self.rank())

    def val_dataloader(self) -> EvalLoader[Lists]:
        return self.evaluation.held_out(DEV, *self.rank())

    def test_dataloader(self) -> EvalLoader[Lists]:
        return self.evaluation.held_out(TEST, *self.rank())

    def predict_dataloader(self) -> EvalLoader[Lists]:
        return self.evaluation.to_predict(TEST, *self.rank())

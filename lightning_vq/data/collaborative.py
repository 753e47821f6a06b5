"""CollaborativeData: interactions of users with items, for training with negatives and ranking held-out items.

Shapes: E interactions, U users, N items, B batch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lightning_vq.data.base import RecommenderData, category_rows, digest
from lightning_vq.data.evaluation import PROTOCOLS, Evaluation, Protocol
from lightning_vq.data.loaders import BlockLoader, EvalLoader
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.data.samplers import PairSampler, Sampler, popularity
from lightning_vq.data.splits import DEV, TEST, TRAIN, Split, split_interactions
from lightning_vq.data.triples import KnowledgeGraph, TripleSampler, knowledge_graph, relation_names
from lightning_vq.errors import UserError
from lightning_vq.sources.files import SUFFIXES, read_interactions
from lightning_vq.sources.folders import is_folder, is_path, read_folder
from lightning_vq.sources.interactions import Array, Interactions, core
from lightning_vq.sources.metadata import read_own_metadata
from lightning_vq.sources.named import located, named_source
from lightning_vq.sources.planted import PlantedOptions, planted_interactions
from lightning_vq.types import EvalBatch, Facts
from lightning_vq.vocabulary import Vocabulary


class CollaborativeData(RecommenderData):
    """Implicit feedback, everything that a step needs resident as tensors.

    Args:
        source: "planted", a named source (`python -m lightning_vq data list`), a CSV, TSV or Parquet file,
            or a folder of ReChorus, RecBole or LightGCN as it stands.
        root: folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq.
        columns: for a file or folder, {role: column} with roles user, item, timestamp, rating, split.
        min_rating: for a file or folder, keep rows rated at least this.
        item_file: CSV, TSV or Parquet with a row for each item, in columns item (its id) and title, genres, category or
            attributes (several of an item are parted by |, attributes by blanks): what trees are told by, and CFKG's
            categories, in the place of the source's.
        duplicates: for a file or folder, refuse a (user, item) that stands twice, or keep the first or last in time.
        min_user: drop users with fewer interactions, until nothing changes.
        min_item: drop items with fewer, too.
        split: "auto" is the source's own split, else leave_one_out; see `splits.py`.
        ratio: shares of train, dev and test for split=ratio.
        refit: train on dev as well, for a last fit of known settings: its last epoch counts, and val/ metrics say
            nothing. Full ranking then leaves out dev items too, as all that was trained on.
        batch_size: positives of a mini-batch, on each rank (B).
        negatives: negatives per positive, never among the user's training items.
        negative_power: how popular they are: odds are training counts (at least 1) to this power; 0 is uniform.
        block: mini-batches that one training_step walks through.
        eval_protocols: "full" ranks all items but those the user trained on; "sampled" ranks against uniform
            negatives that the user never touched, stored with the source or drawn once by eval_seed; "alone" ranks each
            held-out interaction by itself among all items that its user touched in no part, "batch" among those of
            them that are in a batch of held-out interactions, drawn once by eval_seed (see `alone.py`).
        val_protocols: the protocols of validation during training (fewer are faster).
        eval_negatives: of the sampled protocol; where the source stores some, their number.
        eval_batch: held-out interactions of a batch of the protocol "batch".
        eval_seed: of the drawn evaluation negatives and of split=ratio.
        eval_memory_mib: size that a block of (users x items) scores may take.
        seed: of training order and negatives; None takes that of seed_everything.
        planted: what the planted world looks like.
    """

    def __init__(
        self,
        source: str = "planted",
        root: str | None = None,
        columns: dict[str, str] | None = None,
        min_rating: float | None = None,
        item_file: str | None = None,
        duplicates: Literal["refuse", "first", "last"] = "refuse",
        min_user: int = 1,
        min_item: int = 1,
        split: Split = "auto",
        ratio: tuple[float, float, float] = (0.8, 0.1, 0.1),
        refit: bool = False,
        batch_size: int = 1024,
        negatives: int = 1,
        negative_power: float = 0.0,
        block: int = 16,
        eval_protocols: Sequence[Protocol] = ("full", "sampled"),
        val_protocols: Sequence[Protocol] = ("full", "sampled"),
        eval_negatives: int = 99,
        eval_batch: int = 1024,
        eval_seed: int = 0,
        eval_memory_mib: int = 64,
        seed: int | None = None,
        planted: PlantedOptions = PlantedOptions(),  # noqa: B008 (a constant record)
    ) -> None:
        super().__init__()
        sizes = {"batch_size": batch_size, "negatives": negatives, "block": block, "eval_negatives": eval_negatives}
        sizes |= {"eval_batch": eval_batch, "eval_memory_mib": eval_memory_mib}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"data.init_args.{name} is {value}; it must be at least 1")
        if negative_power < 0:
            raise UserError(f"data.init_args.negative_power is {negative_power}; it must not be negative")
        for name, protocols in (("eval", eval_protocols), ("val", val_protocols)):
            if not protocols:
                raise UserError(f"data.init_args.{name}_protocols is empty; choose from {', '.join(PROTOCOLS)}")
        self.source, self.root, self.columns, self.min_rating = source, root, columns, min_rating
        self.described_by = item_file
        self.duplicates, self.min_user, self.min_item = duplicates, min_user, min_item
        self.split, self.ratio, self.refit = split, ratio, refit
        self.batch_size, self.negatives, self.block = batch_size, negatives, block
        self.negative_power = negative_power
        self.eval_protocols, self.val_protocols = eval_protocols, val_protocols
        self.eval_negatives, self.eval_batch, self.eval_seed = eval_negatives, eval_batch, eval_seed
        self.eval_memory_mib, self.seed, self.planted = eval_memory_mib, seed, planted
        self.raw: Interactions | None = None
        self.before: tuple[int, int, int] = (0, 0, 0)  # interactions, users, items before filtering

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self) -> Interactions:
        """Read the source, unfiltered."""
        if self.source == "planted":
            return planted_interactions(self.planted)
        if self.source.endswith(SUFFIXES):
            return read_interactions(Path(self.source), self.columns, self.min_rating, self.duplicates)
        if is_folder(self.source):
            return read_folder(Path(self.source), self.columns, self.min_rating, self.duplicates)
        source = named_source(self.source)
        return source.read(located(source, self.root))

    def prepare_data(self) -> None:
        if self.source != "planted" and not is_path(self.source):
            located(named_source(self.source), self.root)  # downloads on one process only

    def told(self, needs: frozenset[str]) -> str:
        told = f"{self.source}: {self.user_count:,} users, {self.item_count:,} items"
        told += f", {len(self.parts[TRAIN][0]):,} interactions to train on"
        return f"{told}; relations: {', '.join(self.relations)}" if "triples" in needs else told

    def setup(self, stage: str | None = None) -> None:
        if self.raw is not None:
            return
        raw = self.read()
        self.before = (len(raw.users), len(raw.user_ids), len(raw.item_ids))
        if self.described_by is not None:
            raw = raw._replace(item_metadata=read_own_metadata(Path(self.described_by), raw.item_ids))
        raw = core(raw, self.min_user, self.min_item)
        parts = split_interactions(raw, self.split, self.ratio, self.eval_seed)
        if self.split not in ("auto", "given"):
            raw = raw._replace(negatives={})  # they belong to the source's own split
        self.user_count, self.item_count = len(raw.user_ids), len(raw.item_ids)
        order = np.lexsort((raw.items, raw.users))  # by user, which makes negatives cheap to check
        users, items, part_of = (torch.from_numpy(a[order]) for a in (raw.users, raw.items, parts))
        trained = (TRAIN, DEV) if self.refit else (TRAIN,)
        masks = {p: np.isin(part_of, trained if p == TRAIN else (p,)) for p in (TRAIN, DEV, TEST)}
        self.parts = {p: (users[mask], items[mask]) for p, mask in masks.items()}
        self.rows = {p: order[mask] for p, mask in masks.items()}  # of `raw`
        for part, name in ((TRAIN, "train"), (DEV, "dev"), (TEST, "test")):
            if not len(self.parts[part][0]):
                raise UserError(f"{raw.where}: the {name} part is empty")
        self.train_known = KnownPairs(*self.parts[TRAIN], self.item_count, raw.where, raw.user_ids)
        sizes = (self.eval_negatives, self.eval_batch)
        self.evaluation = Evaluation(raw, self.parts, *sizes, self.eval_seed, self.eval_memory_mib)
        for part, name, protocols in ((DEV, "dev", self.val_protocols), (TEST, "test", self.eval_protocols)):
            if name in raw.negatives and "sampled" in protocols:
                self.evaluation.sampled(part)  # another number of them than asked for leaves no run folder behind
        self.relations, (self.categories, self.categories_of) = relation_names(raw), category_rows(raw.item_metadata)
        self.raw = raw  # last: where this is set, all of the above stands

    def facts(self) -> Facts:
        """Return what a model must know before its tables exist."""
        assert self.raw is not None
        users, items = self.parts[TRAIN]
        return Facts(
            rows={
                "user": self.user_count,
                "item": self.item_count,
                "category": len(self.categories),
                "relation": len(self.relations),
                "item_category": len(self.categories),
            },
            counts={
                "user": torch.bincount(users, minlength=self.user_count),
                "item": torch.bincount(items, minlength=self.item_count),
            },
            ids={
                "user": digest(self.raw.user_ids.to_pylist()),
                "item": digest(self.raw.item_ids.to_pylist()),
                "category": digest(self.categories),
                "relation": digest(self.relations),
                "item_category": digest(self.categories),
            },
            provides=("pairs", "graph", "triples"),
            pairs=torch.stack([users, items], dim=1).int(),
            categories={"item": self.categories_of} if self.categories else {},
        )

    def vocabularies(self) -> dict[str, Vocabulary]:
        assert self.raw is not None
        counts = {name: count.numpy() for name, count in self.facts().counts.items()}
        return {
            "user": Vocabulary(self.raw.user_ids, counts["user"], None),
            "item": Vocabulary(self.raw.item_ids, counts["item"], self.raw.item_metadata),
        }

    def truth(self, vocab: str) -> dict[str, Array]:
        assert self.raw is not None
        return {"user": self.raw.user_categories, "item": self.raw.item_categories}.get(vocab, {})

    # -- batches -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> BlockLoader:
        seed, epoch = self.seed_and_epoch(self.seed)
        return BlockLoader(self._sampler(), self.batch_size, self.block, seed, epoch, *self.rank())

    def graph(self) -> KnowledgeGraph:
        """Return the knowledge graph of what is trained on."""
        assert self.raw is not None
        return knowledge_graph(self.raw, *self.parts[TRAIN])

    def _sampler(self) -> Sampler:
        """Return what the backbone at hand trains on."""
        assert self.raw is not None
        trainer: Any = self.trainer
        backbone = getattr(getattr(trainer, "lightning_module", None), "backbone", None)
        if backbone is not None and "triples" in backbone.needs:
            return TripleSampler(self.graph())
        users, items = self.parts[TRAIN]
        weights = popularity(items, self.item_count, self.negative_power) if self.negative_power else None
        return PairSampler(users, items, self.train_known, self.negatives, weights)

    def val_dataloader(self) -> EvalLoader[EvalBatch]:
        return self.evaluation.held_out(DEV, self.val_protocols, *self.rank())

    def test_dataloader(self) -> EvalLoader[EvalBatch]:
        return self.evaluation.held_out(TEST, self.eval_protocols, *self.rank())

    def predict_dataloader(self) -> EvalLoader[EvalBatch]:
        return self.evaluation.everyone(*self.rank())

    def protocol_names(self, protocols: Sequence[Protocol]) -> list[str]:
        """Return protocols as metric names carry them: "full", "uni99", "batch1024", "alone"."""
        sizes = {"sampled": f"uni{self.eval_negatives}", "batch": f"batch{self.eval_batch}"}
        return [sizes.get(protocol, protocol) for protocol in protocols]

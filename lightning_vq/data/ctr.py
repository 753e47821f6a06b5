"""ClickThroughData: a table of samples with a label, for click-through rate.

Shapes: E rows of a part, F categorical fields, M numbers, Q sequences of T values, B batch.
"""

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch

from lightning_vq.data.base import RecommenderData, category_rows, digest
from lightning_vq.data.encoding import Encoded, encode, refuse_names
from lightning_vq.data.loaders import BlockLoader, EvalLoader
from lightning_vq.data.samplers import SampleSampler
from lightning_vq.data.shares import Kind, Split
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.clicks import click_source
from lightning_vq.sources.feed import Feed, feed_of
from lightning_vq.sources.folders import is_path
from lightning_vq.sources.interactions import Array, Metadata
from lightning_vq.sources.metadata import read_metadata
from lightning_vq.sources.named import named_source
from lightning_vq.sources.planted import PlantedOptions, make_world
from lightning_vq.sources.planted_clicks import planted_clicks
from lightning_vq.sources.schema import Schema
from lightning_vq.types import CATEGORY, Facts, Samples, cut
from lightning_vq.vocabulary import Vocabulary


class ClickThroughData(RecommenderData):
    """Rows of fields, numbers and sequences, each with a label 0 or 1.

    Vocabularies, means, deviations and buckets are those of training rows. A value that training does not have, and a
    missing one, goes by one row beside its vocabulary, "unknown"; a missing number is the mean.

    Args:
        source: a CSV, TSV or Parquet file, a folder of Parquet files, a named source, or "planted".
        root: folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq.
        schema: what the columns are; a named source has one of its own.
        split: "given" by a column, by "ratio" of rows, by "time" (test is later than all training), by "group" (no
            group in two parts); "auto" is given where the schema names a split column, else ratio.
        ratio: shares of train, dev and test.
        split_seed: of the splits by ratio and group.
        memory: "resident", or "disk": each process encodes the table batch by batch into temporary files and reads them
            as it needs them, the same rows in the same order. Some 10 to 20 bytes a row stay in memory (order, split).
        folder: of these files; else the system's, which may itself be memory.
        batch_size: rows of a mini-batch, on each rank (B).
        eval_batch_size: rows that are scored at a time.
        seed: of training order; None takes that of seed_everything.
        planted: what the planted world looks like.
        planted_samples: rows of it.
    """

    def __init__(
        self,
        source: str = "planted",
        root: str | None = None,
        schema: Schema | None = None,
        split: Literal["auto", "given", "ratio", "time", "group"] = "auto",
        ratio: tuple[float, float, float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        memory: Literal["resident", "disk"] = "resident",
        folder: str | None = None,
        batch_size: int = 5000,
        eval_batch_size: int = 20_000,
        seed: int | None = None,
        planted: PlantedOptions = PlantedOptions(),  # noqa: B008 (a constant record)
        planted_samples: int = 100_000,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise UserError(f"data.init_args.{name} is {value}; it must be at least 1")
        if not all(share > 0 for share in ratio):
            raise UserError(f"data.init_args.ratio is {list(ratio)}; each share must be above 0")
        if schema is not None:
            schema.check()
            schema.columns(split)
        elif is_path(source):
            raise UserError(f"data.init_args.schema is missing: it tells what the columns of {source} are")
        if folder is not None and not Path(folder).is_dir():
            raise UserError(f"data.init_args.folder: there is no folder {folder}")
        self.source, self.root, self.schema = source, root, schema
        self.split, self.ratio, self.split_seed = split, ratio, split_seed
        self.memory, self.folder = memory, folder
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.planted, self.planted_samples = planted, planted_samples
        self.encoded: Encoded | None = None

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self) -> tuple[Feed, Schema]:
        """Return the table and what its columns are."""
        if is_path(self.source):
            assert self.schema is not None
            return feed_of(Path(self.source)), self.schema
        if self.source == "planted":
            feed, schema = planted_clicks(self.planted, self.planted_samples)
        else:
            feed, schema = click_source(self.source, self.root)
        return feed, self.schema or schema

    def prepare_data(self) -> None:
        if self.source != "planted" and not is_path(self.source):
            click_source(self.source, self.root)  # downloads on one process only

    def setup(self, stage: str | None = None) -> None:
        if self.encoded is not None:
            return
        feed, self.schema = self.read()
        kind: Kind = ("ratio" if self.schema.split is None else "given") if self.split == "auto" else self.split
        refuse_names(self.schema)
        how = Split(kind, self.ratio, self.split_seed)
        if self.memory == "disk":
            # The files go once they are mapped, and their room when the process ends, in whatever way it does.
            with tempfile.TemporaryDirectory(prefix="lightning_vq-", dir=self.folder) as made:
                encoded = encode(feed, self.schema, how, Path(made))
        else:
            encoded = encode(feed, self.schema, how)
        for part, word in ((TRAIN, "train"), (DEV, "dev")):  # test rows to be predicted may have none that is true
            labels = encoded.samples[part].labels
            if labels.min() == labels.max():
                raise UserError(
                    f"{feed.where}: all {len(labels):,} rows of the {word} part have the label {labels[0]:g}"
                )
        self.encoded = encoded

    # -- what a model must know --------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        encoded, schema = self._ready()
        categories = {vocab: category_rows(known) for vocab, known in self.metadata.items()}
        names = {vocab + CATEGORY: names for vocab, (names, _) in categories.items()}
        ids = {vocab: ids.to_pylist() for vocab, ids in encoded.vocabularies.items()} | names
        return Facts(
            rows={vocab: len(of) for vocab, of in ids.items()},
            counts={vocab: torch.from_numpy(count) for vocab, count in encoded.counts.items()},
            ids={vocab: digest(of) for vocab, of in ids.items()},
            provides=("features",),
            fields=schema.fields(),
            sequences=dict(schema.sequence),
            numbers=tuple(schema.standardised),
            moments=dict(encoded.moments),
            categories={vocab: rows for vocab, (_, rows) in categories.items()},
        )

    def vocabularies(self) -> dict[str, Vocabulary]:
        encoded, _ = self._ready()
        return {
            name: Vocabulary(ids, encoded.counts[name], self.metadata.get(name))
            for name, ids in encoded.vocabularies.items()
        }

    @cached_property
    def metadata(self) -> dict[str, Metadata]:
        """What a named source knows of its items; of planted ones the coarsest level alone."""
        items = self._ready()[0].vocabularies.get("item")
        if items is None:
            return {}
        if self.source == "planted":
            name, nodes = list(self.truth("item").items())[-1]
            return {"item": Metadata([None] * len(nodes), [[f"{name} {node}"] for node in nodes])}
        if is_path(self.source):
            return {}
        path = named_source(self.source).folder(self.root) / "items.csv.gz"
        known = read_metadata(path, items)
        return {} if known is None else {"item": known}

    def truth(self, vocab: str) -> dict[str, Array]:
        items = self._ready()[0].vocabularies.get("item")
        if self.source != "planted" or vocab != "item" or items is None:
            return {}
        places = [int(name[1:]) for name in items.to_pylist()]  # "i12"
        world = make_world(self.planted)
        return world.levels(world.item_leaf[places])

    def told(self, needs: frozenset[str]) -> str:
        encoded, schema = self._ready()
        fields = ", ".join(f"{name} {len(encoded.vocabularies[vocab]):,}" for name, vocab in schema.fields().items())
        train = encoded.samples[TRAIN].labels
        told = f"{self.source}: {len(train):,} rows to train on, {train.mean():.1%} clicked; fields {fields}"
        more = [f"numbers {', '.join(schema.standardised)}"] if schema.standardised else []
        more += [f"sequences {', '.join(schema.sequence)}"] if schema.sequence else []
        unknown = {name: share for name, share in self.unknown(TEST).items() if share}
        if unknown:
            shares = ", ".join(f"{name} {share:.2%}" for name, share in unknown.items())
            more.append(f"unknown in test: {shares}")
        return "; ".join([told, *more])

    def group(self) -> str | None:
        """Return the column whose rows are ranked together, as the config or the source names it."""
        if self.schema is None:
            self.schema = self.read()[1]
        return self.schema.group

    def group_ids(self) -> pa.Array | None:
        """Return the original ids of the groups."""
        return self._ready()[0].group_ids

    def test_ids(self, field: str, places: torch.Tensor) -> dict[str, pa.Array]:
        """Return {field: its values (P,) in test rows as text, null for what training does not have}; {} without it."""
        encoded, schema = self._ready()
        if field not in schema.categorical:
            return {}
        known = encoded.vocabularies[field].cast(pa.string())
        rows = encoded.samples[TEST].fields[places, schema.categorical.index(field)].numpy()
        return {field: known.take(pa.array(rows, mask=rows >= len(known)))}

    def unknown(self, part: int) -> dict[str, float]:
        """Return the share of a part's rows whose value training does not have, by categorical field."""
        encoded, schema = self._ready()
        rows = encoded.samples[part].fields
        return {
            name: float((rows[:, i] >= len(encoded.vocabularies[vocab])).float().mean())
            for i, (name, vocab) in enumerate(schema.fields().items())
        }

    def _ready(self) -> tuple[Encoded, Schema]:
        assert self.encoded is not None
        assert self.schema is not None
        return self.encoded, self.schema

    # -- batches -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> BlockLoader:
        encoded, _ = self._ready()
        sampler = SampleSampler(encoded.samples[TRAIN])
        return BlockLoader(sampler, self.batch_size, 1, *self.seed_and_epoch(self.seed), *self.rank())

    def val_dataloader(self) -> EvalLoader[Samples]:
        return self._held_out(DEV)

    def test_dataloader(self) -> EvalLoader[Samples]:
        return self._held_out(TEST)

    def predict_dataloader(self) -> EvalLoader[Samples]:
        return self._held_out(TEST)

    def _held_out(self, part: int) -> EvalLoader[Samples]:
        encoded, _ = self._ready()
        samples = encoded.samples[part]
        rows = torch.arange(len(samples.labels))
        return EvalLoader(rows, self.eval_batch_size, lambda some: cut(samples, some), *self.rank())

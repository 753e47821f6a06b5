"""The id tables of a model and the quantizers on them: made from the facts of the data, looked up, cut by rows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.layers import new_table
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError
from lightning_vq.lookup import Categories, Lookup
from lightning_vq.modules.categories import CategoryPlace, added_categories, category_tables
from lightning_vq.modules.facts import refuse_others
from lightning_vq.modules.family import Family
from lightning_vq.quantizers.average import MovingAverage
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.quantizers.classifier import TreeClassifier
from lightning_vq.sharding import is_sharded, shard, whole
from lightning_vq.specs import construct, describe
from lightning_vq.types import Facts, Table, TableSpec

CLASSIFIER = -1  # the moment of `private_randomness` at which classifiers are drawn


class QuantizedTables(Family):
    """Backbone + id tables + quantizers; how they are trained is Recommender's.

    Args:
        backbone: how ids become scores; it declares the tables.
        categories: see Recommender.
    """

    given: ClassVar[bool] = False  # its tables are finished vectors, on which all quantizers can start

    def __init__(self, backbone: Backbone, categories: dict[str, CategoryPlace] | None) -> None:
        super().__init__()
        self.backbone, self.categories = backbone, dict(categories or {})
        self.facts: Facts | None = None
        self.specs: dict[str, TableSpec] = {}
        self.tables, self.outside = nn.ParameterDict(), nn.ParameterDict()
        self.quantizers, self.classifiers = nn.ModuleDict(), nn.ModuleDict()

    def build(self, facts: Facts) -> None:
        """Make the tables from the facts of the data. A second call checks that the facts agree."""
        if self.facts is not None:
            refuse_others(self.facts, facts, self.vocabularies())
            return
        missing = self.backbone.needs - set(facts.provides)
        if missing:
            raise UserError(
                f"{type(self.backbone).__name__} needs {sorted(missing)}, but the data provides {list(facts.provides)}"
            )
        self.facts = facts
        self.backbone.prepare(facts)
        self.specs = self.backbone.tables() | category_tables(self.backbone.tables(), self.categories, facts)
        for name, spec in self.specs.items():
            self.tables[name] = new_table(spec, facts.rows[spec.vocab])
            if spec.outside:
                self.outside[name] = nn.Parameter(torch.zeros(spec.outside, spec.dim))

    def vocabularies(self) -> list[str]:
        """Return the vocabularies that have tables."""
        return sorted({spec.vocab for spec in self.specs.values()})

    def attach(self, name: str, spec: dict[str, Any], start: bool = True) -> None:
        """Put the quantizer that `spec` describes on a table. A second call checks that the specs agree.

        Raises:
            UserError: another quantizer is on the table already, the spec names no Quantizer, or one that reads no
                vectors is to be given categories.
        """
        if name in self.quantizers:
            here = describe(self.quantizers[name])
            if here != spec:
                raise UserError(f"table {name!r} carries {here}, which is not the {spec} asked for")
            return
        self.quantizers[name] = construct(spec, Quantizer).to(self.tables[name].device)
        quantizer, vocab = self.quantizers[name], self.specs[name].vocab
        if not quantizer.keeps_table and self.categories.get(vocab) == "before":
            raise UserError(
                f"{type(quantizer).__name__} stands for the table {name!r}, so that model.init_args.categories.{vocab} "
                "must be 'after'"
            )
        if start and (self.given or not quantizer.waits):
            self.start_quantizer(name)
        if not quantizer.keeps_table:
            self.tables[name] = nn.Parameter(self.tables[name].detach()[:0].clone(), requires_grad=False)

    def classify(self, name: str) -> None:
        """Give a quantized table a classifier of its codes (CAGE eq. 15). A second call changes nothing.

        Raises:
            UserError: the table's quantizer has no codes to be told.
        """
        if name in self.classifiers:
            return
        quantizer = self.quantizers[name]
        if not quantizer.has_codebooks:
            raise UserError(f"quantization.omega_c: {type(quantizer).__name__} has no codes that could be predicted")
        with self.private_randomness(name, CLASSIFIER):
            made = TreeClassifier(self.specs[name].dim, quantizer.codebook_sizes)  # type: ignore[arg-type]
        self.classifiers[name] = made.to(self.tables[name].device)

    def start_quantizer(self, name: str, moment: int = 0) -> None:
        """Set a quantizer's first values from its table; `moment` tells several draws of a run apart."""
        with self.private_randomness(name, moment):
            self.quantizers[name].start(self.table(name))  # type: ignore[operator]

    def table(self, name: str) -> Table:
        """Return a table as its quantizer sees it when it starts."""
        assert self.facts is not None
        weight, known = whole(self.tables[name].detach()), self._categories().get(name)
        if known is not None and not known.after:
            weight = weight + known.mean(torch.arange(len(weight), device=weight.device)).detach()
        return Table(weight, self.facts.counts[self.specs[name].vocab])

    def _categories(self) -> dict[str, Categories]:
        return added_categories(self.specs, self.tables, self.categories, self.facts)  # type: ignore[arg-type]

    @contextmanager
    def private_randomness(self, name: str, moment: int) -> Iterator[None]:
        """Give a table's quantizer random numbers of its own: a run without one sees the same tables and negatives."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(torch.initial_seed() + 1 + list(self.specs).index(name) + 1009 * moment)
            yield

    @property
    def warming_up(self) -> bool:
        """Whether a quantizer has yet to start: what is measured now is the base model's."""
        return not all(quantizer.active for quantizer in self.quantizers.values())

    def lookup(self) -> Lookup:
        """Return a fresh view of the tables: one per training step, or one per evaluation epoch."""
        return Lookup(self.tables, self.quantizers, self.outside, self._categories())  # type: ignore[arg-type]

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, RecommenderData):
            self.build(data.facts())

    def configure_model(self) -> None:
        """Under ModelParallelStrategy cut the tables by rows for training: each process holds a share of them."""
        mesh = self.device_mesh
        if mesh is None or self.trainer.state.fn != "fit":
            return
        if mesh["data_parallel"].size() > 1:
            raise UserError(
                "trainer.strategy.init_args: tables are cut over all processes: data_parallel_size must be 1 and "
                f"tensor_parallel_size {self.trainer.world_size}"
            )
        if "PL_GLOBAL_SEED" not in os.environ:  # processes would draw batches of their own, and sum up other rows
            raise UserError("tables that are cut by rows need a seed: --seed_everything=0, or seed_everything(0)")
        for name, table in self.tables.items():
            if table.requires_grad and not is_sharded(table):
                self.tables[name] = shard(table, mesh["tensor_parallel"])
        if not any(is_sharded(table) for table in self.tables.values()):
            raise UserError("there is no table that could be cut by rows: leave trainer.strategy out")
        for part in self.quantizers.modules():
            if isinstance(part, MovingAverage):
                part.shared = False  # all processes see the same batches

    def gather(self) -> None:
        """Make tables that were cut whole again, on every process."""
        for name, table in self.tables.items():
            if is_sharded(table):
                self.tables[name] = nn.Parameter(whole(table.detach()))

"""Recommender: owns the id tables, the quantizers on them, and the one training step of every family."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.layers import new_table
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError
from lightning_vq.lookup import Categories, Lookup
from lightning_vq.modules.categories import CategoryPlace, added_categories, category_tables
from lightning_vq.modules.checkpoint import saved_part
from lightning_vq.modules.facts import refuse_others
from lightning_vq.modules.family import Family
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.quantizers.classifier import TreeClassifier
from lightning_vq.specs import construct, describe
from lightning_vq.types import (
    Block,
    Entities,
    Facts,
    Lists,
    Output,
    Pairs,
    Samples,
    ScoredPairs,
    Table,
    TableSpec,
    TimedPairs,
    Triples,
)

CLASSIFIER = -1  # the moment of `private_randomness` at which classifiers are drawn


@runtime_checkable
class LossHook(Protocol):
    """A callback that adds loss terms to every training step."""

    def losses(self, module: "Recommender", look: Lookup, output: Output) -> dict[str, Tensor]:
        """Return weighted scalar terms by name, summed into the loss and logged as `loss/<name>`."""
        ...


class Recommender(Family):
    """Backbone + id tables + quantizers.

    Args:
        backbone: how ids become scores.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term on tables and backbone weights; never on biases, codes or quantized vectors.
        clip: largest gradient norm, or none.
        categories: vocabulary -> "before" or "after": the vectors of its real categories are added to its entities', to
            what is quantized or to what came of it (CAGE, appendix E).
    """

    given: ClassVar[bool] = False  # its tables are finished vectors, on which all quantizers can start

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        categories: dict[str, CategoryPlace] | None = None,
    ) -> None:
        super().__init__()
        if lr <= 0 or weight_decay < 0:
            raise UserError(f"model.init_args: lr is {lr} and weight_decay {weight_decay}; both must be positive")
        # Blocks of mini-batches per training_step need it: Lightning's own cost per step is 0.5 ms.
        self.automatic_optimization = False
        self.backbone, self.lr, self.weight_decay, self.clip = backbone, lr, weight_decay, clip
        self.categories = dict(categories or {})
        self.facts: Facts | None = None
        self.specs: dict[str, TableSpec] = {}
        self.tables, self.outside = nn.ParameterDict(), nn.ParameterDict()
        self.quantizers, self.classifiers = nn.ModuleDict(), nn.ModuleDict()
        self._random_state: Tensor | None = None

    # -- building ----------------------------------------------------------------------------------------------------

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
        weight, known = self.tables[name].detach(), self._categories().get(name)
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

    # -- training ----------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        decayed = [self.tables[n] for n, spec in self.specs.items() if spec.decay]
        plain = [self.tables[n] for n, spec in self.specs.items() if not spec.decay] + list(self.outside.values())
        for quantizer in self.quantizers.values():  # one that stands for its table is decayed as that would be
            (plain if quantizer.keeps_table else decayed).extend(quantizer.parameters())
        for parameter in chain(self.backbone.parameters(), self.classifiers.parameters()):
            (decayed if parameter.ndim > 1 else plain).append(parameter)
        if not self.weight_decay:  # one group is one fused call
            decayed, plain = [], decayed + plain
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        return torch.optim.Adam([g for g in groups if g["params"]], lr=self.lr, fused=True)

    def training_step(self, block: Block, batch_idx: int) -> None:
        optimizer = self.optimizers()
        schedule: Any = self.lr_schedulers()
        assert not isinstance(optimizer, list)
        hooks = [c for c in self.trainer.callbacks if isinstance(c, LossHook)]  # type: ignore[attr-defined]
        values: dict[str, list[Tensor]] = {}
        batches = block.batches()
        for batch in batches:
            terms = self.step_losses(batch, hooks)
            optimizer.zero_grad()
            self.manual_backward(sum(terms.values()))  # type: ignore[arg-type]
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters(), self.clip)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            for name, value in terms.items():
                values.setdefault(name, []).append(value.detach())
        rows = block.length
        shares = torch.tensor([len(batch[0]) / rows for batch in batches], device=self.device)
        means = {name: (torch.stack(parts) * shares).sum() for name, parts in values.items()}
        if not all(torch.isfinite(value) for value in means.values()):
            raise UserError(f"training diverged: {self._broken(means)}; try a lower model.init_args.lr (now {self.lr})")
        self.log_dict(
            {f"loss/{name}": value for name, value in means.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=rows,
        )

    def step_losses(
        self, batch: Pairs | Triples | Samples | ScoredPairs | Lists | TimedPairs | Entities, hooks: list[LossHook]
    ) -> dict[str, Tensor]:
        """Return the weighted loss terms of one mini-batch by name; their sum is minimized."""
        look = self.lookup()
        output = self.backbone(look, self.scored(batch))
        terms = {"task": self.task_loss(output, batch)}
        for row in self.outside.values():  # which a batch may not ask for: DDP waits for all parameters
            terms["task"] = terms["task"] + 0.0 * row.sum()
        for hook in hooks:
            terms |= hook.losses(self, look, output)
        return terms

    def _broken(self, means: dict[str, Tensor]) -> str:
        for name, parameter in self.named_parameters():
            if not torch.isfinite(parameter).all():
                return f"parameter {name!r} holds NaN or infinity"
        return f"loss terms are { {n: float(v) for n, v in means.items()} }"

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.facts is not None
        checkpoint["lightning_vq"] = {
            "facts": self.facts._asdict(),
            "module": describe(self) | {"init_args": self._options()},
            "backbone": describe(self.backbone),
            "quantizers": {name: describe(q) for name, q in self.quantizers.items()},
            "classifiers": list(self.classifiers),
            "random_state": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build and attach from the checkpoint, before its weights are loaded strictly."""
        saved = saved_part(checkpoint)
        theirs, ours = saved["backbone"], describe(self.backbone)
        if theirs != ours:
            raise UserError(f"the checkpoint holds the backbone {theirs}, not the configured {ours}")
        missing = sorted(set(self.quantizers) - set(saved["quantizers"]))
        if missing:
            raise UserError(
                f"the checkpoint has no quantizer on {missing}: it is of another model "
                "(use --quantization.quantizers={} for its plain base)"
            )
        try:
            facts = Facts(**saved["facts"])
        except TypeError as error:  # a field more or less
            raise UserError(f"the checkpoint was written by another version of lightning_vq ({error})") from None
        if self.facts is None:
            self.build(facts)
        else:  # built for the data at hand
            refuse_others(facts, self.facts, self.vocabularies())
        for name, spec in saved["quantizers"].items():
            if name not in self.specs:
                raise UserError(f"the checkpoint quantizes the table {name!r}, which the backbone does not have")
            self.attach(name, spec, start=False)
        if set(self.classifiers) - set(saved.get("classifiers", [])):
            raise UserError("the checkpoint has no tree classifier, which quantization.omega_c asks for")
        for name in saved.get("classifiers", []):
            self.classify(name)
        self._random_state = saved["random_state"]

    def on_train_start(self) -> None:
        if self._random_state is not None:
            torch.set_rng_state(self._random_state.cpu())
            self._random_state = None

    def _options(self) -> dict[str, Any]:
        return {k: v for k, v in describe(self)["init_args"].items() if k != "backbone"}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, map_location: Any = "cpu") -> Self:  # type: ignore[override]
        """Open a checkpoint alone: no config, no data, no pickle; of this class, or of what is made from it."""
        checkpoint = torch.load(checkpoint_path, map_location=map_location, weights_only=True)
        saved = saved_part(checkpoint)
        backbone, options = construct(saved["backbone"], Backbone), saved["module"]["init_args"]
        module = construct(saved["module"] | {"init_args": {"backbone": backbone, **options}}, cls)
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
        return module.eval()

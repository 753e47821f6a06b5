"""Recommender: the one training step of every family, and its checkpoints."""

from itertools import chain
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.modules.categories import CategoryPlace
from lightning_vq.modules.checkpoint import saved_part
from lightning_vq.modules.facts import refuse_others
from lightning_vq.modules.tables import QuantizedTables
from lightning_vq.sharding import clip_gradients, is_sharded, whole
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
    TimedPairs,
    Triples,
)


@runtime_checkable
class LossHook(Protocol):
    """A callback that adds loss terms to every training step."""

    def losses(self, module: "Recommender", look: Lookup, output: Output) -> dict[str, Tensor]:
        """Return weighted scalar terms by name, summed into the loss and logged as `loss/<name>`."""
        ...


class Recommender(QuantizedTables):
    """Backbone + id tables + quantizers, and how they are trained.

    Args:
        backbone: how ids become scores.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term on tables and backbone weights; never on biases, codes or quantized vectors.
        clip: largest gradient norm, or none.
        categories: vocabulary -> "before" or "after": the vectors of its real categories are added to its entities', to
            what is quantized or to what came of it (CAGE, appendix E).
    """

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        categories: dict[str, CategoryPlace] | None = None,
    ) -> None:
        super().__init__(backbone, categories)
        if lr <= 0 or weight_decay < 0:
            raise UserError(f"model.init_args: lr is {lr} and weight_decay {weight_decay}; both must be positive")
        # Blocks of mini-batches per training_step need it: Lightning's own cost per step is 0.5 ms.
        self.automatic_optimization = False
        self.lr, self.weight_decay, self.clip = lr, weight_decay, clip
        self._random_state: Tensor | None = None

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
        groups = [
            {"params": [p for p in some if is_sharded(p) == cut], "weight_decay": decay}
            for some, decay in ((decayed, self.weight_decay), (plain, 0.0))
            for cut in (True, False)  # a fused call takes tensors of one kind
        ]
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
                clip_gradients(list(self.parameters()), self.clip)
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
            if not torch.isfinite(whole(parameter)).all():
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

    def keep_random_state(self) -> None:
        """Begin training with the random numbers of now: strategies of several processes seed anew."""
        self._random_state = torch.get_rng_state()

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

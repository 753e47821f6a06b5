"""Puts quantizers on a model's id tables and adds their losses to every training step."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError, nearest
from lightning_vq.lookup import Lookup
from lightning_vq.modules.base import Recommender
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.specs import describe
from lightning_vq.types import Output


class QuantizationCallback(Callback):
    """L = L_task + omega_q * sum over vocabularies of (L_quant + beta * L_commit) + omega_c * L_tree   (CAGE eq. 9-19).

    A quantizer named for a vocabulary acts on each quantizable table of it, with codebooks of its own; the losses
    of one vocabulary's tables are averaged, those of different vocabularies are summed.

    A quantizer that needs a trained table (k-means, SVD) is inert for `warmup_epochs` and then started from it;
    epochs of the warm-up are never the best. With `restart_dead_codes` every epoch begins by moving codes that no
    entity of the whole table uses; Adam's moments of what was moved start anew.

    Args:
        quantizers: a factory (rows, dim) -> Quantizer per vocabulary; none is the plain base model.
        omega_q: weight of the quantization losses.
        beta: weight of the commitment loss within them; None: as in each quantizer's paper, 1 for Cascaded and
            Residual, 0.25 for DQVAE, 0 for DPQ and MGQE.
        omega_c: weight of the tree classification loss, by which a position of a list also predicts the codes of its
            target; for models of lists alone.
        warmup_epochs: epochs of the plain base model before such quantizers start; others start at once.
        restart_dead_codes: move unused codes to vectors that are far from theirs.
    """

    def __init__(
        self,
        quantizers: dict[str, Callable[[int, int], Quantizer]] | None = None,
        omega_q: float = 1.0,
        beta: float | None = None,
        omega_c: float = 0.0,
        warmup_epochs: int = 1,
        restart_dead_codes: bool = False,
    ) -> None:
        self.quantizers = dict(quantizers or {})
        self.omega_q, self.beta, self.omega_c = omega_q, beta, omega_c
        self.warmup_epochs, self.restart_dead_codes = warmup_epochs, restart_dead_codes
        weights = {"omega_q": omega_q, "beta": beta or 0.0, "omega_c": omega_c, "warmup_epochs": warmup_epochs}
        for key, value in weights.items():
            if not value >= 0:
                raise UserError(f"quantization.{key} is {value}; it must not be negative")
        self._begun = -1  # the last epoch whose start was seen to: a run resumed within it does not do so again

    def check(self, dim: int, epochs: int | None = None, given: bool = False) -> None:
        """Build each factory without memory, so that what cannot work is refused before data loads.

        Args:
            dim: of the model's vectors.
            epochs: of the training to come, if it is known.
            given: the vectors are finished, so that nothing has to wait for a warm-up.
        """
        with torch.device("meta"):
            for vocab, factory in self.quantizers.items():
                quantizer = _made(vocab, factory, 1 << 40, dim)
                if not quantizer.waits or given:
                    continue
                what = f"quantization.quantizers.{vocab}: {type(quantizer).__name__} starts from a trained table"
                if self.warmup_epochs < 1:
                    raise UserError(
                        f"{what}, so quantization.warmup_epochs must be at least 1, not {self.warmup_epochs}"
                    )
                if epochs is not None and 0 <= epochs <= self.warmup_epochs:
                    raise UserError(
                        f"{what} after quantization.warmup_epochs={self.warmup_epochs}, "
                        f"but the training has only trainer.max_epochs={epochs}"
                    )

    def attach(self, module: Recommender) -> None:
        """Attach every quantizer to a built module. A second call changes nothing.

        Raises:
            UserError: a vocabulary that the model does not have, or that has no quantizable table.
        """
        assert module.facts is not None
        offered = {spec.vocab for spec in module.specs.values() if spec.quantizable}
        for vocab, factory in self.quantizers.items():
            if vocab not in offered:
                raise UserError(
                    f"quantization.quantizers names {vocab!r}, which {type(module.backbone).__name__} has no "
                    f"quantizable table for{nearest(vocab, offered)}"
                )
            for name, spec in module.specs.items():
                if spec.vocab == vocab and spec.quantizable and name not in module.quantizers:
                    with torch.device("meta"):
                        described = describe(_made(vocab, factory, module.facts.rows[vocab], spec.dim))
                    module.attach(name, described)
                    _warn_of_more(name, module.quantizers[name])  # type: ignore[arg-type]
        if self.omega_c and module.quantizers:
            if not isinstance(module.backbone, ListBackbone):
                what = f"{type(module.backbone).__name__} predicts no items of lists"
                raise UserError(f"quantization.omega_c is {self.omega_c}, but {what}")
            for name in module.quantizers:
                module.classify(name)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._begun = -1
        # Our Trainer has done this before its processes were launched; a plain Trainer has it done here.
        source = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(pl_module, Recommender) and isinstance(source, RecommenderData):
            self.check(pl_module.backbone.dim, given=pl_module.given)
            pl_module.build(source.facts())
            self.attach(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if not isinstance(pl_module, Recommender) or epoch <= self._begun:
            return
        self._begun = epoch
        for name, quantizer in pl_module.quantizers.items():
            if quantizer.after_training:
                quantizer.active = False  # type: ignore[assignment]
                continue
            if not quantizer.active and epoch >= self.warmup_epochs:
                pl_module.start_quantizer(name, moment=epoch)
                for optimizer in trainer.optimizers:  # Adam has counted the warm-up's steps of no gradient
                    for parameter in quantizer.parameters():
                        optimizer.state.pop(parameter, None)
            elif quantizer.active and self.restart_dead_codes and epoch > 0:
                self._restart(trainer, pl_module, name, epoch)
            else:
                continue
            if trainer.world_size > 1:  # equal in theory; ranks on different hardware may round differently
                for tensor in (*quantizer.parameters(), *quantizer.buffers()):
                    torch.distributed.broadcast(tensor.data, 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, Recommender) and trainer.state.fn == "fit":
            for name, quantizer in pl_module.quantizers.items():
                if quantizer.after_training:
                    pl_module.start_quantizer(name)

    @staticmethod
    def _restart(trainer: Trainer, module: Recommender, name: str, epoch: int) -> None:
        quantizer = module.quantizers[name]
        before = [p.detach().clone() for p in quantizer.parameters()]
        with module.private_randomness(name, moment=epoch):
            quantizer.restart(module.table(name))  # type: ignore[operator]
        for parameter, old in zip(quantizer.parameters(), before):
            moved = (parameter != old).any(-1)
            for optimizer in trainer.optimizers:
                state = optimizer.state.get(parameter, {})
                if moved.any() and not moved.all() and "exp_avg" in state:
                    state["exp_avg"][moved] = 0.0
                    state["exp_avg_sq"][moved] = state["exp_avg_sq"][~moved].mean(0)  # zero would make a leap

    def state_dict(self) -> dict[str, Any]:
        return {"begun": self._begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._begun = state_dict["begun"]

    def losses(self, module: Recommender, look: Lookup, output: Output) -> dict[str, Tensor]:
        """Return omega_q * L_quant and omega_q * beta * L_commit of this step; nothing for the plain base."""
        tables: dict[str, list[str]] = {}
        for name in module.quantizers:
            tables.setdefault(module.specs[name].vocab, []).append(name)
        terms: dict[str, Tensor] = {}
        for names in tables.values():
            for name in names:
                codebook, commitment = look.losses(name)  # zeros as long as the quantizer is inert
                beta: float = module.quantizers[name].default_beta if self.beta is None else self.beta  # type: ignore[assignment]
                for term, value in (("quantization", codebook), ("commitment", beta * commitment)):
                    share = self.omega_q / len(names) * value
                    terms[term] = terms[term] + share if term in terms else share
        told = [_classified(module, look, output, name, one) for name, one in module.classifiers.items()]
        return terms | ({"classification": self.omega_c * torch.stack(told).sum()} if told else {})


def _classified(module: Recommender, look: Lookup, output: Output, name: str, classifier: nn.Module) -> Tensor:
    """Return the mean cross-entropy of the codes that the targets' own vectors have in this step (CAGE eq. 17)."""
    if not module.quantizers[name].active:  # DDP waits for all parameters
        return sum(
            (0.0 * parameter.sum() for parameter in classifier.parameters()), torch.zeros((), device=module.device)
        )
    assert output.targets is not None
    distinct, inverse = torch.unique(output.targets, return_inverse=True)
    with torch.no_grad():
        codes = look.codes(name, distinct)[inverse]
    loss: Tensor = classifier(output.hidden, codes)
    return loss


def _warn_of_more(name: str, quantizer: Quantizer) -> None:
    """Say so where what stands for a table takes more than the table."""
    full = 32 * quantizer.rows * quantizer.dim
    if quantizer.replaces and quantizer.bits() > full:
        share = f"{100 * quantizer.bits() / full:.0f} %"
        rank_zero_info(
            f"warning: {type(quantizer).__name__} for {name!r} takes {share} of the float32 table it replaces"
        )


def _made(vocab: str, factory: Callable[[int, int], Quantizer], rows: int, dim: int) -> Quantizer:
    try:
        return factory(rows, dim)
    except UserError as error:
        raise UserError(f"quantization.quantizers.{vocab}: {error}") from None

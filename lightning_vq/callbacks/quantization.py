"""Puts quantizers on a model's id tables and adds their losses to every training step."""

from collections.abc import Callable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_vq.errors import UserError, nearest
from lightning_vq.lookup import Lookup
from lightning_vq.modules.base import HasFacts, Recommender
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.specs import describe
from lightning_vq.types import Output


class QuantizationCallback(Callback):
    """L = L_task + omega_q * sum over vocabularies of (L_quant + beta * L_commit)   (CAGE eq. 9 and 12).

    A quantizer named for a vocabulary acts on each quantizable table of it, with codebooks of its own; the losses
    of one vocabulary's tables are averaged, those of different vocabularies are summed.

    Args:
        quantizers: a factory (rows, dim) -> Quantizer per vocabulary; none is the plain base model.
        omega_q: weight of the quantization losses.
        beta: weight of the commitment loss within them.
    """

    def __init__(
        self,
        quantizers: dict[str, Callable[[int, int], Quantizer]] | None = None,
        omega_q: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        self.quantizers, self.omega_q, self.beta = dict(quantizers or {}), omega_q, beta

    def check(self, dim: int) -> None:
        """Build each factory without memory, so that sizes that cannot work are refused before data loads."""
        with torch.device("meta"):
            for factory in self.quantizers.values():
                factory(1 << 40, dim)

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
                        described = describe(factory(module.facts.rows[vocab], spec.dim))
                    module.attach(name, described)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Our Trainer has done this before its processes were launched; a plain Trainer has it done here.
        source = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(pl_module, Recommender) and isinstance(source, HasFacts):
            pl_module.build(source.facts())
            self.attach(pl_module)

    def losses(self, module: Recommender, look: Lookup, output: Output) -> dict[str, Tensor]:
        """Return omega_q * L_quant and omega_q * beta * L_commit of this step; nothing for the plain base."""
        tables: dict[str, list[str]] = {}
        for name in module.quantizers:
            tables.setdefault(module.specs[name].vocab, []).append(name)
        terms: dict[str, Tensor] = {}
        for names in tables.values():
            for name in names:
                codebook, commitment = look.losses(name)
                for term, value in (("quantization", codebook), ("commitment", self.beta * commitment)):
                    share = self.omega_q / len(names) * value
                    terms[term] = terms[term] + share if term in terms else share
        return terms

"""Vector quantization of what another model has learned: semantic ids, neighbours by pattern, and what is lost.

Shapes: N entities of a vocabulary, D dim, L codes.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.vectors import Vectors
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.vectors import VectorData
from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.semantic_ids import told_of_codes, write_links, write_semantic_ids
from lightning_vq.quantizers import DQVAE, Quantizer
from lightning_vq.specs import construct
from lightning_vq.types import Entities, Facts, Output


class VectorQuantization(Recommender):
    """Learns the codes of given vectors, which stay as they are.

    Its loss is that of the quantizers alone (for DQVAE eq. 13 of DQRec, (1 + beta) times the squared distance to the
    code, a mean over numbers). `val/distortion` is the share of the vectors' variance that the codes lose, a mean over
    vocabularies, `val/distortion/item` that of one. The run leaves, for each vocabulary,
    semantic_ids/<vocabulary>.parquet and, of a DQVAE, links/<vocabulary>.parquet.

    Args:
        backbone: Vectors.
        lr: of Adam, in units of the vectors' root mean square about their mean: what is learned hangs on no scale.
        links: neighbours of each entity that are written (K).
        latent_links: more of them by each latent pattern (K').
    """

    predicts: ClassVar[str] = ""
    then: ClassVar[str] = "encode {run} FILE --vocabulary {vocabulary} --out NEW.parquet"
    given: ClassVar[bool] = True

    def __init__(self, backbone: Backbone, lr: float = 1e-3, links: int = 30, latent_links: int = 2) -> None:
        super().__init__(backbone, lr)
        if not isinstance(backbone, Vectors):
            raise UserError(f"VectorQuantization quantizes Vectors, not tables of {type(backbone).__name__}")
        if links < 0 or latent_links < 0:
            raise UserError(f"model.init_args: links is {links}, latent_links {latent_links}; neither may be negative")
        self.links, self.latent_links = links, latent_links
        self.lost: dict[str, list[Tensor]] = {}  # squared errors of the stage under way, by vocabulary

    def build(self, facts: Facts) -> None:
        for vectors in facts.vectors.values():
            if vectors.shape[1] != self.backbone.dim:
                width = vectors.shape[1]
                raise UserError(f"vectors are of {width} numbers: --model.init_args.backbone.init_args.dim={width}")
        super().build(facts._replace(vectors={}))
        for vocab, vectors in facts.vectors.items():
            self.tables[vocab] = nn.Parameter(vectors.to(self.device, copy=True), requires_grad=False)

    def check(self, data: RecommenderData) -> None:
        if not isinstance(data, VectorData):
            raise UserError(f"VectorQuantization quantizes VectorData, not {type(data).__name__}")
        data.files()

    def attach(self, name: str, spec: dict[str, Any], start: bool = True) -> None:
        if not construct(spec, Quantizer).has_codebooks:
            kind = spec["class_path"].rpartition(".")[2]
            raise UserError(f"quantization.quantizers.{name}: {kind} learns no codes of vectors")
        super().attach(name, spec, start)

    def on_fit_start(self) -> None:
        if not self.quantizers:
            raise UserError("quantization.quantizers names nothing: there is nothing to be learned")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = super().configure_optimizers()
        spreads = [float((vectors - vectors.mean(0)).square().mean().sqrt()) for vectors in self.tables.values()]
        for group in optimizer.param_groups:
            group["lr"] = self.lr * sum(spreads) / len(spreads)
        return optimizer

    def task_loss(self, output: Output, batch: Entities) -> Tensor:
        """Return 0: the quantizers' losses are all there are, and none where they learn by moving averages."""
        return torch.zeros((), device=self.device, requires_grad=True)

    # -- evaluation --------------------------------------------------------------------------------------------------

    def monitors(self, data: RecommenderData) -> list[str]:
        return ["val/distortion"]

    def begin(self, stage: str) -> None:
        self.lost = {}

    def evaluate(self, batch: Entities) -> None:
        for number, vocab in enumerate(self.vocabularies()):
            rows = batch.rows[batch.vocabs == number]
            vectors, quantizer = self.tables[vocab][rows], self.quantizers[vocab]
            error = quantizer.decode(quantizer.encode(vectors, rows), rows) - vectors  # type: ignore[operator]
            self.lost.setdefault(vocab, []).append(error.double().square().sum(1))

    def finish(self, stage: str) -> None:
        shares = {}
        for vocab, parts in self.lost.items():
            vectors = self.tables[vocab].double()
            shares[vocab] = torch.cat(parts).sum() / (vectors - vectors.mean(0)).square().sum()
        self.log(f"{stage}/distortion", torch.stack(list(shares.values())).mean())
        self.log_dict({f"{stage}/distortion/{vocab}": share for vocab, share in shares.items()})

    def tested(self, data: RecommenderData) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return nothing: what the test finds of each entity is not what a user sees."""
        return {}, {}

    def more(self, data: RecommenderData) -> dict[str, Any]:
        """Return how the semantic ids of each vocabulary are spread."""
        return {"semantic_ids": {vocab: told_of_codes(self, vocab) for vocab in self.quantizers}}

    def leave(self, folder: Path, data: RecommenderData) -> None:
        assert isinstance(data, VectorData)
        for vocab, quantizer in self.quantizers.items():
            write_semantic_ids(folder, self, vocab, data.ids[vocab])
            if isinstance(quantizer, DQVAE) and self.links:
                write_links(folder, self, vocab, data.ids[vocab], self.links, self.latent_links)

    def predictions(self, data: RecommenderData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Return nothing: VectorData gives nothing to predict."""
        return {}

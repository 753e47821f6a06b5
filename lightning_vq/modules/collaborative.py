"""Collaborative filtering: BPR training, full ranking and sampled-negative ranking of one held-out item per user."""

from typing import Any

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.losses import bpr, candidate_scores
from lightning_vq.metrics import Ranks, hit_ratio, ndcg, rank_of_first
from lightning_vq.modules.base import Recommender
from lightning_vq.types import EvalBatch, Output, Pairs


class CollaborativeFiltering(Recommender):
    """Ranks items for users.

    Metric names carry stage and protocol: `test/ndcg@10/full` ranks every item but those in the user's training
    history, `test/hr@10/uni99` the held-out item against 99 uniform negatives.

    Args:
        backbone: a pair scorer, BPRMF or LightGCN.
        lr, weight_decay, clip: see Recommender.
        ks: cut-offs of HR and NDCG.
        top_k: length of the lists that `predict` writes.
    """

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        ks: tuple[int, ...] = (5, 10),
        top_k: int = 10,
    ) -> None:
        super().__init__(backbone, lr, weight_decay, clip)
        if not ks or min(ks) < 1 or top_k < 1:
            raise UserError(f"model.init_args: ks is {list(ks)} and top_k {top_k}; all must be at least 1")
        self.ks, self.top_k = tuple(ks), top_k
        self.ranks: dict[str, Ranks] = {}  # by protocol, of the stage under way
        self.results: dict[str, tuple[Tensor, Tensor]] = {}  # cases and ranks by protocol, of the last stage done
        self._look: Lookup | None = None

    def metric_names(self, stage: str, protocols: list[str]) -> list[str]:
        """Return the names of every metric of a stage, `val/ndcg@10/full`."""
        return [f"{stage}/{metric}@{k}/{p}" for p in protocols for metric in ("hr", "ndcg") for k in self.ks]

    def loss(self, output: Output) -> Tensor:
        return bpr(candidate_scores(output))

    def ranks_of(self, look: Lookup, batch: EvalBatch) -> dict[str, Tensor]:
        """Return the rank (B,) of each held-out item by protocol; ties count against the model."""
        ranks = {}
        if batch.seen is not None:
            scores = self.score_all(look, batch)
            positive = scores.gather(1, batch.positives[:, None])
            ranks["full"] = (scores >= positive).sum(1)
        if batch.candidates is not None:
            items = torch.cat([batch.positives[:, None], batch.candidates], dim=1)  # (B, 1 + 99)
            scores = candidate_scores(self.backbone(look, Pairs(batch.users, items)))
            _refuse_nan(scores, "scores of sampled candidates")
            ranks[f"uni{batch.candidates.shape[1]}"] = rank_of_first(scores)
        return ranks

    def score_all(self, look: Lookup, batch: EvalBatch) -> Tensor:
        """Return the scores (B, N) of every item, -inf for those the user has seen."""
        output = self.backbone(look, Pairs(batch.users, None))
        assert batch.seen is not None
        for name, tensor in (("hidden", output.hidden), ("keys", output.keys), ("bias", output.bias)):
            _refuse_nan(tensor, name)
        if output.bias is None:
            scores = output.hidden @ output.keys.T
        else:
            scores = torch.addmm(output.bias, output.hidden, output.keys.T)
        if not torch.isfinite(scores.sum()):  # finite vectors may still overflow; cheaper than a look at each score
            raise UserError(f"evaluation stopped: scores {tuple(scores.shape)} hold NaN or infinity")
        row, item = batch.seen
        scores.view(-1).index_fill_(0, row * scores.shape[1] + item, -torch.inf)
        return scores

    def _evaluate(self, batch: EvalBatch) -> None:
        assert self._look is not None
        for protocol, ranks in self.ranks_of(self._look, batch).items():
            self.ranks.setdefault(protocol, Ranks().to(self.device)).update(batch.cases, ranks)

    def _start(self) -> None:
        self._look, self.ranks = self.lookup(), {}

    def _finish(self, stage: str) -> None:
        self._look = None
        self.results = {protocol: metric.compute() for protocol, metric in self.ranks.items()}
        for protocol, (_, ranks) in self.results.items():
            values = {f"{stage}/hr@{k}/{protocol}": hit_ratio(ranks, k).mean() for k in self.ks}
            values |= {f"{stage}/ndcg@{k}/{protocol}": ndcg(ranks, k).mean() for k in self.ks}
            self.log_dict(values)

    def on_validation_epoch_start(self) -> None:
        self._start()

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> STEP_OUTPUT:
        self._evaluate(batch)
        return None

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_start(self) -> None:
        self._start()

    def test_step(self, batch: EvalBatch, batch_idx: int) -> STEP_OUTPUT:
        self._evaluate(batch)
        return None

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def on_predict_epoch_start(self) -> None:
        self._start()

    def predict_step(self, batch: EvalBatch, batch_idx: int) -> Any:
        """Return users (B,), their top items (B, k) and scores (B, k); -inf where a user has fewer unseen items."""
        assert self._look is not None
        scores = self.score_all(self._look, batch)
        best = scores.topk(min(self.top_k, scores.shape[1]), dim=1)
        return batch.users, best.indices, best.values


def _refuse_nan(tensor: Tensor | None, name: str) -> None:
    if tensor is not None and not torch.isfinite(tensor).all():
        raise UserError(f"evaluation stopped: {name} {tuple(tensor.shape)} holds NaN or infinity")

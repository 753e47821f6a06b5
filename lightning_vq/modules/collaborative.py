"""Collaborative filtering: training on sampled or all items, full ranking and sampled-negative ranking.

Shapes: B users, P their held-out interactions, N items.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq import losses
from lightning_vq.backbones.base import Backbone
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.metrics import (
    MetricName,
    Ranks,
    Recommended,
    coverage,
    mean_popularity,
    rank_of,
    rank_of_first,
    refuse_bad,
)
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.categories import CategoryPlace
from lightning_vq.modules.predicted import recommendations
from lightning_vq.modules.ranking import (
    best_items,
    finite_scores,
    metrics_of_users,
    random_scorer,
    ranks_alone,
    refuse_nan,
    reported,
)
from lightning_vq.types import EvalBatch, Output, Pairs, Triples

Loss = Literal["bpr", "bce", "margin", "sampled_softmax", "softmax"]


class CollaborativeFiltering(Recommender):
    """Ranks items for users.

    Metric names carry stage and protocol: `test/ndcg@10/full` ranks every item but those in the user's training
    history, `test/hr@10/uni99` the held-out item against 99 uniform negatives. Of a user who holds out several items
    `full` makes one list, in which hr is whether any of them is within k; `uni99` ranks each against its own negatives,
    and the user's value is the mean over them: there the two hit rates are of different things. `alone` and `batch1024`
    rank each held-out item by itself against items that its user never touched (see `data/alone.py`); they are means
    over held-out items, not over users: DQRec's protocol. The test also tells what is recommended:
    `test/coverage@10/full`, the share of items in at least one user's list, and `test/popularity@10/full`, the mean
    training count of what stands in the lists.

    Args:
        backbone: how ids become scores.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term, see Recommender.
        clip: largest gradient norm, or none.
        categories: see Recommender.
        loss: "bpr", "bce" (binary cross-entropy), "margin" or "sampled_softmax" of the observed item against its
            negatives, or "softmax" over all items.
        margin: of the loss "margin".
        metrics: of "hr", "recall", "ndcg", "mrr", "map"; with one held-out item a user recall is hr and map is mrr.
        ks: their cut-offs.
        top_k: length of the lists that `predict` writes.
    """

    predicts: ClassVar[str] = "recommendations.parquet"

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        categories: dict[str, CategoryPlace] | None = None,
        loss: Loss = "bpr",
        margin: float = 1.0,
        metrics: tuple[MetricName, ...] = ("hr", "ndcg"),
        ks: tuple[int, ...] = (5, 10),
        top_k: int = 10,
    ) -> None:
        super().__init__(backbone, lr, weight_decay, clip, categories)
        refuse_bad(metrics, ks)
        if top_k < 1:
            raise UserError(f"model.init_args.top_k is {top_k}; it must be at least 1")
        if loss == "softmax" and ("triples" in backbone.needs or not backbone.inner_product):
            what = "trains on triples" if "triples" in backbone.needs else "has no product to form all scores by"
            raise UserError(f"{type(backbone).__name__} {what}: choose another model.init_args.loss than softmax")
        if margin != 1.0 and loss != "margin":
            raise UserError(f"model.init_args.margin is {margin}, but the loss is {loss!r}, which has none")
        self.loss, self.margin = loss, margin
        self.metrics, self.ks, self.top_k = tuple(metrics), tuple(ks), top_k
        self.ranks: dict[str, Ranks] = {}  # by protocol, of the stage under way
        self.recommended: Recommended | None = None  # of the test under way
        # (cases, users, ranks), each (P,), by protocol: of the last stage.
        self.results: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def monitors(self, data: RecommenderData) -> list[str]:
        assert isinstance(data, CollaborativeData)
        return self._names("val", data.protocol_names(data.val_protocols))

    def tests(self, data: RecommenderData) -> list[str]:
        assert isinstance(data, CollaborativeData)
        protocols = data.protocol_names(data.eval_protocols)
        lists = [f"test/{name}@{k}/full" for name in ("coverage", "popularity") for k in self.ks]
        return self._names("test", protocols) + (lists if "full" in protocols else [])

    def _names(self, stage: str, protocols: Sequence[str]) -> list[str]:
        return [f"{stage}/{metric}@{k}/{p}" for p in protocols for metric in self.metrics for k in self.ks]

    def check(self, data: RecommenderData) -> None:
        if not isinstance(data, CollaborativeData):
            raise UserError(f"CollaborativeFiltering is trained on CollaborativeData, not {type(data).__name__}")
        drawn = f"data.init_args.negatives ({data.negatives}) must be 1, negative_power ({data.negative_power}) 0"
        if data.negatives == 1 and not data.negative_power:
            return
        if "triples" in self.backbone.needs:
            raise UserError(
                f"{type(self.backbone).__name__} trains on triples, each with one other tail and head drawn uniformly: "
                + drawn
            )
        if self.loss == "softmax":
            raise UserError(f"the loss softmax is over all items: {drawn}")

    # -- training ----------------------------------------------------------------------------------------------------

    def scored(self, batch: Pairs | Triples) -> Pairs | Triples:
        """Return the batch, or its users with every item where the loss is over all of them."""
        return Pairs(batch.users, None) if self.loss == "softmax" and isinstance(batch, Pairs) else batch

    def task_loss(self, output: Output, batch: Pairs | Triples) -> Tensor:
        """Return the loss of a mini-batch."""
        if self.loss == "softmax":
            assert isinstance(batch, Pairs)
            assert batch.items is not None
            return losses.softmax(losses.all_scores(output), batch.items[:, 0])
        scores = losses.candidate_scores(output)
        if self.loss == "bpr":
            return losses.bpr(scores)
        if self.loss == "bce":
            return losses.binary_cross_entropy(scores)
        if self.loss == "margin":
            return losses.margin(scores, self.margin)
        return losses.sampled_softmax(scores, batch.log_q if isinstance(batch, Pairs) else None)

    # -- evaluation --------------------------------------------------------------------------------------------------

    def ranks_of(self, look: Lookup, batch: EvalBatch) -> dict[str, Tensor]:
        """Return the rank (P,) of each held-out item by protocol; ties count against the model."""
        ranks = {}
        if batch.seen is not None:
            scores = self.score_all(look, batch)
            if self.recommended is not None:
                self.recommended.update(best_items(scores, max(self.ks)))
            alone = len(batch.owners) == len(batch.users)  # each user holds out one
            pieces = zip(batch.owners.split(batch.piece), batch.positives.split(batch.piece))
            found = [rank_of(scores if alone else scores[owners], items) for owners, items in pieces]
            ranks["full"] = torch.cat(found)
        if batch.candidates is not None:
            items = torch.cat([batch.positives[:, None], batch.candidates], dim=1)  # (P, 1 + 99)
            found = []
            for users, part in zip(batch.users[batch.owners].split(batch.piece), items.split(batch.piece)):
                scores = losses.candidate_scores(self.backbone(look, Pairs(users, part)))
                refuse_nan(scores, "scores of sampled candidates")
                found.append(rank_of_first(scores))
            ranks[f"uni{batch.candidates.shape[1]}"] = torch.cat(found)
        return ranks | (self._ranks_alone(look, batch) if batch.alone is not None else {})

    def _ranks_alone(self, look: Lookup, batch: EvalBatch) -> dict[str, Tensor]:
        assert batch.alone is not None
        scores = finite_scores(self.backbone(look, Pairs(batch.users, None)))
        return ranks_alone(batch.alone, scores, batch.owners, batch.positives, batch.piece)

    def score_all(self, look: Lookup, batch: EvalBatch) -> Tensor:
        """Return the scores (B, N) of every item, -inf for those the user has seen."""
        scores = finite_scores(self.backbone(look, Pairs(batch.users, None)))
        assert batch.seen is not None
        row, item = batch.seen
        scores.view(-1).index_fill_(0, row * scores.shape[1] + item, -torch.inf)
        return scores

    def evaluate(self, batch: EvalBatch) -> None:
        assert self.look is not None
        for protocol, ranks in self.ranks_of(self.look, batch).items():
            metric = self.ranks.setdefault(protocol, Ranks().to(self.device))
            metric.update(batch.cases, batch.users[batch.owners], ranks)

    def begin(self, stage: str) -> None:
        assert self.facts is not None
        self.ranks = {}
        self.recommended = Recommended(self.ks, self.facts.rows["item"]).to(self.device) if stage == "test" else None

    def user_values(self, protocol: str) -> dict[str, Tensor]:
        """Return "ndcg@10" and so on of each user (U,) of the last stage, users rising."""
        _, users, ranks = self.results[protocol]
        return metrics_of_users(self.metrics, self.ks, protocol, users, ranks)

    def tested(self, data: RecommenderData) -> tuple[dict[str, Any], dict[str, Any]]:
        assert isinstance(data, CollaborativeData)
        assert data.raw is not None
        users, items = data.parts[TEST]
        ids = data.raw.user_ids
        cases: dict[str, Any] = {
            "user": ids.take(pa.array(users.numpy())),
            "item": data.raw.item_ids.take(pa.array(items.numpy())),
        }
        values: dict[str, Any] = {"user": ids.take(pa.array(torch.unique(users).numpy()))}
        for protocol, (found, _, ranks) in self.results.items():
            assert len(found) == len(users)
            cases[f"rank/{protocol}"] = ranks.cpu().numpy()
            metrics = self.user_values(protocol)
            values |= {f"{name}/{protocol}": value.cpu().numpy() for name, value in metrics.items()}
        return cases, values

    def more(self, data: RecommenderData) -> dict[str, Any]:
        assert isinstance(data, CollaborativeData)
        (users, _), asked = data.parts[TEST], data.protocol_names(data.eval_protocols)
        return random_scorer(asked, data.evaluation.batches(TEST), users, data.evaluation.known, self.ks)

    def predictions(self, data: RecommenderData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        assert isinstance(data, CollaborativeData)
        return recommendations(data, parts)

    def finish(self, stage: str) -> None:
        self.results = {protocol: metric.whole() for protocol, metric in self.ranks.items()}
        for protocol in self.results:
            values, users = self.user_values(protocol), self.results[protocol][1]
            told = {name: reported(protocol, users, value) for name, value in values.items()}
            self.log_dict({f"{stage}/{name}/{protocol}": value for name, value in told.items()})
        if self.recommended is not None and "full" in self.results:
            assert self.facts is not None
            counts = self.facts.counts["item"].to(self.device)
            for k, times in zip(self.ks, self.recommended.compute()):
                told = {"coverage": coverage(times), "popularity": mean_popularity(times, counts)}
                self.log_dict({f"{stage}/{name}@{k}/full": value for name, value in told.items()})

    def predict_step(self, batch: EvalBatch, batch_idx: int) -> Any:
        """Return users (B,), their top items (B, k) and scores (B, k); -inf where a user has fewer unseen items."""
        assert self.look is not None
        scores = self.score_all(self.look, batch)
        best = scores.topk(min(self.top_k, scores.shape[1]), dim=1)
        return batch.users, best.indices, best.values

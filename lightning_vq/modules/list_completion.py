"""List completion: the rest of a list from its first half, or the next item of a history.

Shapes: B lists, T items, N items in all, C candidates.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lightning_vq import losses
from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.lists import ListData
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.list_metrics import Completed, CompletionMetric, Completions, depth_by_depth
from lightning_vq.metrics import Ranks, rank_of, rank_of_first, refuse_bad
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.categories import CategoryPlace
from lightning_vq.modules.decoding import choices, given, next_hidden, whole_scores
from lightning_vq.modules.predicted import completions
from lightning_vq.modules.ranking import metrics_of_users, random_scorer, ranks_alone, reported
from lightning_vq.types import Block, Lists, Output

LIST, FULL = "list", "full"  # protocols
Loss = Literal["softmax", "sampled_softmax", "bce"]


class ListCompletion(Recommender):
    """Continues lists.

    With the data's protocol "halves" metrics are those of FANS: `test/ndcg@5/list` and `test/hr@5/list`, of the lists
    of which five or more items are to come, whose number is `test/n@5/list`. With "next" the one item held out is
    ranked among all, `test/ndcg@10/full` (but those of its history, unless `seen` lets them), and among sampled ones,
    `test/ndcg@10/uni99`. With "each" every held-out item of a history is ranked by itself, `test/hr@5/batch1024` and
    `test/hr@5/alone` (see CollaborativeFiltering).

    Args:
        backbone: how lists become predictions.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term, see Recommender.
        clip: largest gradient norm, or none.
        categories: see Recommender.
        loss: "softmax" over all items, or "sampled_softmax" or "bce" of each item against the data's negatives.
        warmup_steps: over which the learning rate rises from 0.
        metrics: "hr", "ndcg".
        ks: their cut-offs.
        top_k: items a list that `predict` writes.
        seen: whether items of a history are recommended again.
    """

    predicts: ClassVar[str] = "completions.parquet"

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        categories: dict[str, CategoryPlace] | None = None,
        loss: Loss = "softmax",
        warmup_steps: int = 0,
        metrics: tuple[CompletionMetric, ...] = ("hr", "ndcg"),
        ks: tuple[int, ...] = (5, 10),
        top_k: int = 10,
        seen: bool = False,
    ) -> None:
        super().__init__(backbone, lr, weight_decay, clip, categories)
        refuse_bad(metrics, ks)
        for key, value, least in (("top_k", top_k, 1), ("warmup_steps", warmup_steps, 0)):
            if value < least:
                raise UserError(f"model.init_args.{key} is {value}; it must be at least {least}")
        if not isinstance(backbone, ListBackbone):
            raise UserError(f"ListCompletion continues lists by a ListBackbone, not by {type(backbone).__name__}")
        if backbone.softmax_only and loss != "softmax":
            raise UserError(f"model.init_args.loss is {loss!r}; backbone.init_args.two_stage learns by 'softmax' alone")
        self.loss, self.warmup_steps = loss, warmup_steps
        self.metrics, self.ks, self.top_k, self.seen = tuple(metrics), tuple(ks), top_k, seen
        self.completed = Completed()  # of the stage under way, protocol "halves"
        self.ranks: dict[str, Ranks] = {}  # by protocol, of the stage under way, "next"
        self.completions: Completions | None = None  # of the last stage
        self.results: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # (cases, lists, ranks), each (B,), of it
        self.protocol = "halves"

    def monitors(self, data: RecommenderData) -> list[str]:
        assert isinstance(data, ListData)
        if data.protocol == "halves":
            protocols = [LIST]
        elif data.protocol == "next":
            protocols = [FULL, *([f"uni{data.eval_negatives}"] if data.eval_negatives else [])]
        else:
            protocols = [f"batch{data.eval_batch}", "alone"]
        return [f"val/{metric}@{k}/{p}" for p in protocols for metric in self.metrics for k in self.ks]

    def check(self, data: RecommenderData) -> None:
        if not isinstance(data, ListData):
            raise UserError(f"ListCompletion is trained on ListData, not {type(data).__name__}")
        if (self.loss == "softmax") != (data.negatives == 0):
            wants = "all items compete: it must be 0" if self.loss == "softmax" else "it must be at least 1"
            raise UserError(f"data.init_args.negatives is {data.negatives}, with the loss {self.loss!r} {wants}")

    # -- training ----------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        optimizer: Optimizer = super().configure_optimizers()
        if not self.warmup_steps:
            return optimizer
        schedule: LRScheduler = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / self.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, block: Block, batch_idx: int) -> None:
        # At each step: a run that is resumed within an epoch has no start of it.
        assert isinstance(self.backbone, ListBackbone)
        limits = ((self.current_epoch, self.trainer.max_epochs), (self.global_step, self.trainer.max_steps))
        self.backbone.progress = max((done / most for done, most in limits if most and most > 0), default=1.0)
        super().training_step(block, batch_idx)

    def task_loss(self, output: Output, batch: Lists) -> Tensor:
        """Return the loss of a mini-batch, a mean over predicted positions."""
        if self.loss == "softmax":
            assert isinstance(self.backbone, ListBackbone)
            assert output.hidden is not None
            assert output.keys is not None
            assert output.targets is not None
            return self.backbone.softmax(output.hidden, output.keys, output.bias, output.targets)
        scores = losses.candidate_scores(output)
        return losses.binary_cross_entropy(scores) if self.loss == "bce" else losses.sampled_softmax(scores, None)

    # -- evaluation --------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        self.completed.reset()
        self.ranks, self.completions, self.results = {}, None, {}
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.protocol = data.protocol if isinstance(data, ListData) else self.protocol

    def evaluate(self, batch: Lists) -> None:
        inputs, targets = given(batch.items, batch.known)
        if self.protocol == "halves":
            self.completed.update(batch.cases, self._candidates(batch, inputs, targets, max(self.ks)), targets)
            return
        held = targets[:, 0]
        if batch.alone is not None:
            assert batch.rows is not None
            scores, every = self._scores(inputs, None), torch.arange(len(held), device=held.device)
            for protocol, found in ranks_alone(batch.alone, scores, every, held, len(held)).items():
                self.ranks.setdefault(protocol, Ranks().to(self.device)).update(batch.rows, batch.cases, found)
            return
        scores = self._scores(inputs, batch.seen, but=held)
        ranks = {FULL: rank_of(scores, held)}
        if batch.candidates is not None:
            few = scores.gather(1, torch.cat([targets[:, :1], batch.candidates], 1))  # none of them was seen
            ranks[f"uni{batch.candidates.shape[1]}"] = rank_of_first(few)
        for protocol, found in ranks.items():
            self.ranks.setdefault(protocol, Ranks().to(self.device)).update(batch.cases, batch.cases, found)

    def _candidates(self, batch: Lists, inputs: Tensor, targets: Tensor, size: int) -> Tensor:
        """Return candidates (B, C) for the places of targets (B, P), after the given items (B, T) of lists."""
        assert self.look is not None
        assert isinstance(self.backbone, ListBackbone)
        counts = (targets >= 0).sum(1)
        return depth_by_depth(choices(self.backbone, self.look, inputs, counts, size, batch.creators), counts, size)

    def _scores(self, inputs: Tensor, seen: tuple[Tensor, Tensor] | None, but: Tensor | None = None) -> Tensor:
        """Return scores (B, N) of the next item.

        -inf stands for items of the history, shown or not, but the one (B,) that is held out.
        """
        assert self.look is not None
        assert isinstance(self.backbone, ListBackbone)
        keys = self.backbone.keys(self.look)  # of all items, before any vector that comes in
        scores = whole_scores(self.backbone, next_hidden(self.backbone, self.look, inputs), *keys)
        if not self.seen and seen is not None:
            kept = None if but is None else scores.gather(1, but[:, None])
            scores[seen] = -torch.inf
            if but is not None:
                scores.scatter_(1, but[:, None], kept)  # type: ignore[arg-type]
        return scores

    def finish(self, stage: str) -> None:
        if self.protocol == "halves":
            self.completions = self.completed.whole()
            lengths = self.completions.lengths
            counts = {f"n@{k}": (lengths >= k).sum().float() for k in self.ks}
            values = self.values(LIST)
            told = {name: value.nanmean() for name, value in values.items()} | counts
            if stage == "test":  # what no list has is not told; in validation it could be asked to choose an epoch
                told = {name: value for name, value in told.items() if not value.isnan()}
            self.log_dict({f"{stage}/{name}/{LIST}": value for name, value in told.items()})
            return
        self.results = {protocol: metric.whole() for protocol, metric in self.ranks.items()}
        for protocol in self.results:
            values, lists = self.values(protocol), self.results[protocol][1]
            told = {name: reported(protocol, lists, value) for name, value in values.items()}
            self.log_dict({f"{stage}/{name}/{protocol}": value for name, value in told.items()})

    def values(self, protocol: str) -> dict[str, Tensor]:
        """Return "ndcg@5" and so on of each list (B,) of the last stage, in the order of the data."""
        if protocol == LIST:
            assert self.completions is not None
            return self.completions.metrics(self.metrics, self.ks)
        _, lists, ranks = self.results[protocol]
        return metrics_of_users(self.metrics, self.ks, protocol, lists, ranks)

    def tested(self, data: RecommenderData) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the last test in original ids, lists standing for users; see Family.

        In the protocol "list" an item that is to come twice is one case, and its rank is its place among the
        candidates, N + 1 where it is none of them.
        """
        assert isinstance(data, ListData)
        lists, items = data.evaluation.pairs(TEST)
        cases: dict[str, Any] = {"user": data.list_ids(lists), "item": data.item_ids(items)}
        found = {LIST: self.completions} if self.completions is not None else self.results
        values: dict[str, Any] = {"user": data.list_ids(torch.unique(lists))}
        for protocol in found:
            if self.completions is None:
                ranks = self.results[protocol][2].cpu()
            else:
                assert self.facts is not None
                device = self.completions.cases.device
                ranks = self.completions.ranks(lists.to(device), items.to(device), self.facts.rows["item"] + 1).cpu()
            cases[f"rank/{protocol}"] = ranks.numpy()
            values |= {f"{name}/{protocol}": value.cpu().numpy() for name, value in self.values(protocol).items()}
        return cases, values

    def more(self, data: RecommenderData) -> dict[str, Any]:
        assert isinstance(data, ListData)
        if data.protocol != "each":
            return {}
        assert data.evaluation.known is not None
        (lists, _), asked = data.evaluation.pairs(TEST), [f"batch{data.eval_batch}", "alone"]
        return random_scorer(asked, data.evaluation.batches(TEST), lists, data.evaluation.known, self.ks)

    def predict_step(self, batch: Lists, batch_idx: int) -> Any:
        """Return cases (B,) and items (B, C), -1 after the last; of one next item scores (B, C) too."""
        inputs, targets = given(batch.items, batch.known)
        if self.protocol == "halves":
            return batch.cases, self._candidates(batch, inputs, targets, self.top_k)
        scores = self._scores(inputs, batch.seen)
        best = scores.topk(min(self.top_k, scores.shape[1]), dim=1)
        return batch.cases, torch.where(best.values > -torch.inf, best.indices, -1), best.values

    def predictions(self, data: RecommenderData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        assert isinstance(data, ListData)
        return completions(data, parts)

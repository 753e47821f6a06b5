"""Click-through rate: the chance that a row of fields is clicked.

Shapes: B batch, E rows of a stage, P clicked rows, G groups.
"""

from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_vq.backbones.base import Backbone
from lightning_vq.click_metrics import (
    Calibration,
    Scored,
    Scores,
    auc,
    calibration,
    clicked_ranks,
    grouped_auc,
    log_loss,
)
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.ctr import ClickThroughData
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.metrics import MetricName, refuse_bad, user_metrics
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.categories import CategoryPlace
from lightning_vq.types import Output, Samples


class ClickThroughRate(Recommender):
    """Predicts clicks.

    Metrics of a stage: `test/auc`, `test/logloss` (nats a row), `test/ece` (expected calibration error) and, where the
    schema names a group, `test/gauc/<group>` (AUC within groups, weighted by rows) and `test/ndcg@5/<group>` and so on:
    the rows of a group ranked by their scores, over groups with a click.

    Args:
        backbone: how fields become a logit.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term, see Recommender.
        clip: largest gradient norm, or none.
        categories: see Recommender.
        metrics: of "hr", "recall", "ndcg", "mrr", "map", within groups.
        ks: their cut-offs.
        bins: of the calibration.
    """

    predicts: ClassVar[str] = "predictions.parquet"

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        categories: dict[str, CategoryPlace] | None = None,
        metrics: tuple[MetricName, ...] = ("hr", "ndcg"),
        ks: tuple[int, ...] = (1, 5, 10),
        bins: int = 20,
    ) -> None:
        super().__init__(backbone, lr, weight_decay, clip, categories)
        refuse_bad(metrics, ks)
        if bins < 1:
            raise UserError(f"model.init_args.bins is {bins}; it must be at least 1")
        self.metrics, self.ks, self.bins = tuple(metrics), tuple(ks), bins
        self.scores = Scored()  # of the stage under way
        self.calibration: Calibration | None = None  # of the last stage
        self.results: Scores | None = None  # of it
        self.group: str | None = None

    def monitors(self, data: RecommenderData) -> list[str]:
        assert isinstance(data, ClickThroughData)
        group = data.group()
        ranking = [] if group is None else [f"val/{m}@{k}/{group}" for m in self.metrics for k in self.ks]
        return ["val/auc", *([] if group is None else [f"val/gauc/{group}"]), *ranking]

    def tests(self, data: RecommenderData) -> list[str]:
        return [*super().tests(data), "test/logloss", "test/ece"]

    def check(self, data: RecommenderData) -> None:
        if not isinstance(data, ClickThroughData):
            raise UserError(f"ClickThroughRate is trained on ClickThroughData, not {type(data).__name__}")

    # -- training ----------------------------------------------------------------------------------------------------

    def task_loss(self, output: Output, batch: Samples) -> Tensor:
        """Return the binary cross-entropy of a mini-batch."""
        assert output.scores is not None
        return binary_cross_entropy_with_logits(output.scores, batch.labels)

    # -- evaluation --------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        self.scores.reset()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.group = data.group() if isinstance(data, ClickThroughData) else None

    def evaluate(self, batch: Samples) -> None:
        groups = batch.groups if batch.groups is not None else torch.zeros_like(batch.cases)
        self.scores.update(batch.cases, self._logits(batch), batch.labels, groups)

    def _logits(self, batch: Samples) -> Tensor:
        assert self.look is not None
        logits: Tensor | None = self.backbone(self.look, batch).scores
        assert logits is not None
        if not torch.isfinite(logits).all():
            raise UserError(f"evaluation stopped: logits {tuple(logits.shape)} hold NaN or infinity")
        return logits

    def finish(self, stage: str) -> None:
        self.results = self.scores.whole()
        _, logits, labels, _ = self.results
        self.calibration = calibration(logits, labels, self.bins)
        found = {"auc": auc(logits, labels), "logloss": log_loss(logits, labels), "ece": self.calibration.error()}
        if self.group is not None:
            found[f"gauc/{self.group}"] = grouped_auc(*self._grouped()[1:])
            values = self.group_values()[1]
            found |= {f"{name}/{self.group}": value.mean() for name, value in values.items()}
        self.log_dict({f"{stage}/{name}": value.to(self.device) for name, value in found.items()})

    def group_values(self) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        """Return place, group and rank (P,) of each clicked row of the last stage, and "ndcg@5" of each group (G,)."""
        kept, *grouped = self._grouped()
        places, of, ranks = clicked_ranks(*grouped)
        return (kept[places], of, ranks), user_metrics(self.metrics, self.ks, of, ranks, one_list=True)

    def _grouped(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return place, logit, label and group of the last stage's rows that have one: others are not ranked."""
        assert self.results is not None
        _, logits, labels, groups = self.results
        kept = (groups >= 0).nonzero().squeeze(1)
        return kept, logits[kept], labels[kept], groups[kept]

    def tested(self, data: RecommenderData) -> tuple[dict[str, Any], dict[str, Any]]:
        assert isinstance(data, ClickThroughData)
        assert self.results is not None
        ids = data.group_ids()
        if self.group is None or ids is None:
            return {}, {}
        (places, of, ranks), values = self.group_values()
        cases = {
            "user": ids.take(pa.array(of.cpu().numpy())),
            "row": pa.array(self.results.cases[places].cpu().numpy()),
            **data.test_ids("item", places.cpu()),
            f"rank/{self.group}": ranks.cpu().numpy(),
        }
        users: dict[str, Any] = {"user": ids.take(pa.array(torch.unique(of).cpu().numpy()))}
        return cases, users | {f"{name}/{self.group}": value.cpu().numpy() for name, value in values.items()}

    def more(self, data: RecommenderData) -> dict[str, Any]:
        """Return the bins of the calibration, and the share of test rows whose value training does not have."""
        assert isinstance(data, ClickThroughData)
        assert self.calibration is not None
        filled = self.calibration.rows > 0
        bins = {name: column[filled].tolist() for name, column in self.calibration._asdict().items()}
        return {"calibration": bins, "unknown": data.unknown(TEST)}

    def predict_step(self, batch: Samples, batch_idx: int) -> Any:
        """Return cases (B,), their chances of a click (B,) and labels (B,)."""
        return batch.cases, torch.sigmoid(self._logits(batch)), batch.labels

    def predictions(self, data: RecommenderData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Return a row of test: its place in the table (0 is the first), its chance of a click, its label."""
        rows, chances, labels = (torch.cat(column).numpy() for column in zip(*parts))
        return {"row": rows, "chance": chances, "label": labels}

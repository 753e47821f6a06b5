"""Item-to-item regression: how relevant one item is to another, told as a score.

Kang et al., "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features in Recommender Systems",
WWW Companion 2020, section 5.3, task 3: a model of interactions, such as GMF, under a squared loss. Any backbone that
needs pairs alone will do: it scores the related item for the item that is asked about as it would an item for a user.

Departure: scores are centred and scaled by their mean and deviation in training, since the paper says nothing of how a
GMF without a bias meets them; predictions and metrics are in the scores' own units.

Shapes: B batch, E pairs of a stage, U items that are asked about.
"""

from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq import losses
from lightning_vq.backbones.base import Backbone
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.relevance import SCORE, RelevanceData
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.categories import CategoryPlace
from lightning_vq.regression_metrics import Predicted, Predictions, mae, rmse, user_mse
from lightning_vq.types import Output, Pairs, ScoredPairs


class RelevanceRegression(Recommender):
    """Predicts the score of a pair.

    Metrics of a stage: `test/rmse` and `test/mae`. The test also has `test/rmse_of_mean`, what predicting the mean
    training score for every pair comes to, and `test/mse/user`: the mean squared error of each item that is asked
    about, meant over these items, each of which counts alike.

    Args:
        backbone: how a pair becomes a score.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term, see Recommender.
        clip: largest gradient norm, or none.
        categories: see Recommender.
    """

    predicts: ClassVar[str] = "relevance.parquet"

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        categories: dict[str, CategoryPlace] | None = None,
    ) -> None:
        super().__init__(backbone, lr, weight_decay, clip, categories)
        self.predicted = Predicted()  # of the stage under way
        self.results: Predictions | None = None  # of the last stage

    def monitors(self, data: RecommenderData) -> list[str]:
        return ["val/rmse", "val/mae"]

    def tests(self, data: RecommenderData) -> list[str]:
        return [*super().tests(data), "test/rmse_of_mean", "test/mse/user"]

    def check(self, data: RecommenderData) -> None:
        if not isinstance(data, RelevanceData):
            raise UserError(f"RelevanceRegression is trained on RelevanceData, not {type(data).__name__}")

    # -- training ----------------------------------------------------------------------------------------------------

    def scored(self, batch: ScoredPairs) -> Pairs:
        """Return each item with its related one as the only candidate."""
        return Pairs(batch.users, batch.items[:, None])

    def task_loss(self, output: Output, batch: ScoredPairs) -> Tensor:
        """Return the squared error of a mini-batch, in deviations of the training scores."""
        mean, deviation = self._moments()
        targets = ((batch.scores - mean) / deviation).float()
        return losses.squared_error(losses.candidate_scores(output)[:, 0], targets)

    def _moments(self) -> tuple[float, float]:
        """Return the mean and deviation of the training scores."""
        assert self.facts is not None
        return self.facts.moments[SCORE]

    # -- evaluation --------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        self.predicted.reset()

    def evaluate(self, batch: ScoredPairs) -> None:
        self.predicted.update(batch.cases, batch.users, self.predict(batch), batch.scores)

    def predict(self, batch: ScoredPairs) -> Tensor:
        """Return the predicted scores (B,) float64, in the units of the data."""
        assert self.look is not None
        scores = losses.candidate_scores(self.backbone(self.look, self.scored(batch)))[:, 0]
        if not torch.isfinite(scores).all():
            raise UserError(f"evaluation stopped: predictions {tuple(scores.shape)} hold NaN or infinity")
        mean, deviation = self._moments()
        return mean + deviation * scores.double()

    def finish(self, stage: str) -> None:
        self.results = self.predicted.whole()
        _, users, predictions, scores = self.results
        found = {"rmse": rmse(predictions, scores), "mae": mae(predictions, scores)}
        if stage == "test":
            mean = torch.full_like(scores, self._moments()[0])
            found |= {"rmse_of_mean": rmse(mean, scores), "mse/user": user_mse(predictions, scores, users).mean()}
        self.log_dict({f"{stage}/{name}": value.to(self.device) for name, value in found.items()})

    def tested(self, data: RecommenderData) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the last test in original ids; see Family. Users are the items that are asked about.

        Of a case the first has row (its place in the table, 0 is the first), prediction, score and squared_error.
        """
        assert isinstance(data, RelevanceData)
        assert self.results is not None
        by_user = torch.argsort(self.results.users, stable=True)
        found, users, predictions, scores = (column[by_user].cpu() for column in self.results)
        asked, related, rows = data.original(found)
        cases = {
            "user": asked,
            "row": rows,
            "item": related,
            "prediction": predictions.numpy(),
            "score": scores.numpy(),
            "squared_error": (predictions - scores).square().numpy(),
        }
        last = torch.unique_consecutive(users, return_counts=True)[1].cumsum(0) - 1  # case of each
        values = {"user": asked.take(pa.array(last.numpy())), "mse/user": user_mse(predictions, scores, users).numpy()}
        return cases, values

    def more(self, data: RecommenderData) -> dict[str, Any]:
        """Return the share of test pairs whose items training does not have and, where it is known, the best RMSE."""
        assert isinstance(data, RelevanceData)
        best = data.best_rmse()
        return {"unseen": data.unseen(TEST)} | ({} if best is None else {"best_rmse": best})

    def predict_step(self, batch: ScoredPairs, batch_idx: int) -> Any:
        """Return cases (B,), predictions (B,) and scores (B,)."""
        return batch.cases, self.predict(batch), batch.scores

    def predictions(self, data: RecommenderData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Return a row per pair of test: its place in the table (0 is the first), both items, prediction, score."""
        assert isinstance(data, RelevanceData)
        cases, predictions, scores = (torch.cat(column) for column in zip(*parts))
        asked, related, rows = data.original(cases)
        columns = {"row": rows, "item": asked, "related": related}
        return columns | {"prediction": predictions.numpy(), "score": scores.numpy()}

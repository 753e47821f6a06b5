"""What a family of tasks says of itself: its loss, its metrics, what it writes; and Lightning's hooks for them."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from lightning_vq.data.base import RecommenderData
from lightning_vq.lookup import Lookup
from lightning_vq.types import Output


class Family(LightningModule, ABC):
    """A task: collaborative filtering, click-through rate, relevance regression, list completion."""

    predicts: ClassVar[str]  # name of the file that `predict` writes; empty: it predicts nothing
    then: ClassVar[str] = "predict --run {run}"  # what a user may want next of a finished run

    def __init__(self) -> None:
        super().__init__()
        self.look: Lookup | None = None  # the tables, as the stage under way sees them

    @abstractmethod
    def lookup(self) -> Lookup:
        """Return a fresh view of the tables."""

    @abstractmethod
    def task_loss(self, output: Output, batch: Any) -> Tensor:
        """Return the task's loss of one mini-batch, a mean over its rows."""

    @abstractmethod
    def monitors(self, data: RecommenderData) -> list[str]:
        """Return the validation metrics by which the best epoch can be chosen."""

    def tests(self, data: RecommenderData) -> list[str]:
        """Return the test metrics that a table may have as columns."""
        return [name.replace("val/", "test/", 1) for name in self.monitors(data)]

    @abstractmethod
    def check(self, data: RecommenderData) -> None:
        """Refuse data that this model cannot be trained on, before it is read.

        Raises:
            UserError: with the key.
        """

    @abstractmethod
    def begin(self, stage: str) -> None:
        """Forget the last stage; `stage` is "val", "test" or "predict"."""

    @abstractmethod
    def evaluate(self, batch: Any) -> None:
        """Take in a batch of validation or test."""

    @abstractmethod
    def finish(self, stage: str) -> None:
        """Log the metrics of a stage, "val" or "test"."""

    @abstractmethod
    def tested(self, data: RecommenderData) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the last test in original ids.

        The first has user, item (or row) and `rank/<protocol>`, or `squared_error`, of every held-out case, the second
        user and `<metric>@<k>/<protocol>`, or `mse/user`, of every user; both by rising number of the user.
        """

    def more(self, data: RecommenderData) -> dict[str, Any]:
        """Return what else metrics.json is to tell of the last test."""
        return {}

    def leave(self, folder: Path, data: RecommenderData) -> None:
        """Write what else a run of this family leaves in its folder, once it is tested."""

    @abstractmethod
    def predictions(self, data: RecommenderData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Return what `predict_step` made of all batches, in original ids."""

    def scored(self, batch: Any) -> Any:
        """Return what the backbone scores in training."""
        return batch

    # -- Lightning's hooks -------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._begin("val")

    def validation_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        self.evaluate(batch)
        return None

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_start(self) -> None:
        self._begin("test")

    def test_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        self.evaluate(batch)
        return None

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def on_predict_epoch_start(self) -> None:
        self._begin("predict")

    def _begin(self, stage: str) -> None:
        self.look = self.lookup()
        self.begin(stage)

    def _finish(self, stage: str) -> None:
        self.look = None
        self.finish(stage)

"""Our Trainer: Lightning's, with tables and quantizers made before any process is launched."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender


def prepare(model: LightningModule, datamodule: Any, callbacks: Iterable[Callback]) -> None:
    """Read the data, make the tables, attach the quantizers. A second call changes nothing."""
    if isinstance(model, Recommender) and isinstance(datamodule, RecommenderData):
        model.check(datamodule)
        datamodule.prepare_data()
        datamodule.setup("fit")
        model.build(datamodule.facts())
        for callback in callbacks:
            if isinstance(callback, QuantizationCallback):
                callback.attach(model)


def refuse_accumulation(batches: int) -> None:
    """Refuse what Lightning would accept and we would ignore."""
    if batches != 1:
        raise UserError(f"trainer.accumulate_grad_batches={batches}: not supported, a block steps once per mini-batch")


class Trainer(LightningTrainer):
    """Lightning's Trainer.

    Strategies that spawn or fork (ddp_spawn, ddp_fork, ddp_notebook) train a copy of the model: what is attached
    only there is lost to the caller. So `fit` prepares the model first.
    """

    def fit(  # type: ignore[override]
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        **options: Any,
    ) -> None:
        """Train a model on a datamodule."""
        refuse_accumulation(self.accumulate_grad_batches)
        if isinstance(self.strategy, DDPStrategy):
            # Every buffer of ours is the same on all ranks by construction; broadcasting costs a collective a step.
            self.strategy._ddp_kwargs.setdefault("broadcast_buffers", False)
        if isinstance(self.strategy, ModelParallelStrategy):
            self.strategy._save_distributed_checkpoint = False  # a checkpoint of ours is one file that opens alone
        prepare(model, datamodule, self.callbacks)  # type: ignore[attr-defined]
        if isinstance(self.strategy, ModelParallelStrategy) and isinstance(model, Recommender):
            model.keep_random_state()
        super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, **options)
        if isinstance(model, Recommender):
            model.gather()

"""Our Trainer: Lightning's, with tables and quantizers made before any process is launched."""

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.strategies import DDPStrategy

from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.errors import UserError
from lightning_vq.modules.base import HasFacts, Recommender


class Trainer(LightningTrainer):
    """Lightning's Trainer.

    Strategies that spawn or fork (ddp_spawn, ddp_fork, ddp_notebook) train a copy of the model: what is attached
    only there is lost to the caller. So `fit` sets the data up, builds the tables and attaches the quantizers first.
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
        if self.accumulate_grad_batches != 1:
            raise UserError("trainer.accumulate_grad_batches is not supported: a block steps once per mini-batch")
        if isinstance(self.strategy, DDPStrategy):
            # Every buffer of ours is the same on all ranks by construction; broadcasting costs a collective a step.
            self.strategy._ddp_kwargs.setdefault("broadcast_buffers", False)
        if isinstance(model, Recommender) and isinstance(datamodule, HasFacts):
            datamodule.prepare_data()  # type: ignore[attr-defined]
            datamodule.setup("fit")  # type: ignore[attr-defined]
            model.build(datamodule.facts())
            for callback in self.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, QuantizationCallback):
                    callback.attach(model)
        super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, **options)

"""The two checkpoints of a run, the last epoch and the best by a validation metric, and when to stop waiting for it.

Neither best nor patience counts the epochs in which a quantizer has yet to start: they are the base model's.
"""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_vq.direction import mode
from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender


class LastCheckpoint(ModelCheckpoint):
    """Writes a checkpoint after every epoch. Lightning's `save_last` does so only in epochs that are the best so far.

    Args:
        folder: of the run.
        name: of the checkpoint, without .ckpt.
    """

    def __init__(self, folder: Path, name: str = "last") -> None:
        super().__init__(folder, name, save_on_train_epoch_end=True, enable_version_counter=False)
        self.name = name

    @property
    def state_key(self) -> str:
        """Return what tells two of them apart in a checkpoint."""
        return f"{type(self).__qualname__}{{{self.name}}}"


class BestCheckpoint(ModelCheckpoint):
    """Writes best.ckpt; a run folder that was moved goes on with its best score, which Lightning would forget.

    Args:
        folder: of the run.
        monitor: validation metric.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode=mode(monitor),
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if warming_up(pl_module):
            return
        value = trainer.callback_metrics.get(str(self.monitor))
        if value is not None and value.isnan():  # an AUC within groups of which none has both labels
            why = ""
            if str(self.monitor).endswith("/list"):
                why = ": no list there has so many items to come, see model.init_args.ks"
            raise UserError(f"{self.monitor} is not defined on the validation data{why}; choose another --monitor")
        super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = self.folder.absolute()
        best = here / "best.ckpt"
        if best.is_file() and state_dict["best_model_path"]:
            moved = {"dirpath": str(here), "best_model_path": str(best), "kth_best_model_path": str(best)}
            state_dict = {**state_dict, **moved, "best_k_models": {str(best): state_dict["best_model_score"]}}
            self.dirpath = str(here)
        super().load_state_dict(state_dict)


class Patience(EarlyStopping):
    """Stops after some epochs without a better one.

    Args:
        monitor: validation metric.
        patience: epochs.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        super().__init__(monitor, patience=patience, mode=mode(monitor))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})  # the config's, not the checkpoint's

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:  # a run that had stopped: Lightning would train one epoch more
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not warming_up(pl_module):
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not warming_up(pl_module):
            super().on_train_epoch_end(trainer, pl_module)


def warming_up(module: LightningModule) -> bool:
    """Return whether a quantizer has yet to start: what is measured is the base model's."""
    return isinstance(module, Recommender) and module.warming_up

"""What a run tells W&B beyond Lightning's metrics: code histograms, trees, example users, artifacts, summaries.

One W&B run a job, on rank 0. Inactive where `trainer.logger` is no WandbLogger.
"""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from lightning_vq.callbacks.health import MOST_LEVELS, table_codes
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.splits import TEST, TRAIN
from lightning_vq.direction import mode
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.runs import read_json

HISTORY = 5  # items of a user's history that are shown


class WandbRun(Callback):
    """Logs `usage/<table>/level<i>` each epoch; at the end `tree/<table>`, `recommendations` and the artifacts.

    Args:
        users: example users, whose history, held-out item and recommendations are logged as a table.
        trees: log the pages of the trees, 5 MB each.
        checkpoint: put best.ckpt into the artifact of the run, beside its config, metrics and trees.
    """

    def __init__(self, users: int = 10, trees: bool = True, checkpoint: bool = False) -> None:
        self.users, self.trees, self.checkpoint = users, trees, checkpoint

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        run, data = _run(trainer), trainer.datamodule  # type: ignore[attr-defined]
        if run is None or not isinstance(pl_module, Recommender):
            return
        # By name: of overlapping patterns, Lightning's "*" among them, W&B takes any.
        run.define_metric("epoch")
        run.define_metric("samples_per_second", step_metric="epoch", summary="mean")
        for name in pl_module.monitors(data):
            run.define_metric(name, step_metric="epoch", summary=mode(name))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
            return
        assert isinstance(pl_module, Recommender)
        found = table_codes(pl_module)  # on all ranks: each may have a share of the rows
        run = _run(trainer)
        if run is None:
            return
        import wandb

        counts = {}
        for name, codes in found.items():
            uses: Any = pl_module.quantizers[name].codebook_uses(codes)  # type: ignore[operator]
            for i, (_, column, size) in enumerate(uses[:MOST_LEVELS]):
                entities = torch.bincount(column, minlength=size).cpu()
                counts[f"usage/{name}/level{i + 1}"] = wandb.Histogram(entities.tolist())
        if counts:
            run.log({"epoch": trainer.current_epoch, "trainer/global_step": trainer.global_step, **counts})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        run = _run(trainer)
        if run is not None:
            run.finish(exit_code=1)

    def finish(self, trainer: Trainer, module: Recommender, data: RecommenderData, folder: Path) -> None:
        """End the W&B run of a run folder that is complete, or that a sweep has stopped early.

        Args:
            trainer: with or without a WandbLogger.
            module: at its best epoch.
            data: that it was trained on.
            folder: of the run.
        """
        run = _run(trainer)
        if run is None:
            return
        import wandb

        summary = read_json(folder / "metrics.json")
        run.summary.update({key: summary[key] for key in ("state", "epochs", "seconds", "bytes") if key in summary})
        if summary["state"] == "finished":
            run.summary.update({**summary["test"], "best_epoch": summary["best"]["epoch"]})
            shown: dict[str, Any] = {}
            if self.users and isinstance(module, CollaborativeFiltering) and isinstance(data, CollaborativeData):
                shown["recommendations"] = wandb.Table(**examples(module, data, self.users))
            pages = sorted((folder / "tree").glob("*.html")) if self.trees else []
            shown |= {f"tree/{page.stem}": wandb.Html(str(page)) for page in pages}
            if shown:
                run.log(shown)
            artifact = wandb.Artifact(f"run-{run.id}", type="run", metadata={"version": summary["version"]})
            files = [folder / "config.yaml", folder / "metrics.json", *sorted((folder / "tree").glob("*.json"))]
            for path in [*files, folder / "best.ckpt"] if self.checkpoint else files:
                artifact.add_file(str(path), str(path.relative_to(folder)))
            run.log_artifact(artifact)
        run.finish()


def _run(trainer: Trainer) -> Any:
    """Return the W&B run of a trainer, on rank 0 and where it logs to W&B."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    return loggers[0].experiment if loggers and trainer.is_global_zero else None


@torch.no_grad()
def examples(module: CollaborativeFiltering, data: CollaborativeData, users: int) -> dict[str, Any]:
    """Return columns and rows of a table of the first users: history, held-out item and top items by title or id."""
    assert data.raw is not None
    known = data.raw.item_metadata
    ids = data.raw.item_ids

    def told(item: int) -> str:
        return (known.titles[item] if known else "") or str(ids[item].as_py())

    batch = next(iter(data.predict_dataloader()))
    users = min(users, len(batch.users))
    device = module.device
    seen = (batch.seen[0].to(device), batch.seen[1].to(device)) if batch.seen is not None else None
    batch = batch._replace(users=batch.users.to(device), seen=seen)
    module.eval()
    module.on_predict_epoch_start()
    _, top, _ = module.predict_step(batch, 0)
    rows = []
    for user, items in enumerate(top[:users].tolist()):
        history, held = (
            data.parts[part][1][data.parts[part][0] == user].tolist() for part in (TRAIN, TEST)
        )  # fmt: skip
        place = next((i + 1 for i, item in enumerate(items) if item in held), None)
        name = str(data.raw.user_ids[user].as_py())
        rows.append([name, *("; ".join(map(told, some)) for some in (history[-HISTORY:], held, items)), place])
    return {"columns": ["user", "history", "held out", "recommended", "place of held out"], "data": rows}

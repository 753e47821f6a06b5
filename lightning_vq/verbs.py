"""What the Trainer verbs do: fit, validate, test, predict."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.cli import LightningCLI

from lightning_vq.baseline import train_baseline
from lightning_vq.callbacks.artifacts import Artifacts
from lightning_vq.callbacks.history import History, read_history
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.wandb_run import WandbRun
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError
from lightning_vq.figures import draw, draw_calibration
from lightning_vq.modules.base import Recommender
from lightning_vq.report import show
from lightning_vq.run_config import to_keep
from lightning_vq.runs import QUIET, STAGE, TRIAL, read_json, write_json
from lightning_vq.trainer import Trainer


class Verbs(LightningCLI):
    """Runs what the config has made."""

    model: Recommender
    datamodule: RecommenderData
    trainer: Trainer
    run_folder: Path | None
    pruned: bool
    # Of fit:
    interrupt: Interrupt
    history: History
    artifacts: Artifacts
    wandb: WandbRun

    def config_text(self) -> str:
        """Return config.yaml of the run folder."""
        config = to_keep(self.config[str(self.subcommand)])
        return str(self._parser(self.subcommand).dump(config, skip_none=False))

    def fit(self, **options: Any) -> None:
        """Train, test the best epoch, write the run folder, train the plain base model, compare."""
        assert self.run_folder is not None
        folder = self.run_folder
        for logger in self.trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self.config_text()))
        if QUIET not in os.environ and self.trainer.is_global_zero:
            print(self.datamodule.told(self.model.backbone.needs), flush=True)
        try:
            folder = self._train_and_test(folder, options)
        except UserError:
            if (folder / "last.ckpt").is_file() and self.trainer.is_global_zero:
                print(f"Run folder: {folder}")
            raise
        except (SystemExit, KeyboardInterrupt):  # Lightning ends what was interrupted by an exit
            if not {QUIET, STAGE} & os.environ.keys() and self.trainer.is_global_zero:
                print(f"Stopped. To go on: python -m lightning_vq fit --run {folder}", file=sys.stderr)
            raise
        if not self.trainer.is_global_zero:
            return
        self.wandb.finish(self.trainer, self.model, self.datamodule, folder)
        if self.pruned:
            return
        wanted = self._get(self.config, "baseline") and self.model.quantizers
        base = train_baseline(folder) if wanted else None
        rows = read_history(base) if base else None
        if TRIAL not in os.environ:  # a sweep draws those of its best trials
            draw(folder / "figures", self.history.rows, self._get(self.config, "monitor"), rows)
            told = {"quantized" if base or self.model.quantizers else "this run": folder}
            told |= {"base": base} if base else {}
            bins = {name: read_json(run / "metrics.json").get("calibration") for name, run in told.items()}
            if any(bins.values()):
                draw_calibration(folder / "figures" / "calibration.png", bins)
        if QUIET not in os.environ:
            show(folder, base, f"{type(self.model.backbone).__name__} on {self.datamodule.source}")
            print(f"Run folder: {folder}")
            for page in sorted((folder / "tree").glob("*.html")):
                print(f"Learned tree, for a browser: {page}")
            print(f"Next: python -m lightning_vq {self._then(folder)}")
            smaller = any(quantizer.replaces for quantizer in self.model.quantizers.values())
            if smaller and not self.model.given and "timed" not in self.model.backbone.needs:
                print(f"To serve it: python -m lightning_vq export --run {folder} --out served")

    def _train_and_test(self, folder: Path, options: dict[str, Any]) -> Path:
        """Return the run folder, filled; on torchrun's ranks it is the one that rank 0 has chosen."""
        self.trainer.fit(**options)
        if self.interrupt.asked:  # in the very last block: training has ended by itself
            raise KeyboardInterrupt
        pruned = TRIAL in os.environ and self.artifacts.unfinished() == "pruned"
        # Rank 0 knows: torchrun's ranks each chose a folder.
        told, self.pruned = self.trainer.strategy.broadcast((str(folder), pruned))
        folder = Path(told)
        if self.pruned:
            return folder
        if not self.history.rows and (folder / "last.ckpt").is_file():
            # The ranks of ddp_fork and ddp_spawn are gone; what they recorded is in their checkpoint.
            states = torch.load(folder / "last.ckpt", weights_only=True, mmap=True)["callbacks"]
            self.history.load_state_dict(states[self.history.state_key])
        best = folder / "best.ckpt"
        best = best if best.is_file() else folder / "last.ckpt"
        if not best.is_file():
            raise UserError(f"nothing was trained: trainer.max_epochs is {self.trainer.max_epochs}")
        weights = torch.load(best, weights_only=True, mmap=True)
        # Loaded here: given as ckpt_path it would set the callbacks back to the best epoch as well.
        self.model.load_state_dict(weights["state_dict"])
        began = time.perf_counter()
        test = self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)[0]
        seconds = time.perf_counter() - began
        if self.trainer.is_global_zero:
            most = self.trainer.max_epochs
            self.artifacts.write(self.model, self.datamodule, weights["epoch"], most, dict(test), seconds)
        return folder

    def validate(self, **options: Any) -> None:
        """Evaluate a checkpoint on the dev part."""
        self._evaluate("validate", self.trainer.validate(**{**options, "verbose": False}))

    def test(self, **options: Any) -> None:
        """Evaluate a checkpoint on the test part; per-user metrics are written beside it."""
        self._evaluate("test", self.trainer.test(**{**options, "verbose": False}))

    def _then(self, folder: Path) -> str:
        """Return the command that follows a run."""
        named = list(self.model.quantizers or self._get(self.config, "quantization.quantizers") or {})  # not built yet
        return self.model.then.format(run=folder, vocabulary="".join(named[-1:]))

    def _evaluate(self, verb: str, results: Any) -> None:
        if not self.trainer.is_global_zero:
            return
        assert self.run_folder is not None
        write_json(self.run_folder / f"{verb}.json", dict(results[0]))
        for name, value in results[0].items():
            print(f"{name:28} {value:.4f}")
        print(f"Written: {self.run_folder / f'{verb}.json'}")

    def predict(self, **options: Any) -> None:
        """Write the best items of every user, or the chance of every row."""
        if not self.model.predicts:
            assert self.run_folder is not None
            raise UserError(
                f"{type(self.model).__name__} recommends nothing: python -m lightning_vq {self._then(self.run_folder)}"
            )
        self.trainer.predict(**{**options, "return_predictions": False})
        if self.trainer.is_global_zero:
            assert self.run_folder is not None
            print(f"Written: {self.run_folder / self.model.predicts}")

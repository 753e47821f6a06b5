"""The verbs that run a Trainer: fit, validate, test, predict."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch.multiprocessing.spawn import ProcessRaisedException

from lightning_vq.arguments import config_files, with_run
from lightning_vq.baseline import train_baseline
from lightning_vq.callbacks.artifacts import Artifacts
from lightning_vq.callbacks.cases import CaseMetrics
from lightning_vq.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, Patience
from lightning_vq.callbacks.health import CodebookHealth
from lightning_vq.callbacks.history import History, read_history
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.callbacks.trial import TrialReports
from lightning_vq.callbacks.wandb_run import WandbRun
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError
from lightning_vq.figures import draw, draw_calibration
from lightning_vq.messages import one_line, quieten
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.checkpoint import checked_checkpoint
from lightning_vq.report import show
from lightning_vq.run_config import check_training, refuse_another, to_keep
from lightning_vq.runs import HANDED_DOWN, QUIET, TRIAL, config_name, new_run_folder, read_json, write_json
from lightning_vq.trainer import Trainer, prepare


class Parser(LightningArgumentParser):
    """A parser whose errors are one line that names the key and the nearest right one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(one_line(message, self))


class CLI(LightningCLI):
    """Six config sections beside Lightning's: quantization, health, wandb, monitor, patience, baseline."""

    model: Recommender
    datamodule: RecommenderData
    trainer: Trainer

    def __init__(self, args: list[str], config_name: str, run: Path | None, started: float) -> None:
        """Parse and run.

        Args:
            args: verb and options.
            config_name: names the run folder of a new run.
            run: folder of a run to go on with; None makes a new one.
            started: time.time() of the start of the command.
        """
        self.pruned = False
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
        self.config_name, self.run_folder, self.started = config_name, run, started
        asked = {args[0]: LightningCLI.subcommands()[args[0]]}
        self.subcommands = lambda: asked  # type: ignore[method-assign]  # parsers of the other verbs take 0.1 s
        super().__init__(
            Recommender,
            RecommenderData,
            save_config_callback=None,
            trainer_class=Trainer,
            trainer_defaults={"logger": False, "num_sanity_val_steps": 0, "enable_model_summary": False},
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "allow_abbrev": False},
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(QuantizationCallback, "quantization")
        parser.add_lightning_class_args(CodebookHealth, "health")
        parser.add_lightning_class_args(WandbRun, "wandb")
        run = "A run folder, in place of --config and --ckpt_path: its config, and its last or best checkpoint."
        parser.add_argument("--run", type=str | None, default=None, help=run)  # `main` has put these in its place
        parser.add_argument(
            "--monitor", type=str, default="val/ndcg@10/full", help="Validation metric that chooses the best epoch."
        )
        parser.add_argument(
            "--patience", type=int | None, default=10, help="Epochs without a better one before stopping; null: never."
        )
        parser.add_argument(
            "--baseline", type=bool, default=False, help="Also train the config without quantizers, and compare."
        )

    def _parse_ckpt_path(self) -> None:
        """Leave the config as given: Lightning would let hyperparameters of the checkpoint win in silence."""

    def before_instantiate_classes(self) -> None:
        path = self._get(self.config, "ckpt_path")
        if path is not None:
            checked_checkpoint(Path(path))
        elif self.subcommand != "fit":
            raise UserError(f"{self.subcommand} needs --run DIR (a run folder) or --ckpt_path FILE")

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except UserError:
            raise
        except ValueError as error:  # the parser tries each type of an optional key, and tells of all
            raise UserError(one_line(str(error), self._parser(self.subcommand))) from None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        quantization, monitor, patience = self.checked()
        if self.run_folder is not None:
            now = yaml.safe_load(self._text())
            refuse_another(self.run_folder, now, going_on=self.subcommand == "fit")
        if self.subcommand == "fit":
            prepare(self.model, self.datamodule, [quantization])  # bad data leaves no run folder behind
        self.run_folder = self.run_folder or self._folder()
        health: CodebookHealth = self._get(self.config_init, "health")
        callbacks: list[Callback] = [quantization, health, CaseMetrics(self.run_folder)]
        if self.subcommand == "fit":
            self.interrupt = Interrupt(self.run_folder)
            self.history = History(self.run_folder)
            seed = self._get(self.config, "seed_everything")
            self.artifacts = Artifacts(self.run_folder, self._text(), self.history, monitor, seed, self.started)
            self.wandb: WandbRun = self._get(self.config_init, "wandb")
            callbacks += [self.history, self.artifacts, self.interrupt, self.wandb]
            if TRIAL in os.environ:
                callbacks.append(TrialReports(self.artifacts, monitor, os.environ[TRIAL]))
            if patience is not None:
                callbacks.append(Patience(monitor, patience))
            best = BestCheckpoint(self.run_folder, monitor)
            # A refit has seen the validation part, which chooses nothing any more.
            callbacks.append(LastCheckpoint(self.run_folder, "best") if self.datamodule.refit else best)
            callbacks.append(LastCheckpoint(self.run_folder))
        elif self.subcommand == "predict":
            callbacks.append(Predictions(self.run_folder))
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        config["enable_checkpointing"] = self.subcommand == "fit"
        return self._instantiate_trainer(config, callbacks)  # type: ignore[return-value]

    def checked(self) -> tuple[QuantizationCallback, str, int | None]:
        """Return quantization, monitor and patience, once all that needs no data has been checked."""
        quantization: QuantizationCallback = self._get(self.config_init, "quantization")
        epochs = self._get(self.config, "trainer")["max_epochs"] if self.subcommand == "fit" else None
        quantization.check(self.model.backbone.dim, epochs)
        monitor, patience = self._get(self.config, "monitor"), self._get(self.config, "patience")
        if self.subcommand == "fit":
            check_training(self._get(self.config, "trainer"), self.model, self.datamodule, monitor, patience)
        return quantization, monitor, patience

    def _text(self) -> str:
        """Return config.yaml of the run folder."""
        config = to_keep(self.config[str(self.subcommand)])
        return str(self._parser(self.subcommand).dump(config, skip_none=False))

    def _folder(self) -> Path:
        handed = os.environ.get(HANDED_DOWN)
        if handed:
            return Path(handed)
        if getattr(rank_zero_only, "rank", 0):
            # Started by torchrun or SLURM: rank 0 makes the folder, and Lightning and `fit` learn it from there.
            return Path(tempfile.gettempdir())
        path = self._get(self.config, "ckpt_path")
        if self.subcommand != "fit" and path is not None:
            return Path(path).parent
        root = Path(self._get(self.config, "trainer").get("default_root_dir") or ".")
        folder = new_run_folder(root, self.config_name)
        os.environ[HANDED_DOWN] = str(folder.absolute())  # for the ranks that Lightning starts
        return folder

    # -- verbs -------------------------------------------------------------------------------------------------------

    def fit(self, **options: Any) -> None:
        """Train, test the best epoch, write the run folder, train the plain base model, compare."""
        assert self.run_folder is not None
        folder = self.run_folder
        for logger in self.trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self._text()))
        if QUIET not in os.environ and self.trainer.is_global_zero:
            print(self.datamodule.told(self.model.backbone.needs), flush=True)
        try:
            folder = self._train_and_test(folder, options)
        except UserError:
            if (folder / "last.ckpt").is_file() and self.trainer.is_global_zero:
                print(f"Run folder: {folder}")
            raise
        except (SystemExit, KeyboardInterrupt):  # Lightning ends what was interrupted by an exit
            if QUIET not in os.environ and self.trainer.is_global_zero:
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
            told = {"quantized" if base or self.model.quantizers else "base": folder} | ({"base": base} if base else {})
            bins = {name: read_json(run / "metrics.json").get("calibration") for name, run in told.items()}
            if any(bins.values()):
                draw_calibration(folder / "figures" / "calibration.png", bins)
        if QUIET not in os.environ:
            show(folder, base, f"{type(self.model.backbone).__name__} on {self.datamodule.source}")
            print(f"Run folder: {folder}")
            for page in sorted((folder / "tree").glob("*.html")):
                print(f"Learned tree, for a browser: {page}")
            print(f"Next: python -m lightning_vq predict --run {folder}")

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
        os.environ.pop(HANDED_DOWN, None)
        if self.trainer.is_global_zero:
            self.artifacts.write(self.model, self.datamodule, weights["epoch"], dict(test), seconds)
        return folder

    def validate(self, **options: Any) -> None:
        """Evaluate a checkpoint on the dev part."""
        self._evaluate("validate", self.trainer.validate(**{**options, "verbose": False}))

    def test(self, **options: Any) -> None:
        """Evaluate a checkpoint on the test part; per-user metrics are written beside it."""
        self._evaluate("test", self.trainer.test(**{**options, "verbose": False}))

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
        self.trainer.predict(**{**options, "return_predictions": False})
        if self.trainer.is_global_zero:
            assert self.run_folder is not None
            print(f"Written: {self.run_folder / self.model.predicts}")


def main(arguments: list[str], started: float) -> None:
    """Run a Trainer verb; `--run DIR` stands for that folder's config and checkpoint.

    Args:
        arguments: the verb and its options.
        started: time.time() of the start of the command.
    """
    quieten()
    verb = arguments[0]
    rest, run = with_run(verb, arguments[1:])
    files = config_files(rest)
    try:
        CLI([verb, *rest], config_name(files[0]) if files else "run", run, started)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from None
    except ProcessRaisedException as error:  # of a rank that was forked or spawned
        told = str(error).rpartition(f"{UserError.__module__}.UserError: ")[2].strip()
        if told == str(error).strip():
            raise
        raise UserError(told) from None
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt) or isinstance(end, SIGTERMException):  # whose status is 0
            raise KeyboardInterrupt from None
        raise

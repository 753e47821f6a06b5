"""The command line of a verb that runs a Trainer: its config sections, and what they make."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch.multiprocessing.spawn import ProcessRaisedException

from lightning_vq.arguments import config_files, with_run
from lightning_vq.callbacks.artifacts import Artifacts
from lightning_vq.callbacks.cases import CaseMetrics
from lightning_vq.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, Patience
from lightning_vq.callbacks.health import CodebookHealth
from lightning_vq.callbacks.history import History
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.callbacks.trial import TrialReports
from lightning_vq.callbacks.wandb_run import WandbRun
from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError
from lightning_vq.messages import one_line, quieten
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.checkpoint import checked_checkpoint
from lightning_vq.run_config import check_training, refuse_another
from lightning_vq.runs import HANDED_DOWN, STAGE, TRIAL, config_name, new_run_folder
from lightning_vq.stages import unmade
from lightning_vq.trainer import Trainer, prepare
from lightning_vq.verbs import Verbs

ABOUT = {
    "fit": "Train, test, and compare with the plain base model.",
    "validate": "Evaluate a run's best checkpoint on its validation part.",
    "test": "Evaluate a run's best checkpoint on its test part.",
    "predict": "Write every user's best items as Parquet, in the run's folder.",
}


class Parser(LightningArgumentParser):
    """A parser whose errors are one line that names the key and the nearest right one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(one_line(message, self))


class CLI(Verbs):
    """Six config sections beside Lightning's: quantization, health, wandb, monitor, patience, baseline."""

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
        (verb,) = self.subcommands()
        begun = "(--config FILE | --run DIR)" if verb == "fit" else "--run DIR"
        parser.usage = f"python -m lightning_vq {verb} {begun} [--KEY=VALUE ...]"  # not a page of all keys
        parser.description = ABOUT[verb]
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
            now = yaml.safe_load(self.config_text())
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
            self.artifacts = Artifacts(self.run_folder, self.config_text(), self.history, monitor, seed, self.started)
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
        if self.subcommand != "fit" and isinstance(config["strategy"], ModelParallelStrategy):
            config |= {"strategy": "auto", "devices": 1, "num_nodes": 1}  # it is training that needs several
        return self._instantiate_trainer(config, callbacks)  # type: ignore[return-value]

    def checked(self) -> tuple[QuantizationCallback, str, int | None]:
        """Return quantization, monitor and patience, once all that needs no data has been checked."""
        quantization: QuantizationCallback = self._get(self.config_init, "quantization")
        epochs = self._get(self.config, "trainer")["max_epochs"] if self.subcommand == "fit" else None
        quantization.check(self.model.backbone.dim, epochs, self.model.given)
        if self.model.given and self._get(self.config, "baseline"):
            raise UserError("baseline is true, but vectors that are given have no base model to be trained")
        monitor, patience = self._get(self.config, "monitor"), self._get(self.config, "patience")
        if self.subcommand == "fit":
            check_training(self._get(self.config, "trainer").as_dict(), self.model, self.datamodule, monitor, patience)
        return quantization, monitor, patience

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
    handed = os.environ.get(HANDED_DOWN)
    try:
        CLI([verb, *rest], config_name(files[0]) if files else "run", run, started)
    except MisconfigurationException as error:
        done = re.search(r"current_epoch=(\d+), but you have set Trainer\(max_epochs=(\d+)\)", str(error))
        if done:
            raise UserError(
                f"trainer.max_epochs is {done[2]}, and the checkpoint is at epoch {done[1]}: give more"
            ) from None
        raise UserError(f"trainer: {' '.join(str(error).split())}") from None
    except UserError as error:
        for file in files:
            if STAGE not in os.environ and any(name in str(error) for name in unmade(file)):
                chain = f"python -m lightning_vq chain {file.parent}"
                raise UserError(f"{error}; {file} is a stage of a chain: {chain} runs those before it, too") from None
        raise
    except ProcessRaisedException as error:  # of a rank that was forked or spawned
        told = str(error).rpartition(f"{UserError.__module__}.UserError: ")[2].strip()
        if told == str(error).strip():
            raise
        raise UserError(told) from None
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt) or isinstance(end, SIGTERMException):  # whose status is 0
            raise KeyboardInterrupt from None
        raise
    finally:
        if handed is None:  # this run's own, which another one of the same process is not to have
            os.environ.pop(HANDED_DOWN, None)

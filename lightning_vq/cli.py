"""The verbs that run a Trainer: fit, validate, test, predict."""

import csv
import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

import torch
from jsonargparse import set_parsing_settings
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lightning_vq.callbacks.artifacts import Artifacts, per_case
from lightning_vq.callbacks.history import History
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.callbacks.usage import CodeUsage
from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.errors import UserError, nearest
from lightning_vq.figures import draw
from lightning_vq.messages import one_line
from lightning_vq.modules.base import Recommender, checked_checkpoint
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.report import show
from lightning_vq.runs import HANDED_DOWN, QUIET, checked_run, new_run_folder, replacing, write_json, write_parquet
from lightning_vq.trainer import Trainer, prepare, refuse_accumulation

STARTED = time.time()
DISTRIBUTED_VARIABLES = (
    "LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT",
    "PL_GLOBAL_SEED",
)  # fmt: skip


class Parser(LightningArgumentParser):
    """A parser whose errors are one line that names the key and the nearest right one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(one_line(message, self))


class CLI(LightningCLI):
    """Four config sections beside Lightning's: quantization, monitor, patience, baseline."""

    model: Recommender
    datamodule: CollaborativeData
    trainer: Trainer

    def __init__(self, args: list[str], config_name: str, run: Path | None) -> None:
        """Parse and run.

        Args:
            args: verb and options.
            config_name: names the run folder of a new run.
            run: folder of a run to go on with; None makes a new one.
        """
        set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
        self.config_name, self.run_folder = config_name, run
        super().__init__(
            Recommender,
            CollaborativeData,
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

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        quantization: QuantizationCallback = self._get(self.config_init, "quantization")
        quantization.check(self.model.backbone.dim)
        monitor, patience = self._get(self.config, "monitor"), self._get(self.config, "patience")
        if self.subcommand == "fit":
            refuse_accumulation(self._get(self.config, "trainer")["accumulate_grad_batches"])
            self._check_monitor(monitor)
            prepare(self.model, self.datamodule, [quantization])  # bad data leaves no run folder behind
        self.run_folder = self.run_folder or self._folder()
        callbacks: list[Callback] = [quantization, CodeUsage()]
        if self.subcommand == "fit":
            self.interrupt = Interrupt(self.run_folder)
            self.history = History(self.run_folder)
            self.artifacts = Artifacts(
                self.run_folder, self.history, monitor, self._get(self.config, "seed_everything")
            )
            callbacks += [self.history, self.artifacts, self.interrupt]
            if patience is not None:
                callbacks.append(EarlyStopping(monitor, patience=patience, mode="max"))
            callbacks.append(
                ModelCheckpoint(
                    self.run_folder, "best", monitor=monitor, mode="max", save_last=True,
                    save_on_train_epoch_end=True, enable_version_counter=False,
                )
            )  # fmt: skip
        elif self.subcommand == "predict":
            callbacks.append(Predictions(self.run_folder / "recommendations.parquet"))
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        config["enable_checkpointing"] = self.subcommand == "fit"
        return self._instantiate_trainer(config, callbacks)  # type: ignore[return-value]

    def _check_monitor(self, monitor: str) -> None:
        if isinstance(self.model, CollaborativeFiltering):
            names = self.model.metric_names("val", self.datamodule.protocol_names(self.datamodule.val_protocols))
            if monitor not in names:
                raise UserError(
                    f"monitor {monitor!r} is not a validation metric of this config{nearest(monitor, names)}"
                )

    def _folder(self) -> Path:
        handed = os.environ.get(HANDED_DOWN)
        if handed:
            return Path(handed)
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
        if self.trainer.is_global_zero:
            with replacing(folder / "config.yaml") as path:
                path.write_text(self._parser("fit").dump(self._get_all(), skip_none=False))
        for logger in self.trainer.loggers:
            logger.log_hyperparams(self._get_all().as_dict())
        try:
            self.trainer.fit(**options)
        except SystemExit:  # how Lightning ends a fit that was interrupted
            if self.interrupt.asked:
                print(f"Stopped. To go on: python -m lightning_vq fit --run {folder}", file=sys.stderr)
                raise KeyboardInterrupt from None
            raise
        if not self.history.rows and (folder / "last.ckpt").is_file():
            # The ranks of ddp_fork and ddp_spawn are gone; what they recorded is in their checkpoint.
            states = torch.load(folder / "last.ckpt", weights_only=True, mmap=True)["callbacks"]
            self.history.load_state_dict(states[self.history.state_key])
        best = folder / "best.ckpt"
        weights = torch.load(best if best.is_file() else folder / "last.ckpt", weights_only=True, mmap=True)
        # Loaded here: given as ckpt_path it would set the callbacks back to the best epoch as well.
        self.model.load_state_dict(weights["state_dict"])
        test = self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)[0]
        os.environ.pop(HANDED_DOWN, None)
        if not self.trainer.is_global_zero:
            return
        assert isinstance(self.model, CollaborativeFiltering)
        self.artifacts.write(self.model, self.datamodule, dict(test), STARTED)
        base = folder / "baseline" if self._get(self.config, "baseline") and self.model.quantizers else None
        if base is not None:
            print("\nThe same config without quantizers, for comparison:", flush=True)
            self._train_baseline(base)
        rows = _history(base) if base else None
        draw(folder / "figures", self.history.rows, self._get(self.config, "monitor"), rows)
        if QUIET not in os.environ:
            show(folder, base, f"{type(self.model.backbone).__name__} on {self.datamodule.source}")
            print(f"Run folder: {folder}")
            print(f"Next: python -m lightning_vq predict --run {folder}")

    def _get_all(self) -> Any:
        config = self.config["fit"].clone()
        config.pop("config", None)
        config["ckpt_path"] = None
        return config

    def _train_baseline(self, base: Path) -> None:
        assert self.run_folder is not None
        base.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k not in DISTRIBUTED_VARIABLES}
        environment |= {HANDED_DOWN: str(base), QUIET: "1"}
        command = [sys.executable, "-m", "lightning_vq", "fit", "--config", str(self.run_folder / "config.yaml")]
        done = subprocess.run([*command, "--quantization.quantizers={}", "--baseline=false"], env=environment)
        if done.returncode:
            raise UserError(f"the base model's run failed with status {done.returncode}; see above and {base}")

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
        if verb == "test":
            assert isinstance(self.model, CollaborativeFiltering)
            write_parquet(self.run_folder / "test_users.parquet", per_case(self.model, self.datamodule))

    def predict(self, **options: Any) -> None:
        """Write the best items of every user."""
        self.trainer.predict(**{**options, "return_predictions": False})
        if self.trainer.is_global_zero:
            assert self.run_folder is not None
            print(f"Written: {self.run_folder / 'recommendations.parquet'}")


def _history(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def _quieten() -> None:
    """Keep the terminal to what a user can act on."""
    for noise in (
        "treespec, LeafSpec",
        "exists and is not empty",
        "does not have many workers",
        "resumed from a checkpoint that ended",
    ):
        warnings.filterwarnings("ignore", message=f".*{noise}.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "litlogger" not in r.getMessage())


def main(arguments: list[str]) -> None:
    """Run a Trainer verb; `--run DIR` stands for that folder's config and checkpoint."""
    _quieten()
    verb, rest, run = arguments[0], list(arguments[1:]), None
    for i, argument in enumerate(rest):
        if argument == "--run" or argument.startswith("--run="):
            value = argument.partition("=")[2] or (rest[i + 1] if i + 1 < len(rest) else "")
            run = Path(value)
            config, weights = checked_run(run, "last.ckpt" if verb == "fit" else "best.ckpt")
            del rest[i : i + (1 if "=" in argument else 2)]
            rest = ["--config", str(config), *rest, "--ckpt_path", str(weights)]
            break
    names = [rest[i + 1] for i, a in enumerate(rest[:-1]) if a in ("--config", "-c")]
    names += [a.partition("=")[2] for a in rest if a.startswith("--config=")]
    CLI([verb, *rest], Path(names[0]).stem if names else "run", run)

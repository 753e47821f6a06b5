"""What a sweep's YAML may say, and reading it."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ActionYesNo, lazy_instance
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GridSampler, TPESampler

from lightning_vq.arguments import config_files
from lightning_vq.direction import lower_is_better
from lightning_vq.errors import UserError
from lightning_vq.messages import SettingsParser

OF_SWEEP = "see devices, seeds, objectives"
OURS = {
    "baseline": "no trial trains a base model, the best config may",
    **dict.fromkeys(["trainer.devices", "monitor", "config", "run", "ckpt_path"], OF_SWEEP),
}  # set for every trial, and what takes its place
SEED = "seed_everything"


class Grid(GridSampler):
    """Optuna's GridSampler over the sweep's own space.

    Args:
        seed: of the order in which the grid is walked.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__({}, seed)
        self.over: Callable[[dict[str, Any]], GridSampler] = lambda space: GridSampler(space, seed)


@dataclass
class Settings:
    """A study.

    Args:
        base: config files of the fit that every trial is, layered left to right.
        space: what is varied, by dotted key: {low, high, log, step}, {choices: [...]}, or codebook sizes from
            {depth, first, last}, each of them one of the two before; `keys` sets several keys to the same value.
        objectives: metric of the best epoch -> maximize or minimize. The first chooses a trial's best epoch. Besides
            val/... there are bytes (of the model as served) and train_seconds.
        fixed: dotted key -> value, for every trial.
        sampler: any of optuna.samplers, or lightning_vq.sweep.settings.Grid.
        pruner: any of optuna.pruners, such as optuna.pruners.MedianPruner; null stops no trial early.
        trials: number of them at which the study ends, retries of crashed ones on top; null: `hours` alone end it.
        hours: of this command, after which it begins no trial; a later --resume has as many again.
        parallel: trials at a time in this process.
        devices: of each trial, by data parallel training if more than one.
        seeds: each trial is a fit for each of them, and its value their mean; the pruner sees the first. For trials
            that differ in their seed alone put seed_everything into space, with choices.
        storage: URL of a database that several machines reach; null is a file, study.journal in the study's folder.
        root: the study's folder is <root>/runs/sweeps/<name>.
        name: of the study; null is the name of the sweep's file.
    """

    base: list[str]
    space: dict  # of dict[str, Any] the parser would complete the classes that it names
    objectives: dict[str, Literal["maximize", "minimize"]]
    fixed: dict = field(default_factory=dict)
    sampler: BaseSampler = lazy_instance(TPESampler, seed=0)  # noqa: RUF009
    pruner: BasePruner | None = None
    trials: int | None = 40
    hours: float | None = None
    parallel: int = 1
    devices: int = 1
    seeds: list[int] = field(default_factory=lambda: [0])
    storage: str | None = None
    root: str = "."
    name: str | None = None

    @property
    def folder(self) -> Path:
        return Path(self.root) / "runs" / "sweeps" / str(self.name)

    @property
    def budget(self) -> int:
        """Return the number of trials at which the study ends."""
        return sys.maxsize if self.trials is None else self.trials

    @property
    def of(self) -> str:
        """Return " of 40", the budget as it is told behind a count."""
        return "" if self.trials is None else f" of {self.trials}"

    def check(self) -> None:
        """Refuse what no parser can.

        Raises:
            UserError: a number out of range, an objective that is no validation metric, a key given twice.
        """
        for key in ("trials", "parallel", "devices"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise UserError(f"{key} is {getattr(self, key)}; it must be at least 1")
        if self.hours is not None and self.hours <= 0:
            raise UserError(f"hours is {self.hours}; it must be positive, or null for no limit")
        if self.trials is None and self.hours is None:
            raise UserError("trials and hours are both null; one of them must end the study")
        for key in ("base", "space", "objectives", "seeds"):
            if not getattr(self, key):
                raise UserError(f"{key} is empty")
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds {self.seeds} holds one twice")
        for name, how in self.objectives.items():
            best, right = ("lowest", "minimize") if lower_is_better(name) else ("highest", "maximize")
            if name.startswith("val/") and how != right:
                raise UserError(f"objective {name!r}: a trial's best epoch is the {best}, so it must be {right}")
            if not name.startswith("val/") and name not in ("bytes", "train_seconds"):
                hint = " (test metrics choose nothing)" if name.startswith("test/") else ""
                raise UserError(f"objective {name!r} is none of val/..., bytes, train_seconds{hint}")
        if not next(iter(self.objectives)).startswith("val/"):
            raise UserError("the first objective chooses each trial's best epoch, so it must be a val/... metric")
        self.check_keys("fixed", self.fixed)
        if SEED in self.fixed or (SEED in self.space and self.seeds != [0]):
            raise UserError(f"{SEED} is given by seeds: to vary it from trial to trial put it into space alone")

    @staticmethod
    def check_keys(where: str, keys: Iterable[str]) -> None:
        """Refuse keys that a sweep sets itself.

        Raises:
            UserError: with the setting that takes their place.
        """
        for key in keys:
            if key in OURS:
                raise UserError(f"{where}: {key} is not given here: {OURS[key]}")


def read_settings(arguments: list[str]) -> tuple[Settings, bool, str]:
    """Return the settings of a command line, whether it goes on with a study, and the settings as YAML.

    Raises:
        UserError: with the key and the nearest right one.
    """
    parser = SettingsParser(
        prog="python -m lightning_vq sweep",
        description="Run or join a study: python -m lightning_vq sweep --config sweeps/cove_lgcn_codebooks.yaml",
        allow_abbrev=False,
        default_env=False,
    )
    parser.add_argument("--config", action="config", help="File of the settings below.")
    parser.add_argument("--resume", action=ActionYesNo, default=False, help="Go on with a study that is there.")
    parser.add_class_arguments(Settings, as_group=False)
    files = config_files(arguments)
    parsed = parser.parse_args(arguments)
    made = parser.instantiate(parsed)
    settings = Settings(**{key: made[key] for key in Settings.__dataclass_fields__})
    if settings.name is None:
        if not files:
            raise UserError("sweep needs --config FILE, for instance sweeps/cove_lgcn_codebooks.yaml")
        settings.name = files[-1].stem
    settings.check()
    for key in ("config", "resume"):
        parsed.pop(key, None)
    return settings, bool(made["resume"]), str(yaml.safe_dump(parsed.as_dict(), sort_keys=False))

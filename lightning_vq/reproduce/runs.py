"""Running what is missing of a table: each row is tuned by a sweep, and its best config is fitted with every seed.

Both are ordinary sweeps: they resume, are joined by other processes, and try crashed trials once more.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lightning_vq.reproduce.paper import Budget, Paper, Row
from lightning_vq.runs import read_json, read_yaml, replacing
from lightning_vq.sweep.command import main as sweep

TUNE, SEEDS = "tune", "seeds"


class RowRuns:
    """The runs of one row under one budget.

    Args:
        paper: the table.
        row: of it.
        budget: how much tuning.
        folder: of the row.
        tuning: the row whose best trial is fitted again, if there is one.
    """

    def __init__(self, paper: Paper, row: Row, budget: Budget, folder: Path, tuning: "RowRuns | None" = None) -> None:
        self.paper, self.row, self.budget, self.folder, self.tuning = paper, row, budget, folder, tuning

    def finished(self) -> dict[int, Path]:
        """Return the finished run of each seed; that of seed 0 is the tuning's best trial, where there is one."""
        found = {}
        if self.row.space and self.tuned:
            found[0] = Path(self._best()["folder"])
        for path in sorted(self.folder.glob(f"runs/sweeps/{SEEDS}*/trials/*/metrics.json")):
            told = read_json(path)
            if told["state"] == "finished":
                found[int(told["seed"])] = path.parent
        return {seed: found[seed] for seed in sorted(found)}

    def run(self, seeds: int, parallel: int, told: Callable[[str], None]) -> None:
        """Run what is missing.

        Args:
            seeds: 0, 1, ... below this.
            parallel: fits at a time.
            told: is called with a line before each part.
        """
        if self.tuning is not None and not self.tuning.tuned:
            self.tuning.run(1, parallel, told)
        if self.row.space and not self.tuned:
            told(f"{self.row.name}: tuning, {self._ended(TUNE)} of {self.budget.trials} trials done")
            what = {"base": self.row.base, "fixed": self._fixed(), "space": self.row.space}
            self._sweep(TUNE, {**self.paper.sweep, **what, "trials": self.budget.trials}, parallel)
        for path in sorted(self.folder.glob(f"{SEEDS}*.yaml")):  # of an earlier call that was stopped
            begun = read_yaml(path)
            if self._ended(path.stem) < begun["trials"]:
                told(f"{self.row.name}: going on with {path.stem}")
                self._sweep(path.stem, begun, parallel)
        missing = [seed for seed in range(seeds) if seed not in self.finished()]
        if missing:
            told(f"{self.row.name}: seeds {', '.join(map(str, missing))}")
            base, fixed = self._settled()
            settings: dict[str, Any] = {
                "base": base,
                "fixed": fixed,
                "space": {"seed_everything": {"choices": missing}},
                "objectives": dict(list(self.paper.sweep["objectives"].items())[:1]),
                "sampler": "lightning_vq.sweep.settings.Grid",
                "trials": len(missing),
            }
            self._sweep(f"{SEEDS}-{'-'.join(map(str, missing))}", settings, parallel)

    def _fixed(self) -> dict[str, Any]:
        shared = self.paper.sweep.get("fixed", {})
        return {**shared, "data.init_args.source": self.row.source, **self.row.fixed, **self.budget.fixed}

    @property
    def tuned(self) -> bool:
        """Return whether all trials of the tuning have ended."""
        return self._ended(TUNE) >= self.budget.trials

    def _settled(self) -> tuple[list[str], dict[str, Any]]:
        """Return config files and fixed options of what every seed is fitted with."""
        tuning = self.tuning or self
        best = [str(tuning._study(TUNE) / f"{TUNE}_best.yaml")]
        if self.tuning is not None:
            epoch = int(read_json(Path(tuning._best()["folder"]) / "metrics.json")["best"]["epoch"])
            return best, {"data.init_args.refit": True, "patience": None, "trainer.max_epochs": epoch + 1}
        return (best, {}) if self.row.space else (self.row.base, self._fixed())

    def _best(self) -> dict[str, Any]:
        """Return what the tuning's summary says of its best trial."""
        best: dict[str, Any] = read_json(self._study(TUNE) / "summary.json")["best"][0]
        return best

    def _study(self, name: str) -> Path:
        return self.folder / "runs" / "sweeps" / name

    def _ended(self, name: str) -> int:
        """Return how many trials of a study have ended."""
        path = self._study(name) / "summary.json"
        if not path.is_file():
            return 0
        told = read_json(path)["trials"]
        return sum(told.get(state, 0) for state in ("complete", "pruned", "fail"))

    def _sweep(self, name: str, settings: dict[str, Any], parallel: int) -> None:
        path = self.folder / f"{name}.yaml"
        whole = {**settings, "root": str(self.folder), "name": name}
        with replacing(path) as temporary:
            temporary.write_text(yaml.safe_dump(whole, sort_keys=False))
        resume = ["--resume"] if (self._study(name) / "study.journal").is_file() else []
        sweep(["--config", str(path), f"--parallel={parallel}", *resume], brief=True)

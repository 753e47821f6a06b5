"""Running what is missing of a table: each row is tuned by a sweep, and its best config is fitted with every seed.

Both are ordinary sweeps: they resume, are joined by other processes, and try crashed trials once more.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lightning_vq.reproduce.paper import Budget, Paper, Row
from lightning_vq.runs import read_json, replacing
from lightning_vq.sweep.command import main as sweep

SEED = "seed_everything"


class RowRuns:
    """The runs of one row under one budget.

    Args:
        paper: the table.
        row: of it.
        budget: how much tuning.
        folder: of the row.
    """

    def __init__(self, paper: Paper, row: Row, budget: Budget, folder: Path) -> None:
        self.paper, self.row, self.budget, self.folder = paper, row, budget, folder

    def _study(self, name: str) -> Path:
        return self.folder / "runs" / "sweeps" / name

    def tuned_trials(self) -> int:
        """Return how many trials of the tuning have ended."""
        path = self._study("tune") / "summary.json"
        if not path.is_file():
            return 0
        told = read_json(path)["trials"]
        return sum(told.get(state, 0) for state in ("complete", "pruned", "fail"))

    def finished(self) -> dict[int, Path]:
        """Return the finished run of each seed; the tuning's best trial is that of seed 0."""
        found = {}
        tuned = self._study("tune") / "summary.json"
        if self.row.space and self.tuned_trials() >= self.budget.trials:
            best = read_json(tuned)["best"][0]["folder"]
            found[0] = self.folder / Path(best).relative_to(self.folder) if Path(best).is_absolute() else Path(best)
        for path in sorted(self._study("seeds").glob("trials/*/metrics.json")):
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
        if self.row.space and self.tuned_trials() < self.budget.trials:
            told(f"{self.row.name}: tuning, {self.tuned_trials()} of {self.budget.trials} trials done")
            settings = {**self.paper.sweep, "base": self.row.base, "fixed": self._fixed(), "space": self.row.space}
            self._sweep("tune", {**settings, "trials": self.budget.trials, "parallel": parallel})
        missing = [seed for seed in range(seeds) if seed not in self.finished()]
        if missing:
            told(f"{self.row.name}: seeds {', '.join(map(str, missing))}")
            wanted = [seed for seed in range(seeds) if seed or not self.row.space]
            tuned = [str(self._study("tune") / "tune_best.yaml")]
            settings = {
                "base": tuned if self.row.space else self.row.base,
                "fixed": {} if self.row.space else self._fixed(),
                "space": {SEED: {"choices": wanted}},
                "objectives": dict(list(self.paper.sweep["objectives"].items())[:1]),
                "sampler": "lightning_vq.sweep.settings.Grid",
            }
            self._sweep("seeds", {**settings, "trials": len(wanted), "parallel": parallel})

    def _fixed(self) -> dict[str, Any]:
        shared = self.paper.sweep.get("fixed", {})
        return {**shared, "data.init_args.source": self.row.source, **self.row.fixed, **self.budget.fixed}

    def _sweep(self, name: str, settings: dict[str, Any]) -> None:
        path = self.folder / f"{name}.yaml"
        with replacing(path) as temporary:
            temporary.write_text(yaml.safe_dump({**settings, "root": str(self.folder), "name": name}, sort_keys=False))
        resume = ["--resume"] if (self._study(name) / "study.journal").is_file() else []
        sweep(["--config", str(path), *resume], brief=True)

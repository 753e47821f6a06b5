"""Running what is missing of a table: each row is tuned by a sweep, and its best config is fitted with every seed.

Both are ordinary sweeps: they resume, are joined by other processes, and try crashed trials once more. What the table
needs of them is kept beside, in best.yaml and results.json: with those two a row goes on where its runs are gone.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lightning_vq.errors import UserError
from lightning_vq.reproduce.paper import Budget, Paper, Row
from lightning_vq.reproduce.results import Result, read_result
from lightning_vq.runs import read_json, read_yaml, replacing, write_json
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

    def results(self) -> dict[int, Result]:
        """Return the result of each finished seed; that of seed 0 is the tuning's best trial, where there is one."""
        kept = self._kept()
        runs = {}
        if self.row.space and self._ended(TUNE) >= self.budget.trials:
            runs[0] = Path(self._best()["folder"])
        for told in sorted(self.folder.glob(f"runs/sweeps/{SEEDS}*/trials/*/metrics.json")):
            summary = read_json(told)
            if summary["state"] == "finished":
                runs[int(summary["seed"])] = told.parent
        found = {**{seed: read_result(self.paper, run) for seed, run in runs.items() if seed not in kept}, **kept}
        if len(found) > len(kept):
            results = {str(seed): found[seed]._asdict() for seed in sorted(found)}
            write_json(self.folder / "results.json", {"of": self._settings(), "results": results}, indent=1)
        return {seed: found[seed] for seed in sorted(found)}

    def _kept(self) -> dict[int, Result]:
        """Return the results that are kept.

        Raises:
            UserError: they are of other settings than the table's now.
        """
        path = self.folder / "results.json"
        if not path.is_file():
            return {}
        told = read_json(path)
        if told["of"] != json.loads(json.dumps(self._settings())):
            changed = [key for key, value in self._settings().items() if told["of"].get(key) != value]
            raise UserError(
                f"{path} is of other settings of {self.row.name!r} ({', '.join(changed)}); move its folder away to run "
                "the row anew"
            )
        return {int(seed): Result(**result) for seed, result in told["results"].items()}

    def _settings(self) -> dict[str, Any]:
        """Return what the results hang on."""
        texts = {file: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] for file in self.row.base}
        return {
            "base": texts, "fixed": self._fixed(), "space": self.row.space, "sweep": self.paper.sweep,
            "trials": self.budget.trials if self.row.space else 0,
            "refit_of": self.tuning._settings() if self.tuning is not None else None,
        }  # fmt: skip

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
            config = read_yaml(self._study(TUNE) / f"{TUNE}_best.yaml")
            with replacing(self._tuned) as temporary:
                temporary.write_text(yaml.safe_dump(config, sort_keys=False))
        for path in sorted(self.folder.glob(f"{SEEDS}*.yaml")):  # of an earlier call that was stopped
            begun, there = read_yaml(path), (self._study(path.stem) / "study.journal").is_file()
            if there and self._ended(path.stem) < begun["trials"]:
                told(f"{self.row.name}: going on with {path.stem}")
                self._sweep(path.stem, begun, parallel)
        finished = self.results()
        missing = [seed for seed in range(seeds) if seed not in finished]
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
    def _tuned(self) -> Path:
        return self.folder / "best.yaml"

    @property
    def tuned(self) -> bool:
        """Return whether the tuning is done."""
        return self._tuned.is_file()

    def _settled(self) -> tuple[list[str], dict[str, Any]]:
        """Return config files and fixed options of what every seed is fitted with."""
        if self.tuning is not None:
            epoch = int(self.tuning.results()[0].metrics["best"]["epoch"])
            last = {"data.init_args.refit": True, "patience": None, "trainer.max_epochs": epoch + 1}
            return [str(self.tuning._tuned)], last
        return ([str(self._tuned)], {}) if self.row.space else (self.row.base, self._fixed())

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

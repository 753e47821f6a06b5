"""Running what is missing of a table: each row is tuned by a sweep, and its best config is fitted with every seed.

Both are ordinary sweeps: they resume, are joined by other processes, and try crashed trials once more. What the table
needs of them is kept beside, in best.yaml and results.json: with those two a row goes on where its runs are gone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from lightning_vq.chain_command import run_stages
from lightning_vq.errors import UserError
from lightning_vq.reproduce.fits import TUNED, RowFits
from lightning_vq.reproduce.results import Result, read_result
from lightning_vq.reproduce.same import runs_of, same_row, take_stages
from lightning_vq.runs import read_json, read_yaml, replacing, write_json
from lightning_vq.sweep.command import main as sweep

TUNE, SEEDS = "tune", "seeds"  # studies


class RowRuns(RowFits):
    """The runs of one row under one budget."""

    tuning: "RowRuns | None"

    def results(self) -> dict[int, Result]:
        """Return the result of each finished seed."""
        self.check_settings()
        path, runs = self.folder / "results.json", {}
        kept = {int(seed): Result(**one) for seed, one in read_json(path).items()} if path.is_file() else {}
        now = self.paper.told_beside()
        made = runs_of(self.stages()[:-1]) if self.row.chain is not None else {}
        for told in sorted(self.folder.glob(f"runs/sweeps/{SEEDS}*/trials/*/metrics.json")):
            summary = read_json(told)
            if summary["state"] == "finished":
                runs[int(summary["seed"])] = told.parent
        read = {
            seed: read_result(self.paper, run)._replace(stages=kept[seed].stages if seed in kept else made)
            for seed, run in runs.items()
            if seed not in kept or kept[seed].told_beside != now
        }
        found = dict(sorted({**kept, **read}.items()))
        if read:
            write_json(path, {str(seed): one._asdict() for seed, one in found.items()}, indent=1)
        return {seed: one.of(now) for seed, one in found.items()}

    def run(self, seeds: int, parallel: int, told: Callable[[str], None]) -> None:
        """Run what is missing, unless another process is at it: its tuning would be half done for this one.

        Args:
            seeds: how many, from 1.
            parallel: fits at a time.
            told: is called with a line before each part.
        """
        lock = (self.tuning or self).folder / "runs" / ".lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                self._run(seeds, parallel, told)
        except Timeout:
            told(f"{self.row.name}: another process is at it; passed over")

    def _run(self, seeds: int, parallel: int, told: Callable[[str], None]) -> None:
        self.check_settings()
        if self.tuning is not None and not self.tuning.tuned:
            self.tuning._run(0, parallel, told)
        write_json(self.folder / "settings.json", self._settings(), indent=1)
        if self.tuning is None:
            self._take(seeds, told)
        if self.row.chain is not None and len(self.results()) < seeds:
            told(f"{self.row.name}: the stages before, in {self.before()}")
            for name in take_stages(self.stages()[:-1], self.before()):
                told(f"{self.row.name}: {name} is that of another row")
            run_stages(self.stages()[:-1], self.before())
        if self.row.space and not self.tuned and self.known is not None:
            self._take_tuning(self.known, told)
        if self.row.space and not self.tuned:
            told(f"{self.row.name}: tuning, {self._ended(TUNE)} of {self.budget.trials} trials done")
            self._sweep(TUNE, self.tuning_sweep(), parallel)
            if read_json(self._study(TUNE) / "summary.json")["trials"].get("running"):
                raise UserError(f"another sweep is at {self._study(TUNE)}; run this again when it has ended")
            best = Path(read_json(self._study(TUNE) / "summary.json")["best"][0]["folder"])
            write_json(self.folder / TUNED, {"epoch": int(read_json(best / "metrics.json")["best"]["epoch"])})
            with replacing(self.best) as temporary:
                temporary.write_text((self._study(TUNE) / f"{TUNE}_best.yaml").read_text())
        for path in sorted(self.folder.glob(f"{SEEDS}*.yaml")):  # of an earlier call that was stopped
            begun, there = read_yaml(path), (self._study(path.stem) / "study.journal").is_file()
            if there and self._ended(path.stem) < begun["trials"]:
                told(f"{self.row.name}: going on with {path.stem}")
                self._sweep(path.stem, begun, parallel)
        finished = self.results()
        # Not the tuning's seed 0: the best of several trials owes some of its figure to having been chosen.
        missing = [seed for seed in range(1, 1 + seeds) if seed not in finished]
        if missing:
            told(f"{self.row.name}: seeds {', '.join(map(str, missing))}")
            self._sweep(f"{SEEDS}-{'-'.join(map(str, missing))}", self.seed_sweep(*self.settled(), missing), parallel)

    def _take(self, seeds: int, told: Callable[[str], None]) -> None:
        """Take the results of a row of the same settings, in whichever of the paper's tables."""
        other = same_row(self.folder.parents[2], self.told_settings(), "results.json", self.folder)
        if other is None:
            return
        if self.row.space and not self.tuned and (other / TUNED).is_file():
            self._take_settings(other, other.parents[3], told)
        if self.row.space and not (self.tuned and self.best.read_text() == (other / self.best.name).read_text()):
            return  # each has been tuned by itself
        path, there = self.folder / "results.json", read_json(other / "results.json")
        kept = read_json(path) if path.is_file() else {}
        taken = {seed: one for seed, one in there.items() if seed not in kept and int(seed) <= seeds}
        if taken:
            told(f"{self.row.name}: seeds {', '.join(taken)} are those of {other}")
            write_json(path, {**kept, **taken}, indent=1)

    def _take_tuning(self, known: Path, told: Callable[[str], None]) -> None:
        """Take the settings that another reproduction has tuned, of the same space on the same data."""
        other = same_row(known, self.told_settings(), TUNED, self.folder)
        if other is None:
            told(f"{self.row.name}: {known} has nothing tuned of these settings")
            return
        self._take_settings(other, known, told)

    def _take_settings(self, other: Path, known: Path, told: Callable[[str], None]) -> None:
        write_json(self.folder / TUNED, {**read_json(other / TUNED), "taken_from": str(known)})
        with replacing(self.best) as temporary:
            temporary.write_text((other / self.best.name).read_text())
        told(f"{self.row.name}: tuned settings are those of {other}")

    def tuned_in(self) -> str | None:
        """Return the folder of results from which the row's settings were taken, if they were tuned elsewhere."""
        path = (self.tuning or self).folder / TUNED
        return read_json(path).get("taken_from") if path.is_file() else None

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

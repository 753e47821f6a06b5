"""Running what is missing of a table: each row is tuned by a sweep, and its best config is fitted with every seed.

Both are ordinary sweeps: they resume, are joined by other processes, and try crashed trials once more. What the table
needs of them is kept beside, in best.yaml and results.json: with those two a row goes on where its runs are gone.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from lightning_vq.chain_command import run_stages
from lightning_vq.errors import UserError
from lightning_vq.reproduce.files import digests
from lightning_vq.reproduce.paper import Budget, Paper, Row
from lightning_vq.reproduce.results import Result, read_result
from lightning_vq.reproduce.same import runs_of, same_row, take_stages
from lightning_vq.runs import read_json, read_yaml, replacing, write_json
from lightning_vq.sources.folders import is_path
from lightning_vq.stages import Stage, leaves, stages_of
from lightning_vq.sweep.command import main as sweep
from lightning_vq.sweep.space import option

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
        """Return the result of each finished seed."""
        self.check_settings()
        path, runs = self.folder / "results.json", {}
        kept = {int(seed): Result(**one) for seed, one in read_json(path).items()} if path.is_file() else {}
        now = self.paper.told_beside()
        made = runs_of(self._stages()[:-1]) if self.row.chain is not None else {}
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

    def check_settings(self) -> None:
        """Refuse runs of other settings than the table's now.

        Raises:
            UserError: with what has changed.
        """
        path = self.folder / "settings.json"
        if not path.is_file():
            return
        before, now = read_json(path), json.loads(json.dumps(self._settings()))
        gone = {file: of for file, of in before.get("files", {}).items() if not os.path.exists(file)}
        now["files"] = gone | now.get("files", {})  # of a file that is gone nothing can be said
        changed = sorted(key for key in before | now if (before.get(key) or None) != (now.get(key) or None))
        if changed:
            raise UserError(
                f"{path} is of other settings of {self.row.name!r} ({', '.join(changed)}); move its folder away to run "
                "the row anew"
            )

    def _settings(self) -> dict[str, Any]:
        """Return what the results hang on."""
        files = [Path(file) for file in self.row.base]
        if self.row.chain is not None:
            files = [stage.file for stage in self._stages()]
        settings = {
            "base": {str(file): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files},
            "fixed": self._fixed(), "space": self.row.space, "sweep": self.paper.sweep,
            "trials": self.budget.trials if self.row.space else 0,
            "refit_of": self.tuning._settings() if self.tuning is not None else None,
        }  # fmt: skip
        values = [value for config in (self._fixed(), *map(read_yaml, files)) for _, value in leaves(config)]
        named = digests(values) | digests([self.row.source] if is_path(self.row.source or "") else [], os.path.exists)
        more = {"stages": self.row.stages if self.row.chain is not None else {}, "files": named}
        return settings | {key: value for key, value in more.items() if value}

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
        if not self.row.space and self.tuning is None:
            self._take(seeds, told)
        if self.row.chain is not None and len(self.results()) < seeds:
            told(f"{self.row.name}: the stages before, in {self._before()}")
            for name in take_stages(self._stages()[:-1], self._before()):
                told(f"{self.row.name}: {name} is that of another row")
            run_stages(self._stages()[:-1], self._before())
        if self.row.space and not self.tuned:
            told(f"{self.row.name}: tuning, {self._ended(TUNE)} of {self.budget.trials} trials done")
            self._sweep(TUNE, self._tuning(), parallel)
            if read_json(self._study(TUNE) / "summary.json")["trials"].get("running"):
                raise UserError(f"another sweep is at {self._study(TUNE)}; run this again when it has ended")
            best = Path(read_json(self._study(TUNE) / "summary.json")["best"][0]["folder"])
            write_json(self.folder / "tuned.json", {"epoch": int(read_json(best / "metrics.json")["best"]["epoch"])})
            with replacing(self._tuned) as temporary:
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
            self._sweep(f"{SEEDS}-{'-'.join(map(str, missing))}", self._fits(*self._settled(), missing), parallel)

    def _take(self, seeds: int, told: Callable[[str], None]) -> None:
        """Take the results of a row of the same settings, in whichever of the paper's tables."""
        other = same_row(self.folder, json.loads(json.dumps(self._settings())))
        if other is None:
            return
        path, there = self.folder / "results.json", read_json(other / "results.json")
        kept = read_json(path) if path.is_file() else {}
        taken = {seed: one for seed, one in there.items() if seed not in kept and int(seed) <= seeds}
        if taken:
            told(f"{self.row.name}: seeds {', '.join(taken)} are those of {other}")
            write_json(path, {**kept, **taken}, indent=1)

    def first(self) -> dict[str, Any]:
        """Return the settings of the sweep that runs first: the tuning, or the fits where nothing is tuned."""
        return self._tuning() if self.row.space else self._fits(*self._begun(), [1])

    def _tuning(self) -> dict[str, Any]:
        base, fixed = self._begun()
        what = {"base": base, "fixed": fixed, "space": self.row.space}
        return {**self.paper.sweep, **what, "trials": self.budget.trials}

    def _fits(self, base: list[str], fixed: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
        return {
            "base": base,
            "fixed": fixed,
            "space": {"seed_everything": {"choices": seeds}},
            "objectives": dict(list(self.paper.sweep["objectives"].items())[:1]),
            "sampler": "lightning_vq.sweep.settings.Grid",
            "trials": len(seeds),
        }

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
            epoch = int(read_json(self.tuning.folder / "tuned.json")["epoch"])
            last = {"data.init_args.refit": True, "patience": None, "trainer.max_epochs": epoch + 1}
            return [str(self.tuning._tuned)], last
        return ([str(self._tuned)], {}) if self.row.space else self._begun()

    def _begun(self) -> tuple[list[str], dict[str, Any]]:
        """Return config files and fixed options of what is tuned, or of all fits where nothing is."""
        if self.row.chain is None:
            return self.row.base, self._fixed()
        *before, last = self._stages()
        folders = {stage.file.stem: str(stage.folder) for stage in before}
        paths = {key: folders[v] for key, v in leaves(last.config) if isinstance(v, str) and v in folders}
        return [str(last.file)], {**self._fixed(), **paths}

    def _before(self) -> Path:
        """Return where the stages before go: rows of the same ones share them, those of a paper's other tables too."""
        same = json.dumps([self.row.chain, self._data(), self.row.stages], sort_keys=True)
        return self.folder.parents[2] / "stages" / hashlib.sha256(same.encode()).hexdigest()[:8]

    def _data(self) -> dict[str, Any]:
        """Return what all stages must have alike."""
        return {key: value for key, value in self._fixed().items() if key.startswith("data.init_args.")}

    def _stages(self) -> list[Stage]:
        assert self.row.chain is not None
        options = [option(key, value) for key, value in {**self._data(), **self.row.stages}.items()]
        return stages_of(Path(self.row.chain), options, self._before())

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

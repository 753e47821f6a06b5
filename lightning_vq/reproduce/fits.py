"""What the fits of a row are asked for: config files, fixed options, space; what its results hang on."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lightning_vq.errors import UserError
from lightning_vq.reproduce.files import digests
from lightning_vq.reproduce.paper import Budget, Paper, Row
from lightning_vq.runs import read_json, read_yaml
from lightning_vq.sources.folders import is_path
from lightning_vq.stages import Stage, leaves, stages_of
from lightning_vq.sweep.space import option

TUNED = "tuned.json"  # what of a row's best trial is not in best.yaml


class RowFits:
    """The fits of one row under one budget: their settings, and what the results hang on.

    Args:
        paper: the table.
        row: of it.
        budget: how much tuning.
        folder: of the row.
        tuning: the row whose best trial is fitted again, if there is one.
        known: folder of another reproduction, whose tuned settings are taken; None: the row is tuned.
    """

    def __init__(
        self,
        paper: Paper,
        row: Row,
        budget: Budget,
        folder: Path,
        tuning: "RowFits | None" = None,
        known: Path | None = None,
    ) -> None:
        self.paper, self.row, self.budget, self.folder = paper, row, budget, folder
        self.tuning, self.known = tuning, known

    def check_settings(self) -> None:
        """Refuse runs of other settings than the table's now.

        Raises:
            UserError: with what has changed.
        """
        path = self.folder / "settings.json"
        if not path.is_file():
            return
        before, now = read_json(path), self.told_settings()
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
            files = [stage.file for stage in self.stages()]
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

    def told_settings(self) -> dict[str, Any]:
        """Return the settings as settings.json has them."""
        return json.loads(json.dumps(self._settings()))

    def first(self) -> dict[str, Any]:
        """Return the settings of the sweep that runs first: the tuning, or the fits where nothing is tuned."""
        return self.tuning_sweep() if self.row.space else self.seed_sweep(*self._begun(), [1])

    def tuning_sweep(self) -> dict[str, Any]:
        base, fixed = self._begun()
        what = {"base": base, "fixed": fixed, "space": self.row.space}
        return {**self.paper.sweep, **what, "trials": self.budget.trials}

    def seed_sweep(self, base: list[str], fixed: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
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
    def best(self) -> Path:
        return self.folder / "best.yaml"

    @property
    def tuned(self) -> bool:
        """Return whether the tuning is done."""
        return self.best.is_file()

    def settled(self) -> tuple[list[str], dict[str, Any]]:
        """Return config files and fixed options of what every seed is fitted with."""
        if self.tuning is not None:
            epoch = int(read_json(self.tuning.folder / TUNED)["epoch"])
            last = {"data.init_args.refit": True, "patience": None, "trainer.max_epochs": epoch + 1}
            return [str(self.tuning.best)], last
        return ([str(self.best)], {}) if self.row.space else self._begun()

    def _begun(self) -> tuple[list[str], dict[str, Any]]:
        """Return config files and fixed options of what is tuned, or of all fits where nothing is."""
        if self.row.chain is None:
            return self.row.base, self._fixed()
        *before, last = self.stages()
        folders = {stage.file.stem: str(stage.folder) for stage in before}
        paths = {key: folders[v] for key, v in leaves(last.config) if isinstance(v, str) and v in folders}
        return [str(last.file)], {**self._fixed(), **paths}

    def before(self) -> Path:
        """Return where the stages before go: rows of the same ones share them, those of a paper's other tables too."""
        same = json.dumps([self.row.chain, self._data(), self.row.stages], sort_keys=True)
        return self.folder.parents[2] / "stages" / hashlib.sha256(same.encode()).hexdigest()[:8]

    def _data(self) -> dict[str, Any]:
        """Return what all stages must have alike."""
        return {key: value for key, value in self._fixed().items() if key.startswith("data.init_args.")}

    def stages(self) -> list[Stage]:
        assert self.row.chain is not None
        options = [option(key, value) for key, value in {**self._data(), **self.row.stages}.items()]
        return stages_of(Path(self.row.chain), options, self.before())

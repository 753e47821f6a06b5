"""What the YAML of a paper's table may say, and reading it."""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lightning_vq.errors import UserError, nearest
from lightning_vq.messages import SettingsParser
from lightning_vq.reproduce.drawing import Drawing
from lightning_vq.reproduce.files import part_file, part_name
from lightning_vq.runs import read_yaml
from lightning_vq.sources.folders import is_path
from lightning_vq.sources.named import named_source

COSTS = ("seconds_per_epoch", "test_seconds", "bytes", "size")
COLUMN = (
    r"test/(\w+@\d+/\w+|auc|logloss|ece|gauc/\w+|rmse|mae|rmse_of_mean|mse/user)|random/(candidates|\w+@\d+)/\w+|"
    + "|".join(COSTS)
)


@dataclass
class Budget:
    """What a reproduction may cost.

    Args:
        trials: of each row's tuning, the same for base models and quantized ones; at least 1 where a row has a space.
        fixed: dotted key -> value for every fit, such as fewer epochs.
    """

    trials: int = 0
    fixed: dict = field(default_factory=dict)  # see sweep/settings.py


@dataclass
class Row:
    """A row of the table: a model on a data set.

    Args:
        name: as the paper has it.
        source: data set; null for one that lightning_vq does not have.
        get: how to come by such a data set.
        base: config files of its fits, layered left to right.
        fixed: dotted key -> value.
        chain: folder of configs, the last of which is the row's base; the others run before, once for all rows that
            have them of one `fixed` data and one `stages`.
        stages: dotted key -> value for those before, as options of the verb `chain`.
        space: what is tuned, as in a sweep; nothing where the settings are known.
        refit_of: name of the row whose best trial is fitted again, on train and validation and for as many epochs.
        over: name of the row that this one is said to be better than.
        seeds: how many fits, where not as many as the table has.
        paper: column -> the paper's figure; a column may be missing.
        comparable: the paper's figures are of the same data.
        note: what a reader must know of this row.
    """

    name: str
    source: str | None = None
    get: str | None = None
    base: list[str] = field(default_factory=list)
    fixed: dict = field(default_factory=dict)  # see sweep/settings.py
    chain: str | None = None
    stages: dict = field(default_factory=dict)
    space: dict = field(default_factory=dict)
    refit_of: str | None = None
    over: str | None = None
    seeds: int | None = None
    paper: dict[str, float] = field(default_factory=dict)
    comparable: bool = True
    note: str | None = None

    @property
    def slug(self) -> str:
        """Return the name as that of a folder."""
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in self.name.lower())

    def at_hand(self, root: str | None) -> str | None:
        """Return None, or how to get the row's data set.

        Args:
            root: of named sources.
        """
        if self.source is None:
            return self.get
        if self.source == "planted":
            return None
        if is_path(self.source):
            return None if Path(self.source).exists() else f"put it at {self.source}"
        source = named_source(self.source)
        if source.folder(root).is_dir():
            return None
        return source.how


@dataclass
class Paper:
    """A table.

    Args:
        title: paper and table number.
        columns: the paper's column -> `test/...` of our runs, seconds_per_epoch, test_seconds, bytes (of the
            model as served: id tables and all other weights), size (their share of the same model in float32), or
            `random/METRIC@K/PROTOCOL` of a random scorer and `random/candidates/PROTOCOL`, how many it has.
        budgets: by name; the first is the default.
        sweep: settings of every row's tuning, as in a sweep's file: objectives, sampler, pruner, fixed.
        rows: in the order in which they run.
        seeds: how many fits of the tuned config the means are over: seeds 1, 2, ..., as tuning has seed 0.
        tolerance: a figure nearer than this share to the paper's is called within it; null: figures that no other
            machine or data set can have.
        about: what a reader must know of the whole table.
        margin: of a loss that is small enough, a share: the table of gains tells whether their 95 % intervals lie above
            -margin (non-inferiority).
        drawing: a picture beside table.png, or none.
        tested: columns whose gains are tested, chosen before they are seen: Holm's correction over few tests leaves
            few seeds something to say; none for all.
    """

    title: str
    columns: dict[str, str]
    budgets: dict[str, Budget]
    sweep: dict[str, Any]
    rows: list[Row]
    seeds: int = 3
    tolerance: float | None = 0.03
    about: str | None = None
    margin: float | None = None
    drawing: Drawing | None = None
    tested: list[str] = field(default_factory=list)

    def asked(self, row: Row, seeds: int | None) -> int:
        """Return how many fits a row is to have, where `seeds` are asked for, or None."""
        return seeds or row.seeds or self.seeds

    def tests(self, column: str) -> bool:
        """Return whether gains of a column, or of a group of users or items, are tested."""
        return not self.tested or column in self.tested or column not in self.columns

    def root(self, row: Row) -> str | None:
        """Return the folder of named sources that a row is given, if it is."""
        return {**self.sweep.get("fixed", {}), **row.fixed}.get("data.init_args.root")

    def grouped(self) -> str | None:
        """Return the metric that is told by groups: the first column that a user has a value of."""
        metrics = (name.removeprefix("test/") for name in self.columns.values() if name.startswith("test/"))
        told = (name for name in metrics if re.fullmatch(r"(hr|ndcg|mrr)@\d+/\w+|mse/user", name))
        return next(told, None)

    def told_beside(self) -> dict[str, Any]:
        """Return what a run's groups and its part of the drawing depend on."""
        return {"groups": self.grouped(), "drawing": self.drawing.kept_of() if self.drawing is not None else None}

    def grouped_column(self) -> str:
        """Return the column of that metric; nothing where no column is told by groups."""
        return next((column for column, name in self.columns.items() if name == f"test/{self.grouped()}"), "")

    def check(self) -> None:
        """Refuse what no parser can.

        Raises:
            UserError: a name that stands twice or for nothing.
        """
        if not self.budgets or not self.columns or not self.sweep.get("objectives"):
            raise UserError("a table needs at least one budget, one column and one of sweep's objectives")
        for column, name in self.columns.items():
            if not re.fullmatch(COLUMN, name):
                raise UserError(f"column {column!r}: {name!r} is neither test/METRIC@K/PROTOCOL nor one of {COSTS}")
        for column in self.tested:
            if column not in self.columns:
                raise UserError(f"tested: {column!r} is no column{nearest(column, self.columns)}")
        names = [row.name for row in self.rows]
        for name, budget in self.budgets.items():
            if budget.trials < 1 and any(row.space for row in self.rows):
                raise UserError(f"budgets.{name}.trials is {budget.trials}; rows with a space need at least 1")
        if self.margin is not None and not 0 < self.margin < 1:
            raise UserError(f"margin is {self.margin}; it must be a share between 0 and 1, such as 0.03")
        if self.drawing is not None:
            self.drawing.check(list(self.columns), names)
        if len({row.slug for row in self.rows}) < len(names):
            raise UserError(f"rows: two have one name: {', '.join(sorted(n for n in names if names.count(n) > 1))}")
        for i, row in enumerate(self.rows):
            if row.over is not None and row.over not in names[:i]:
                raise UserError(f"row {row.name!r}: over {row.over!r} is no earlier row{nearest(row.over, names)}")
            tuned = [earlier.name for earlier in self.rows[:i] if earlier.space]
            if row.refit_of is not None and (row.refit_of not in tuned or row.space):
                raise UserError(
                    f"row {row.name!r}: refit_of {row.refit_of!r} is no earlier row with a space of its own"
                )
            for column in row.paper:
                if column not in self.columns:
                    raise UserError(f"row {row.name!r}: {column!r} is no column{nearest(column, self.columns)}")
            if row.refit_of is not None and (row.base or row.fixed):
                raise UserError(f"row {row.name!r}: its base and fixed are those of {row.refit_of!r}")
            if (row.source is None) == (row.get is None):
                raise UserError(f"row {row.name!r} needs either source, or get: how to come by its data")
            if row.source is not None and [bool(row.base), bool(row.chain), bool(row.refit_of)].count(True) != 1:
                raise UserError(f"row {row.name!r} needs one of base, chain and refit_of")
            if row.stages and row.chain is None:
                raise UserError(f"row {row.name!r} has stages, but no chain of which they are")

    def chosen(self, patterns: list[str]) -> list[Row]:
        """Return the rows whose names match a pattern; all of them without patterns.

        Raises:
            UserError: a pattern that matches none.
        """
        for pattern in patterns:
            if not any(fnmatch(row.name.lower(), pattern.lower()) for row in self.rows):
                raise UserError(f"--rows {pattern!r} matches no row{nearest(pattern, [row.name for row in self.rows])}")
        return [r for r in self.rows if not patterns or any(fnmatch(r.name.lower(), p.lower()) for p in patterns)]


def _refuse_unknown(where: str, told: Any, kind: type[Paper] | type[Row]) -> None:
    for key in told if isinstance(told, dict) else ():
        if key not in kind.__dataclass_fields__:
            raise UserError(f"{where}: unknown key {key!r}{nearest(str(key), kind.__dataclass_fields__)}")


def read_paper(name: str) -> tuple[str, Paper]:
    """Return the name and the table of conf/papers/<name>.yaml, or of a file of your own.

    Raises:
        UserError: there is none, or it says what no table may.
    """
    path = part_file(name)
    told = read_yaml(path)
    if not isinstance(told, dict):
        raise UserError(f"{path}: a table is a mapping with title, columns, budgets, sweep and rows")
    told.pop("shared", None)  # where a file keeps what its rows have in common, by YAML's own anchors
    _refuse_unknown(str(path), told, Paper)
    for key in ("title", "columns", "budgets", "sweep", "rows"):
        if key not in told:
            raise UserError(f"{path}: it has no {key!r}, which every table has")
    for i, row in enumerate(told.get("rows") or []):
        _refuse_unknown(f"{path}: rows[{i}]", row, Row)
    parser = SettingsParser()
    parser.add_class_arguments(Paper, as_group=False)
    try:
        parsed = parser.parse_object(told)
        # Not instantiated: classes that a sweep's settings name would be made here.
        plain = parsed.as_dict()
        budgets = {key: Budget(**value) for key, value in plain["budgets"].items()}
        drawing = Drawing(**plain["drawing"]) if plain["drawing"] else None
        rows = [Row(**row) for row in plain["rows"]]
        paper = Paper(**{**plain, "budgets": budgets, "rows": rows, "drawing": drawing})
        paper.check()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return part_name(path), paper

"""What the columns of a table of samples are."""

from dataclasses import dataclass, field
from typing import Literal

from lightning_vq.errors import UserError

Numeric = Literal["standardised"] | int


@dataclass
class Schema:
    """The columns of a table for click-through rate.

    Args:
        categorical: columns of ids, each with a vocabulary of its own.
        numeric: column -> "standardised" (less the training mean, over the training deviation) or into how many
            buckets of as many training values each; a bucketed column is a categorical one, a gap in it unknown.
        sequence: column of many ids -> the vocabulary they are of: a categorical column's, or the column's own. In text
            ids stand between `separator`, in Parquet they may be a list.
        label: column of 0 and 1, or of numbers where `label_above` is given.
        label_above: a label is 1 where the column is above this.
        label_drop: rows whose label column is one of these are left out.
        split: column of "train", "dev", "test", where the split is given.
        timestamp: column of numbers, for a split by time.
        group: column whose rows are ranked together in ranking metrics (a user, an impression), and stay together in a
            split by group.
        min_count: a value that is rarer in training, sequences of its vocabulary included, shares one row with all that
            training has not seen.
        max_length: of a sequence, whose last values are kept.
        separator: of a sequence in text.
    """

    categorical: list[str] = field(default_factory=list)
    numeric: dict[str, Numeric] = field(default_factory=dict)
    sequence: dict[str, str] = field(default_factory=dict)
    label: str = "label"
    label_above: float | None = None
    label_drop: list[float] = field(default_factory=list)
    split: str | None = None
    timestamp: str | None = None
    group: str | None = None
    min_count: int = 1
    max_length: int = 50
    separator: str = " "

    def check(self) -> None:
        """Refuse what no table can be read by.

        Raises:
            UserError: with the key.
        """
        where = "data.init_args.schema"
        fields = [*self.categorical, *self.numeric, *self.sequence]
        if not fields:
            raise UserError(f"{where} names no categorical, numeric or sequence column")
        for name in fields:
            if fields.count(name) > 1 or name == self.label:
                raise UserError(f"{where}: the column {name!r} is named twice")
        for key in ("split", "timestamp", "group"):
            if getattr(self, key) == self.label:
                raise UserError(f"{where}.{key} is {self.label!r}, which is the label")
        for name, how in self.numeric.items():
            if how != "standardised" and not (isinstance(how, int) and how >= 2):
                raise UserError(f"{where}.numeric.{name} is {how!r}; it must be at least 2 buckets, or standardised")
        for name, vocab in self.sequence.items():
            if vocab != name and vocab not in self.categorical:
                raise UserError(f"{where}.sequence.{name} is {vocab!r}; it must be a categorical column, or {name}")
        for key, least in (("min_count", self.min_count), ("max_length", self.max_length)):
            if least < 1:
                raise UserError(f"{where}.{key} is {least}; it must be at least 1")
        if not self.separator:
            raise UserError(f"{where}.separator is empty")

    @property
    def standardised(self) -> list[str]:
        return [name for name, how in self.numeric.items() if how == "standardised"]

    @property
    def bucketed(self) -> dict[str, int]:
        return {name: how for name, how in self.numeric.items() if isinstance(how, int)}

    def fields(self) -> dict[str, str]:
        """Return categorical field -> its vocabulary."""
        return {name: name for name in [*self.categorical, *self.bucketed]}

    def ids(self) -> dict[str, str]:
        """Return column of ids -> its vocabulary."""
        return {name: name for name in self.categorical} | self.sequence

    def columns(self, split: str) -> dict[str, str]:
        """Return the columns to be read -> the keys of the config that name them.

        Args:
            split: given, ratio, time or group.

        Raises:
            UserError: the split goes by a column that has no name.
        """
        where = "data.init_args.schema."
        wanted = {self.label: where + "label"}
        for key, names in (("categorical", self.categorical), ("numeric", self.numeric), ("sequence", self.sequence)):
            wanted |= dict.fromkeys(names, where + key)
        for kind, key, name in (
            ("given", "split", self.split),
            ("time", "timestamp", self.timestamp),
            ("group", "group", self.group),
        ):
            if name is None and kind == split:
                raise UserError(f"data.init_args.split is {split!r}, but {where}{key} names no column")
            if name is not None and kind in (split, "group"):
                wanted.setdefault(name, where + key)
        return wanted

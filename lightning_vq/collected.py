"""Columns of cases that processes collect batch by batch, and bring together at the end of a stage."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Collected(Metric):
    """Cases of all processes, rising; one that is seen twice counts once.

    A subclass names its columns by a NamedTuple whose first field, `cases`, is the place of each in the data.
    """

    full_state_update = False
    kind: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        for name in self.kind._fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._dims: list[int] = []  # of the columns

    def take(self, *columns: Tensor) -> None:
        """Take a batch of every column."""
        for name, column in zip(self.kind._fields, columns, strict=True):
            getattr(self, name).append(column)

    def compute(self) -> Any:
        """Return the columns; what has one element is a scalar, as torchmetrics has it."""
        columns = [dim_zero_cat(getattr(self, name)) for name in self.kind._fields]
        order = torch.argsort(columns[0], stable=True)
        cases = columns[0][order]
        first = torch.ones_like(cases, dtype=torch.bool)
        first[1:] = cases[1:] != cases[:-1]
        self._dims = [column.dim() for column in columns]
        return self.kind(*(column[order[first]] for column in columns))

    def whole(self) -> Any:
        """Return the columns, one element of each case."""
        found = self.compute()  # of one element torchmetrics makes a scalar
        return self.kind(
            *(one.reshape([1] * dim) if one.dim() == 0 else one for one, dim in zip(found, self._dims, strict=True))
        )

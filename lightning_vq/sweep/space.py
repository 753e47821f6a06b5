"""The space of a study: what a trial's parameters may be, and the options of `fit` that they stand for."""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from optuna import Trial

from lightning_vq.errors import UserError, nearest

Value = bool | int | float | str | None


class Suggesting(Protocol):
    """Draws a value, and says which values to try before the first trial."""

    def suggest(self, trial: Trial, name: str) -> Any: ...
    def edges(self) -> list[Any]: ...
    def grid(self, name: str) -> dict[str, list[Value]] | None: ...


class Range(NamedTuple):
    """Numbers from low to high, both included: integers if both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: Trial, name: str) -> Any:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=int(self.step or 1))
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def edges(self) -> list[Any]:
        last = self.high if self.step is None else self.low + self.step * int((self.high - self.low) / self.step + 1e-9)
        return [self.low, last]

    def grid(self, name: str) -> dict[str, list[Value]] | None:
        step = self.step or (1 if isinstance(self.low, int) and isinstance(self.high, int) else None)
        if step is None or self.log:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        return {name: [self.low + i * step for i in range(count)]}


class Choices(NamedTuple):
    """One of several values; lists and mappings among them reach Optuna as JSON."""

    values: tuple[Any, ...]

    def suggest(self, trial: Trial, name: str) -> Any:
        coded = [encoded(value) for value in self.values]
        return self.values[coded.index(trial.suggest_categorical(name, coded))]

    def edges(self) -> list[Any]:
        return list(self.values)

    def grid(self, name: str) -> dict[str, list[Value]] | None:
        return {name: [encoded(value) for value in self.values]}


class Sizes(NamedTuple):
    """Codebook sizes, level by level from `first` down to `last`, evenly in the logarithm.

    Three parameters that always matter (but `last` at depth 1), in place of one for each level that may be there.
    """

    depth: Suggesting
    first: Suggesting
    last: Suggesting

    def suggest(self, trial: Trial, name: str) -> Any:
        return sizes(*(part.suggest(trial, f"{name}.{what}") for what, part in self._asdict().items()))

    def edges(self) -> list[Any]:
        d, f, t = (part.edges() for part in self)
        return [sizes(depth, first, last) for depth in d for first in f for last in t]

    def grid(self, name: str) -> dict[str, list[Value]] | None:
        parts = [part.grid(f"{name}.{what}") for what, part in self._asdict().items()]
        return None if None in parts else {k: v for part in parts if part for k, v in part.items()}


def sizes(depth: int, first: int, last: int) -> list[int]:
    """Return codebook sizes that fall from level to level; equal neighbours are one level.

    >>> sizes(2, 500, 10), sizes(3, 8, 512), sizes(1, 40, 8), sizes(3, 5, 4)
    ([500, 10], [512, 64, 8], [40], [5, 4])
    """
    if depth == 1:
        return [first]
    top, bottom = max(first, last), min(first, last)
    return sorted({round(top * (bottom / top) ** (i / (depth - 1))) for i in range(depth)}, reverse=True)


def encoded(value: Any) -> Value:
    """Return a value as Optuna stores it.

    >>> encoded([500, 10]), encoded("kmeans"), encoded(0.1)
    ('[500, 10]', 'kmeans', 0.1)
    """
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def option(key: str, value: Any) -> str:
    """Return an option of `fit`.

    >>> option("patience", None), option("data.init_args.source", "ml-1m"), option("model.init_args.lr", 1e-05)
    ('--patience=null', '--data.init_args.source=ml-1m', '--model.init_args.lr=1e-05')
    """
    return f"--{key}={value if isinstance(value, str) else json.dumps(value)}"


def short(names: list[str]) -> list[str]:
    """Return the shortest endings of dotted names that tell them apart.

    >>> short(["model.init_args.lr", "sizes.first", "a.alpha", "b.alpha"])
    ['lr', 'first', 'a.alpha', 'b.alpha']
    """
    found = []
    for name in names:
        parts = name.split(".")
        endings = [".".join(parts[-i:]) for i in range(1, len(parts) + 1)]
        alone = [e for e in endings if not any(n != name and f".{n}".endswith(f".{e}") for n in names)]
        found.append((alone or [name])[0])
    return found


class Parameter(NamedTuple):
    """A named part of the space and the config keys that it sets."""

    name: str
    keys: tuple[str, ...]
    drawn: Suggesting

    def options(self, value: Any) -> list[str]:
        return [option(key, value) for key in self.keys]


def read_space(space: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters of a sweep's `space`.

    Raises:
        UserError: a parameter that is none of the three kinds, or two that set the same key.
    """
    parameters: list[Parameter] = []
    owner: dict[str, str] = {}
    for name, told in space.items():
        if not isinstance(told, Mapping):
            raise UserError(f"space: {name!r} must be a mapping: {{low, high}}, {{choices}} or {{depth, first, last}}")
        rest = {key: value for key, value in told.items() if key != "keys"}
        keys = told.get("keys", [name])
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise UserError(f"space: {name!r}: keys must be a list of dotted config keys")
        for key in keys:
            if key in owner:
                raise UserError(f"space: {owner[key]!r} and {name!r} both set {key}")
            owner[key] = name
        parameters.append(Parameter(name, tuple(keys), _drawn(name, rest, nested=False)))
    return parameters


def _drawn(name: str, told: Mapping[str, Any], nested: bool) -> Suggesting:
    kinds = ({"low", "high", "log", "step"}, {"choices"}, set() if nested else {"depth", "first", "last"})
    known = {key for kind in kinds for key in kind}
    for key in told:
        if key not in known:
            raise UserError(f"space: {name!r}: unknown key {key!r}{nearest(key, known | {'keys'})}")
    fits = [i for i, kind in enumerate(kinds) if set(told) and set(told) <= kind]
    if fits == [0]:
        return _range(name, told)
    if fits == [1]:
        values = told["choices"]
        if not isinstance(values, list) or not values:
            raise UserError(f"space: {name!r}: choices must be a list with at least one value")
        if any(value == other for i, value in enumerate(values) for other in values[:i]):  # 1 and true are equal too
            raise UserError(f"space: {name!r}: choices holds one twice")
        for value in values:
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise UserError(f"space: {name!r}: choice {value!r} is no plain value; put it in quotes?") from None
        return Choices(tuple(values))
    if fits == [2] and len(told) == 3:
        parts = [_whole(f"{name}.{what}", told[what]) for what in ("depth", "first", "last")]
        return Sizes(*parts)
    raise UserError(f"space: {name!r} must have low and high, or choices, or depth, first and last; it has {[*told]}")


def _range(name: str, told: Mapping[str, Any]) -> Range:
    if not {"low", "high"} <= set(told):
        raise UserError(f"space: {name!r} needs both low and high")
    low, high, log, step = told["low"], told["high"], told.get("log", False), told.get("step")
    for key, value in {"low": low, "high": high, **({} if step is None else {"step": step})}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            hint = "; YAML reads 1e-3 as text, write 1.0e-3" if isinstance(value, str) else ""
            raise UserError(f"space: {name!r}: {key} is {value!r}, not a number{hint}")
        if not math.isfinite(value):
            raise UserError(f"space: {name!r}: {key} is {value}")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, float):
        raise UserError(f"space: {name!r}: step is {step} between whole numbers; write {float(low)} for any number")
    if low > high or (log and low <= 0) or (step is not None and (step <= 0 or log)):
        raise UserError(
            f"space: {name!r}: low {low}, high {high}, log {log}, step {step}: low must not be above high, "
            "must be positive for log, and step goes without log"
        )
    return Range(low, high, bool(log), step)


def _whole(name: str, told: Any) -> Suggesting:
    if isinstance(told, int):
        told = {"choices": [told]}
    if not isinstance(told, Mapping):
        raise UserError(f"space: {name!r} must be a whole number, {{low, high}} or {{choices}}")
    drawn = _drawn(name, told, nested=True)
    if not all(isinstance(edge, int) and not isinstance(edge, bool) and edge >= 1 for edge in drawn.edges()):
        raise UserError(f"space: {name!r}: {drawn.edges()} must be whole numbers from 1")
    return drawn

"""The classes of a family of modules, so that tests which hold for all of them need no list."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def discovered(family: ModuleType, kind: type[T]) -> list[type[T]]:
    """Return the concrete subclasses of `kind` in the modules of a package, by name."""
    found = set()
    for module in pkgutil.iter_modules(family.__path__, family.__name__ + "."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {one for one in members if inspect.isclass(one) and issubclass(one, kind)}
    return sorted((one for one in found if not inspect.isabstract(one)), key=lambda one: one.__name__)

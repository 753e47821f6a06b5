"""Objects as plain data: {"class_path", "init_args"}, so that a checkpoint opens alone with weights_only=True.

An object keeps each constructor argument in an attribute of the same name; that is all `describe` asks for.
"""

import importlib
import inspect
import sys
from typing import Any, TypeVar

from lightning_vq.errors import UserError

T = TypeVar("T")


def describe(thing: object) -> dict[str, Any]:
    """Return the spec that `construct` turns into an equal object."""
    kind = type(thing)
    names = [n for n in inspect.signature(kind.__init__).parameters if n != "self"]
    return {
        "class_path": f"{kind.__module__}.{kind.__qualname__}",
        "init_args": {n: getattr(thing, n) for n in names},
    }


def construct(spec: dict[str, Any], base: type[T]) -> T:
    """Make the object that a spec names, if and only if it is a `base`.

    Raises:
        UserError: the class does not exist or is no subclass of `base`. Without this check a checkpoint could
            name any callable and have it run.
    """
    path = str(spec.get("class_path"))
    module_name, _, name = path.rpartition(".")
    if not module_name.startswith("lightning_vq.") and module_name not in sys.modules:
        # Importing runs a module's code: a class of your own is opened where your code has imported it.
        raise UserError(f"checkpoint names the class {path}, whose module is not imported: refused")
    try:
        kind = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"checkpoint names the class {path}, which cannot be imported here ({error})") from None
    if not (inspect.isclass(kind) and issubclass(kind, base)) or inspect.isabstract(kind):
        raise UserError(f"checkpoint names the class {path}, which is not a {base.__name__}: refused")
    try:
        return kind(**spec["init_args"])
    except (TypeError, KeyError) as error:
        raise UserError(f"checkpoint names the class {path} with arguments that it does not take: {error}") from None

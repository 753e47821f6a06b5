"""What reaches the terminal: one line for a parser's pages of complaint, and no warning that nobody can act on."""

import difflib
import importlib
import inspect
import logging
import pkgutil
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from jsonargparse import ArgumentParser

from lightning_vq.errors import UserError, nearest


class SettingsParser(ArgumentParser):
    """A parser of settings whose errors are one line that names the key and the nearest right one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(one_line(message, self))


def one_line(message: str, parser: ArgumentParser) -> str:
    """Return the heart of a parser's message, with a suggestion where a name is unknown."""
    text = " ".join(line.strip() for line in message.splitlines() if line.strip())
    alone = re.search(r"[Uu]nrecognized arguments: ([^-\s]\S*)", text)
    if alone:
        belongs = "--config" if alone[1].endswith((".yaml", ".yml")) else "--run" if Path(alone[1]).is_dir() else None
        return f"{alone[1]!r} belongs to no option" + (f"; did you mean {belongs} {alone[1]}?" if belongs else "")
    unknown = re.search(
        r"(?:[Uu]nrecognized arguments: (?:--)?|Key '|No action for key '|does not accept option ')([\w.]+)", text
    )
    of_verb = re.match(r"Subcommand '(\w+)'", text)
    if of_verb:
        [verbs] = [action for action in parser._actions if action.dest == "subcommand"]
        parser = verbs.choices[of_verb[1]]  # type: ignore[index]
    if unknown:
        return f"unknown key {unknown[1]!r}{_near_key(unknown[1], parser)}"
    # A value that fits none of the types of an optional key: all but the first of them is "or None".
    head = re.match(r'(?:Parser )?(key "[\w.]+")', text)
    heart = re.search(r"Errors: - (.*?)(?: - Expected a <class 'NoneType'>| Given value type|$)", text)
    if heart:
        text = f"{head[1]}: {heart[1]}" if head else heart[1]
        given = re.search(r"Given value: (\S+)$", message.strip())
        if given and re.search(r"Expected a <class '\w+'>$", text):
            text += f", not {given[1]}"
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text).replace("Parser key", "key")
    literal = re.fullmatch(r"(.*)Expected a typing\.Literal\[([^\]]*)\]\. Got value: (\S*)", text)
    if literal:
        near = nearest(literal[3], re.findall("'([^']*)'", literal[2]))
        text = f"{literal[1]}there is no {literal[3]!r}{near}"
    option = re.search(r"Option '([^'.]+)[^']*' is not accepted", text)
    if option:
        text = text.replace(option[0], f"unknown key {option[1]!r}{_near_argument(option[1], parser)}")
    if "Dict must include a class_path" in text:
        text = f"{head[1] if head else 'config'}: an entry has no class_path; is its name spelt as in the config file?"
    missing = re.search(r"module '([\w.]+)' has no attribute '(\w+)'", text)
    if missing:
        near = _near_class(missing[2], importlib.import_module(missing[1]))
        text = f"{head[1] if head else 'config'}: {missing[1]} has no class {missing[2]!r}{near}"
    needs = re.search(r"the following arguments are required: ([\w, ]+)", text)
    if head and needs:
        missing_arguments = needs[1].strip()
        text = f"{head[1]}: a class there needs init_args: {missing_arguments} (is its name one of the config's?)"
    elif "arguments are required" in text and any(action.dest == "run" for action in parser._actions):
        text += " (give --config FILE, or --run DIR)"
    return text if len(text) < 500 else text[:500] + " ..."


def _near_key(key: str, parser: ArgumentParser) -> str:
    strings = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
    keys = [key for key in strings if len(key) > 1 and key not in ("help", "print_config", "print_shtab")]
    section = key.rpartition(".")[0]
    siblings = [k for k in keys if k.rpartition(".")[0] == section] or keys
    deeper = [k for k in keys if k.endswith(f".{key}")]
    hint = f"; did you mean {deeper[0]!r}?" if deeper else nearest(key, siblings)
    return hint if len(hint) < 200 else ""


def _near_argument(name: str, parser: ArgumentParser) -> str:
    """Return what to write in place of an argument that a class does not have, given the parser of its arguments."""
    strings = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
    names = sorted(name for name in strings if re.fullmatch(r"\w{2,}", name) and name != "help")
    return nearest(name, names)


def _near_class(name: str, module: ModuleType) -> str:
    """Return what to write in place of a class that a module does not have: one of its own, or of what is in it."""
    own = [key for key, value in vars(module).items() if inspect.isclass(value)]
    if own:
        return nearest(name, own)
    if module.__name__.partition(".")[0] != __name__.partition(".")[0]:
        return ""  # to import what is in there may do anything
    inner: dict[str, str] = {}  # class -> whole path
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        found = vars(importlib.import_module(info.name)).items()
        inner |= {key: f"{info.name}.{key}" for key, value in found if getattr(value, "__module__", "") == info.name}
    close = difflib.get_close_matches(name, inner, n=1)
    return f"; did you mean {inner[close[0]]!r}?" if close else ""


def quieten() -> None:
    """Keep the terminal to what a user can act on."""
    for noise in (
        "args parameter is intended to run",
        "callbacks used to create the checkpoint need",
        "The dirpath has changed",
        "sync_dist=True",  # what is logged without it is the same on all ranks
        "broadcast_buffers",
        "treespec, LeafSpec",
        "exists and is not empty",
        "smaller than the logging interval",
        "does not have many workers",
        "resumed from a checkpoint that ended",
        "predict returned None",  # of batches that are kept for later ones
    ):
        warnings.filterwarnings("ignore", message=f".*{noise}.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "litlogger" not in r.getMessage())

"""The stages of a chain: configs of a folder that follow each other, and the options that each is told."""

import hashlib
import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_vq.errors import UserError, nearest
from lightning_vq.runs import read_yaml

OPTION = re.compile(r"--(?:(?P<stage>\d\w*)\.)?(?P<key>[a-zA-Z_][\w.]*)=(?P<value>.*)", re.DOTALL)


class Stage(NamedTuple):
    """A run of a chain."""

    file: Path
    config: dict[str, Any]
    options: list[str]  # of the command line
    folder: Path
    reads: list[str]  # earlier stages

    @property
    def asked(self) -> dict[str, Any]:
        """Return what makes it this run and no other: what it is told, and which runs it reads."""
        earlier = (self.folder.parent / name / "metrics.json" for name in self.reads)
        reads = {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in earlier if path.is_file()}
        return {"config": self.config, "options": sorted(self.options), "reads": reads}


def stages_of(folder: Path, options: Sequence[str], out: Path) -> list[Stage]:
    """Return the stages of a chain.

    Args:
        folder: of its configs.
        options: "--KEY=VALUE", "--STAGE.KEY=VALUE".
        out: folder of the runs.

    Raises:
        UserError: there are no configs, or an option is of no stage.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: a chain is a folder of configs, such as conf/dqrec")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(f"{folder} has no configs (.yaml)")
    configs = {file: read_yaml(file) for file in files}
    for file, config in configs.items():
        if not isinstance(config, dict):
            raise UserError(f"{file}: a config is a mapping with model, data and so on")
    runs = {file.stem: out / file.stem for file in files}
    chosen: dict[Path, list[str]] = {file: [] for file in files}
    reads: dict[Path, list[str]] = {file: [] for file in files}
    for i, file in enumerate(files):
        earlier = {before.stem: runs[before.stem] for before in files[:i]}
        for key, value in leaves(configs[file]):
            if isinstance(value, str) and value in earlier:
                chosen[file].append(f"--{key}={earlier[value].absolute()}")
                reads[file].append(value)
    if len(files) > 1 and not any(reads.values()):
        raise UserError(
            f"{folder} is no chain: none of its {len(files)} configs has the name of an earlier one as a value"
        )
    own: dict[Path, list[str]] = {file: [] for file in files}  # last: what is told one stage alone holds there
    for option in options:
        parts = OPTION.fullmatch(option)
        if parts is None:
            raise UserError(f"chain: {option!r} is no option of the form --KEY=VALUE")
        key, stage = parts["key"], parts["stage"]
        keyed = f"--{key}={parts['value']}"
        if stage is None:
            of = [file for file in files if takes(configs[file], key)]
            if not of:
                raise UserError(f"chain: {key!r} is an option of no stage{_nearest_key(key, list(configs.values()))}")
        else:
            of = [file for file in files if is_named(stage, file)]
            if not of:
                raise UserError(f"chain: {option!r} is of no stage{nearest(stage, runs)}")
        for file in of:
            (chosen if stage is None else own)[file].append(keyed)
    return [Stage(file, configs[file], chosen[file] + own[file], runs[file.stem], reads[file]) for file in files]


def _nearest_key(key: str, configs: Sequence[dict[str, Any]]) -> str:
    """Return what `nearest` tells: of an argument of a known class by itself, since whole keys are alike for what they
    begin with; else of keys that the configs have."""
    head, between, name = key.rpartition(".init_args.")
    near = [other for config in configs for other in neighbours(config, key)]
    names = [other.removeprefix(head + between) for other in near if other.startswith(head + between)]
    if names:
        return nearest(name, names)
    return nearest(key, near or [other for config in configs for other, _ in leaves(config)])


def takes(config: dict[str, Any], key: str) -> bool:
    """Return whether what a config is of has an option: that its class takes, or, where it is of no class, any."""
    return key in neighbours(config, key) or ".init_args." not in key


def neighbours(config: dict[str, Any], key: str) -> list[str]:
    """Return the keys that a config could have in the place of one: of all arguments of its class, if it is of one.

    What follows an argument (an entry of a mapping) stays as it is.
    """
    of, rest, before = config, key, ""
    while ".init_args." in rest:
        section, _, rest = rest.partition(".init_args.")
        before += f"{section}.init_args."
        for part in section.split("."):
            of = of.get(part) or {} if isinstance(of, dict) else {}
        if not isinstance(of, dict) or "class_path" not in of:
            return []
        module, _, name = of["class_path"].rpartition(".")
        try:
            kind = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            raise UserError(f"there is no class {of['class_path']}") from None
        argument, _, inner = rest.partition(".")
        known = list(inspect.signature(kind).parameters)
        if argument not in known or ".init_args." not in rest:
            return [before + ".".join(filter(None, (one, inner))) for one in known]
        of = of.get("init_args") or {}
    return []


def leaves(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys and values of a config, inner ones too.

    >>> leaves({"a": {"b": 1}, "c": "x"})
    [('a.b', 1), ('c', 'x')]
    """
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found


def unmade(file: Path) -> list[str]:
    """Return the stages of a chain that one of its configs reads, and that are not there by these names."""
    beside = {other.stem for other in file.parent.glob("*.yaml") if other != file}
    read = [value for _, value in leaves(read_yaml(file)) if isinstance(value, str) and value in beside]
    return [name for name in read if not Path(name).exists()]


def stage_named(name: str, stages: Sequence[Stage]) -> Stage:
    """Return the stage of a name, or of what stands before a name's first "_".

    Raises:
        UserError: there is none.
    """
    for stage in stages:
        if is_named(name, stage.file):
            return stage
    raise UserError(f"chain: {name!r} is no stage{nearest(name, [stage.file.stem for stage in stages])}")


def is_named(name: str, file: Path) -> bool:
    """Return whether a stage's config is meant."""
    return name in (file.stem, file.stem.partition("_")[0])

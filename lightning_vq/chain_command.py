"""`python -m lightning_vq chain DIR`: runs that follow each other, of which each reads what an earlier one left."""

import argparse
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from lightning_vq.child import first_refused, fit_in_child
from lightning_vq.errors import UserError, nearest
from lightning_vq.parser import Parser
from lightning_vq.runs import STAGE, read_json, read_yaml, write_json

RECORD = "chain.json"  # of a chain's folder: how each stage was asked for
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


def main(arguments: Sequence[str]) -> None:
    """Run what is not complete of a chain.

    Args:
        arguments: of the verb.

    Raises:
        UserError: the folder or an option is wrong, a stage was run otherwise before, or fails.
        KeyboardInterrupt: it was stopped.
    """
    parser = Parser(
        prog="chain",
        description="Run the configs of a folder one after the other, in the order of their names. In a config, the "
        "name of an earlier one stands for its run folder. What is complete is skipped, what was stopped goes on.",
        epilog="--KEY=VALUE goes to each config whose classes take it, --1.KEY=VALUE to the one whose name begins so",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("chain", type=Path, help="folder of YAMLs, such as conf/dqrec")
    parser.add_argument("--out", type=Path, help="where the runs go; runs/NAME without it")
    told, rest = parser.parse_known_args(list(arguments))
    out = told.out or Path("runs") / told.chain.absolute().name
    run_stages(stages_of(told.chain, rest, out), out)
    print(f"The chain is complete: {out}")


def run_stages(stages: Sequence[Stage], out: Path) -> None:
    """Run what is not complete of the stages of a chain.

    Args:
        stages: all of them, or the first ones.
        out: folder of the runs.

    Raises:
        UserError: a stage was run otherwise before, or fails.
        KeyboardInterrupt: it was stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):  # a second process waits, and then finds them complete
        _run_stages(stages, out)


def _run_stages(stages: Sequence[Stage], out: Path) -> None:
    done = read_json(out / RECORD) if (out / RECORD).is_file() else {}
    left = [stage for stage in stages if not finished(stage.folder)]
    for stage in stages:
        before, now = done.get(stage.file.stem, {}), stage.asked
        if stage.folder.is_dir() and any(before.get(key) != now[key] for key in ("config", "options")):
            raise _other(stage.folder, f"with other settings than those of now ({_changes(before, now)})")
        if stage not in left and set(stage.reads) & {one.file.stem for one in left}:
            raise _other(stage.folder, "from a run that is not there any more")
    if left[1:]:  # what no parser takes is told before hours of the first stage
        refused = first_refused([[*_config(stage), *stage.options] for stage in left[1:]])
        if refused is not None:
            raise UserError(f"stage {left[1 + refused].file.stem} cannot run; see above")
    for number, stage in enumerate(stages, start=1):
        head = f"Stage {number} of {len(stages)}, {stage.file.stem}"
        if finished(stage.folder):
            if done[stage.file.stem] != stage.asked:
                raise _other(stage.folder, "from another run than the one that is there now")
            print(f"{head}: complete, in {stage.folder}", flush=True)
            continue
        print(f"\n{head}:", flush=True)
        done[stage.file.stem] = stage.asked
        write_json(out / RECORD, done)
        _run(stage)


def _changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return which options a stage had alone, and which it would have; else that its config has changed."""
    gone, new = set(before.get("options", [])), set(now["options"])
    told = {"then": sorted(gone - new), "now": sorted(new - gone)}
    return ", ".join(f"{when} {' '.join(some)}" for when, some in told.items() if some) or "its config has changed"


def _other(folder: Path, how: str) -> UserError:
    return UserError(f"{folder} was made {how}: choose another --out, or remove it and what was made from it")


def stages_of(folder: Path, options: Sequence[str], out: Path) -> list[Stage]:
    """Return the stages of a chain.

    Args:
        folder: of its configs.
        options: "--KEY=VALUE", "--STAGE.KEY=VALUE".
        out: folder of the runs.

    Raises:
        UserError: there are no configs, or an option is of no stage.
    """
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
    for option in options:
        parts = OPTION.fullmatch(option)
        if parts is None:
            raise UserError(f"chain: {option!r} is no option of the form --KEY=VALUE")
        key, stage = parts["key"], parts["stage"]
        keyed = f"--{key}={parts['value']}"
        if stage is None:
            of = [file for file in files if takes(configs[file], key)]
            if not of:
                head, _, name = key.rpartition(".init_args.")
                near = [other for config in configs.values() for other in neighbours(config, key)]
                names = [other.removeprefix(f"{head}.init_args.") for other in near]
                every = [other for config in configs.values() for other, _ in leaves(config)]
                told = nearest(name, names) if names else nearest(key, every)
                raise UserError(f"chain: {key!r} is an option of no stage{told}")
        else:
            of = [file for file in files if stage in (file.stem, file.stem.partition("_")[0])]
            if not of:
                raise UserError(f"chain: {option!r} is of no stage{nearest(stage, runs)}")
        for file in of:
            chosen[file].append(keyed)
    return [Stage(file, configs[file], chosen[file], runs[file.stem], reads[file]) for file in files]


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
            of = of.get(part) or {}
        if "class_path" not in of:
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


def finished(folder: Path) -> bool:
    """Return whether a run folder holds a whole run."""
    told = folder / "metrics.json"
    return told.is_file() and read_json(told)["state"] == "finished"


def _config(stage: Stage) -> list[str]:
    """Return what `fit` begins with, or goes on with."""
    begun = (stage.folder / "last.ckpt").is_file()
    return ["--run", str(stage.folder)] if begun else ["--config", str(stage.file)]


def _run(stage: Stage) -> None:
    stage.folder.mkdir(parents=True, exist_ok=True)
    status = fit_in_child([*_config(stage), *stage.options], stage.folder, **{STAGE: "1"})
    if status:
        if not any(stage.folder.iterdir()):
            stage.folder.rmdir()
        if status == 130:
            print("To go on: the same chain command again", file=sys.stderr)
            raise KeyboardInterrupt
        raise UserError(
            f"stage {stage.file.stem} failed with status {status}; see above. Put right, the chain goes on there"
        )

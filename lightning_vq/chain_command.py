"""`python -m lightning_vq chain DIR`: runs that follow each other, of which each reads what an earlier one left."""

import argparse
import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from lightning_vq.arguments import Parser
from lightning_vq.child import fit_in_child
from lightning_vq.errors import UserError, nearest
from lightning_vq.runs import read_json, read_yaml, write_json

RECORD = "chain.json"  # of a chain's folder: how each stage was asked for
OPTION = re.compile(r"--(?:(?P<stage>\d\w*)\.)?(?P<key>[a-zA-Z_][\w.]*)=(?P<value>.*)", re.DOTALL)


class Stage(NamedTuple):
    """A run of a chain."""

    file: Path
    config: dict[str, Any]
    options: list[str]  # of the command line
    folder: Path

    @property
    def asked(self) -> dict[str, Any]:
        """Return what makes it this run and no other."""
        return {"config": self.config, "options": self.options}


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
    for stage in stages:
        name = stage.file.stem
        if name in done and done[name] != stage.asked and (stage.folder / "metrics.json").is_file():
            raise UserError(
                f"{stage.folder} was run with other settings than those of now: choose another --out, or remove it and "
                "what was made from it"
            )
    for number, stage in enumerate(stages, start=1):
        head = f"Stage {number} of {len(stages)}, {stage.file.stem}"
        if finished(stage.folder):
            print(f"{head}: complete, in {stage.folder}", flush=True)
            continue
        print(f"\n{head}:", flush=True)
        done[stage.file.stem] = stage.asked
        write_json(out / RECORD, done)
        _run(stage)


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
    runs = {file.stem: out / file.stem for file in files}
    chosen: dict[Path, list[str]] = {file: [] for file in files}
    for i, file in enumerate(files):
        earlier = {before.stem: runs[before.stem] for before in files[:i]}
        chosen[file] += [
            f"--{key}={earlier[v].absolute()}"
            for key, v in leaves(configs[file])
            if isinstance(v, str) and v in earlier
        ]
    for option in options:
        parts = OPTION.fullmatch(option)
        if parts is None:
            raise UserError(f"chain: {option!r} is no option of the form --KEY=VALUE")
        key, stage = parts["key"], parts["stage"]
        keyed = f"--{key}={parts['value']}"
        if stage is None:
            of = [file for file in files if takes(configs[file], key)]
            if not of:
                raise UserError(f"chain: {key!r} is an option of no stage")
        else:
            of = [file for file in files if stage in (file.stem, file.stem.partition("_")[0])]
            if not of:
                raise UserError(f"chain: {option!r} is of no stage{nearest(stage, runs)}")
        for file in of:
            chosen[file].append(keyed)
    return [Stage(file, configs[file], chosen[file], runs[file.stem]) for file in files]


def takes(config: dict[str, Any], key: str) -> bool:
    """Return whether what a config is of has an option: that its class takes, or, where it is of no class, any."""
    of, rest = config, key
    while ".init_args." in rest:
        section, _, rest = rest.partition(".init_args.")
        for part in section.split("."):
            of = of.get(part) or {}
        if "class_path" not in of:
            return False
        module, _, name = of["class_path"].rpartition(".")
        if rest.partition(".")[0] not in inspect.signature(getattr(importlib.import_module(module), name)).parameters:
            return False
        of = of.get("init_args") or {}
    return True


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


def _run(stage: Stage) -> None:
    stage.folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--config", str(stage.file)]
    if (stage.folder / "last.ckpt").is_file():
        arguments = ["--run", str(stage.folder)]
    status = fit_in_child([*arguments, *stage.options], stage.folder)
    if status:
        if not any(stage.folder.iterdir()):
            stage.folder.rmdir()
        if status == 130:
            raise KeyboardInterrupt
        raise UserError(
            f"stage {stage.file.stem} failed with status {status}; see above. The same command goes on there"
        )

"""`python -m lightning_vq chain DIR`: runs that follow each other, of which each reads what an earlier one left."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from lightning_vq.child import first_refused, fit_in_child
from lightning_vq.errors import UserError
from lightning_vq.moved_chain import mend_paths
from lightning_vq.parser import Parser
from lightning_vq.runs import STAGE, read_json, write_json
from lightning_vq.stages import Stage, stage_named, stages_of

RECORD = "chain.json"  # of a chain's folder: how each stage was asked for


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
        epilog="--KEY=VALUE goes to each config whose classes take it, --1.KEY=VALUE to the one whose name begins so, "
        "where it goes before the other",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("chain", type=Path, metavar="DIR", help="folder of YAMLs, such as conf/dqrec")
    parser.add_argument("--out", type=Path, help="where the runs go; runs/NAME without it")
    parser.add_argument(
        "--until", metavar="STAGE", help="the last one to run, by its name or what that begins with: 2 (default: all)"
    )
    told, rest = parser.parse_known_args(list(arguments))
    out = told.out or Path("runs") / told.chain.absolute().name
    stages = stages_of(told.chain, rest, out)
    last = stages[-1] if told.until is None else stage_named(told.until, stages)
    run_stages(stages[: stages.index(last) + 1], out)
    print(f"The chain is complete{'' if last is stages[-1] else f' until {last.file.stem}'}: {out}")


def run_stages(stages: Sequence[Stage], out: Path) -> None:
    """Run what is not complete of the stages of a chain.

    Args:
        stages: all of them, or the first ones.
        out: folder of the runs.

    Raises:
        UserError: a stage was run otherwise before, or fails.
        KeyboardInterrupt: it was stopped.
    """
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    lock = out / ".lock"
    with FileLock(lock):  # a second process waits, and then finds them complete
        if (out / RECORD).is_file():
            mend_paths(out, out / RECORD, stages)
        try:
            _run_stages(stages, out)
        finally:
            if made and list(out.iterdir()) == [lock]:  # nothing came of it
                lock.unlink()
                out.rmdir()


def _run_stages(stages: Sequence[Stage], out: Path) -> None:
    done = read_json(out / RECORD) if (out / RECORD).is_file() else {}
    left = [stage for stage in stages if not finished(stage.folder)]
    for stage in stages:
        before, now = done.get(stage.file.stem, {}), stage.asked
        if stage.folder.is_dir() and any(before.get(key) != now[key] for key in ("config", "options")):
            raise _other(stage.folder, f"with other settings than those of now ({_changes(before, now)})")
        if stage.folder.is_dir() and before["reads"] != now["reads"]:
            gone = "a run that is not there any more"
            new = "another run than the one that is there now"
            raise _other(stage.folder, f"from {gone if before['reads'].keys() - now['reads'] else new}")
    if left[1:]:  # what no parser takes is told before hours of the first stage
        refused = first_refused([[*_config(stage), *stage.options] for stage in left[1:]])
        if refused is not None:
            raise UserError(f"stage {left[1 + refused].file.stem} cannot run; see above")
    for number, stage in enumerate(stages, start=1):
        head = f"Stage {number} of {len(stages)}, {stage.file.stem}"
        if finished(stage.folder):
            print(f"{head}: complete, in {stage.folder}", flush=True)
            continue
        print(f"\n{head}:", flush=True)
        done[stage.file.stem] = stage.asked
        write_json(out / RECORD, done)
        try:
            _run(stage)
        finally:
            if not stage.folder.is_dir():  # it was refused
                del done[stage.file.stem]
                write_json(out / RECORD, done) if done else (out / RECORD).unlink()


def _changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return which options a stage had alone, and which it would have; else that its config has changed."""
    gone, new = set(before.get("options", [])), set(now["options"])
    told = {"then": sorted(gone - new), "now": sorted(new - gone)}
    return ", ".join(f"{when} {' '.join(some)}" for when, some in told.items() if some) or "its config has changed"


def _other(folder: Path, how: str) -> UserError:
    return UserError(f"{folder} was made {how}: choose another --out, or remove it and what was made from it")


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

"""What has run already under another name: a row of the same settings, the first stage of a chain."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_vq.chain_command import RECORD, finished
from lightning_vq.runs import read_json, write_json
from lightning_vq.stages import Stage


def same_row(root: Path, settings: dict[str, Any], has: str, besides: Path) -> Path | None:
    """Return the folder of another row with the same settings, if there is one.

    Args:
        root: where to look: the folder of a paper, TABLE/BUDGET/ROW in it, or of several, PAPER/TABLE/BUDGET/ROW.
        settings: of the row.
        has: file that it must have, such as results.json.
        besides: folder of the row itself.
    """
    now = _without_table(settings)
    for path in sorted([*root.glob("*/*/*/settings.json"), *root.glob("*/*/*/*/settings.json")]):
        there = path.parent != besides and (path.parent / has).is_file()
        if there and _without_table(read_json(path)) == now:
            return path.parent
    return None


def _without_table(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are once what a table fixes of all rows stands in the row's."""
    sweep = {key: value for key, value in settings["sweep"].items() if key != "fixed"}
    return {**settings, "sweep": sweep}


def runs_of(stages: Sequence[Stage]) -> dict[str, str]:
    """Return which runs stages of a chain are: a digest of each, by its name and what it and those before were asked.

    Args:
        stages: the first ones, or all.
    """
    found, asked = dict[str, str](), ""
    for stage in stages:
        options = sorted(option.replace(str(stage.folder.parent.absolute()), "") for option in stage.options)
        asked = hashlib.sha256(json.dumps([asked, stage.config, options]).encode()).hexdigest()[:8]
        run = stage.folder / "metrics.json"
        if run.is_file():
            found[f"{stage.file.stem} {asked}"] = hashlib.sha256(run.read_bytes()).hexdigest()[:16]
    return found


def take_stages(stages: Sequence[Stage], out: Path) -> list[str]:
    """Copy what another chain beside has run with the same settings, and return the names of these stages.

    Only of stages that read no other: runs know each other by their paths.

    Args:
        stages: of a chain.
        out: its folder; others are beside it.
    """
    taken = []
    for stage in stages:
        if stage.reads or stage.folder.is_dir():
            continue
        name, asked = stage.file.stem, stage.asked
        for record in sorted(out.parent.glob(f"*/{RECORD}")):
            other = record.parent / name
            if record.parent == out or read_json(record).get(name) != asked or not finished(other):
                continue
            out.mkdir(parents=True, exist_ok=True)
            done = read_json(out / RECORD) if (out / RECORD).is_file() else {}
            shutil.copytree(other, out / f".{name}", dirs_exist_ok=True)
            write_json(out / RECORD, {**done, name: asked})
            (out / f".{name}").rename(stage.folder)
            taken.append(name)
            break
    return taken

"""A chain's folder that was moved or copied: its runs know each other by their paths, which are mended."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_vq.runs import read_json, read_yaml, replacing, write_json
from lightning_vq.stages import Stage


def mend_paths(out: Path, record: Path, stages: Sequence[Stage]) -> None:
    """Let the runs of a folder that has been moved read those beside them; nothing else that they name is touched.

    The record is written last, which tells where they were: what was stopped midway is done again.

    Args:
        out: folder of the runs.
        record: how each stage was asked for.
        stages: of the chain.
    """
    done = read_json(record)
    old = moved_from(done, stages, out)
    if old is None:
        return
    now = {f"{old}/{name}": f"{out.absolute()}/{name}" for stage in stages for name in stage.reads}
    for config in sorted(out.glob("*/config.yaml")):
        mended = with_paths(read_yaml(config), now)
        with replacing(config) as temporary:
            temporary.write_text(yaml.safe_dump(mended, sort_keys=False))
    of_now = {stage.file.stem: sorted(stage.options) for stage in stages}
    write_json(record, {name: {**one, "options": of_now.get(name, one["options"])} for name, one in done.items()})
    print(f"{out} has come from {old}: the paths in it are mended", flush=True)


def moved_from(done: dict[str, Any], stages: Sequence[Stage], out: Path) -> Path | None:
    """Return the folder in which runs were made that read each other, if it is another one and nothing else is new."""
    found: set[str] = set()
    for stage in stages:
        before, now = (set(options) for options in (done.get(stage.file.stem, {}).get("options", []), stage.options))
        gone, new = sorted(before - now), sorted(now - before)
        if not before or not gone:
            continue
        if len(gone) != len(new):
            return None
        for was, is_now in zip(gone, new):
            name = Path(is_now).name
            head = is_now.removesuffix(f"{out.absolute()}/{name}")
            if name not in stage.reads or head == is_now or not (was.startswith(head) and was.endswith(f"/{name}")):
                return None
            found.add(was.removeprefix(head).removesuffix(f"/{name}"))
    if len(found) != 1:
        return None
    old = Path(found.pop())
    return None if old.exists() and os.path.samefile(old, out) else old


def with_paths(content: Any, now: dict[str, str]) -> Any:
    """Return what a file holds with some paths in place of others.

    >>> with_paths({"a": ["/was/1", "/was/1/x"], "b": 3}, {"/was/1": "/is/1"})
    {'a': ['/is/1', '/was/1/x'], 'b': 3}
    """
    if isinstance(content, dict):
        return {key: with_paths(value, now) for key, value in content.items()}
    if isinstance(content, list):
        return [with_paths(value, now) for value in content]
    return now.get(content, content) if isinstance(content, str) else content

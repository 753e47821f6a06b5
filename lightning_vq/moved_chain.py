"""A chain's folder that was moved or copied: its runs know each other by their paths, which are mended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_vq.runs import read_json, read_yaml, replacing, write_json
from lightning_vq.stages import Stage


def mend_paths(out: Path, record: Path, stages: Sequence[Stage]) -> None:
    """Let the runs of a folder that has been moved read those beside them.

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
    for config in sorted(out.glob("*/config.yaml")):
        mended = with_paths(read_yaml(config), old, out.absolute())
        with replacing(config) as temporary:
            temporary.write_text(yaml.safe_dump(mended, sort_keys=False))
    write_json(record, with_paths(done, old, out.absolute()))
    print(f"{out} has come from {old}: the paths in it are mended", flush=True)


def moved_from(done: dict[str, Any], stages: Sequence[Stage], out: Path) -> Path | None:
    """Return the folder in which runs were made that read each other, if it is another one."""
    for stage in stages:
        for option in done.get(stage.file.stem, {}).get("options", []):
            path = Path(option.partition("=")[2])
            if path.name in stage.reads and path.is_absolute() and option not in stage.options:
                return path.parent if path.parent != out.absolute() else None
    return None


def with_paths(content: Any, old: Path, new: Path) -> Any:
    """Return what a file holds with paths below a folder as paths below another one.

    >>> with_paths({"a": ["--x=/was/1", "/was/1"], "b": 3}, Path("/was"), Path("/is"))
    {'a': ['--x=/is/1', '/is/1'], 'b': 3}
    """
    if isinstance(content, dict):
        return {key: with_paths(value, old, new) for key, value in content.items()}
    if isinstance(content, list):
        return [with_paths(value, old, new) for value in content]
    if isinstance(content, str):
        head, is_option, path = content.rpartition("=")
        if path.startswith(f"{old}/"):
            return f"{head}{is_option}{new}{path.removeprefix(str(old))}"
    return content

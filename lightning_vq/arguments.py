"""What verbs that train have in common on the command line: `--config FILE` and `--run DIR`."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from lightning_vq.errors import UserError
from lightning_vq.runs import checked_run, read_yaml


def config_files(arguments: Sequence[str]) -> list[Path]:
    """Return the files that --config names.

    Raises:
        UserError: one is not there, not YAML (with the line), or has no keys.
    """
    names = [b for a, b in pairwise(arguments) if a in ("--config", "-c")]
    files = [Path(name) for name in (*names, *(a.partition("=")[2] for a in arguments if a.startswith("--config=")))]
    for file in files:
        if not isinstance(read_yaml(file), dict):
            raise UserError(f"{file} is no config: it has no keys and values")
    return files


def with_run(verb: str, arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the arguments with `--run DIR` replaced by that folder's config and checkpoint, and the folder.

    Raises:
        UserError: no folder is named, or it is not one of a run.
    """
    # jsonargparse makes the text "None" of a null that is given to a field of an optional record by itself.
    rest = [
        re.sub(r"^--data\.init_args\.schema\.(\w+)=null$", r"--data.init_args.schema={\1: null}", a) for a in arguments
    ]
    for i, argument in enumerate(rest):
        if argument == "--run" or argument.startswith("--run="):
            value = argument.partition("=")[2] or (rest[i + 1] if i + 1 < len(rest) else "")
            if not value or value.startswith("--"):
                raise UserError("--run needs the path of a run folder")
            run = Path(value)
            config, weights = checked_run(run, "last.ckpt" if verb == "fit" else "best.ckpt")
            del rest[i : i + (1 if "=" in argument else 2)]
            return ["--config", str(config), *rest, "--ckpt_path", str(weights)], run
    return rest, None

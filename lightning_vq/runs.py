"""The run folder: where it is, and writing into it whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import yaml

from lightning_vq.errors import UserError

HANDED_DOWN = "LIGHTNING_VQ_RUN_FOLDER"  # set by the process that chose the folder, for those it starts
TRIAL = "LIGHTNING_VQ_TRIAL"  # set by a sweep for its trials: the file descriptors that lead to it
MORE = "test_more.json"  # in a run folder: what a test tells beside its metrics
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
STAGE = "LIGHTNING_VQ_STAGE"  # set for the runs of a chain: how to go on is told by the chain
WORKER = "LIGHTNING_VQ_WORKER"  # set for the processes that run a plan together: the first one tells what came of it
QUIET = "LIGHTNING_VQ_QUIET"  # set for the base model's run: its figures are shown by the run that started it


def new_run_folder(root: Path, config_name: str) -> Path:
    """Make and return <root>/runs/<config name>/<n>, n the first number that is free."""
    parent = root / "runs" / config_name
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(p.name) for p in parent.iterdir() if p.name.isdigit()]
    number = max(taken, default=0) + 1
    while True:
        try:
            (parent / str(number)).mkdir()
            return parent / str(number)
        except FileExistsError:  # another process was faster
            number += 1


def config_name(file: Path) -> str:
    """Return what names the runs of a config file: what a run folder holds names a run like its own.

    >>> config_name(Path("conf/neumf.yaml")), config_name(Path("runs/neumf/1/config.yaml"))
    ('neumf', 'neumf')
    >>> config_name(Path("runs/cove_neumf/1/baseline/config.yaml")), config_name(Path("elsewhere/config.yaml"))
    ('cove_neumf', 'config')
    """
    if file.name == "config.yaml":
        for folder in file.absolute().parents:
            if folder.name.isdigit() and folder.parent.parent.name == "runs":
                return folder.parent.name
    return file.stem


def checked_run(folder: Path, checkpoint: str) -> tuple[Path, Path]:
    """Return config and checkpoint of a run folder.

    Raises:
        UserError: it is not a run folder, or its config is not readable.
    """
    config, weights = folder / "config.yaml", folder / checkpoint
    for path in (config, weights):
        if not path.is_file():
            raise UserError(f"{folder} is not a run folder: it has no {path.name}")
    read_yaml(config)
    return config, weights


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        UserError: it is not there, or not YAML; with the line.
    """
    if not path.is_file():
        clone = "" if Path("conf").is_dir() else "; conf/ is in the clone of lightning_vq: copy it, or run this there"
        raise UserError(f"there is no config {path}{clone if path.parts[0] == 'conf' else ''}")
    try:
        return yaml.load(path.read_text(), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{path}{where}: not readable YAML: {what}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which it replaces if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = 2) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + "\n")


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(pa.table(dict(columns)), temporary)


def read_parquet(path: Path) -> pa.Table:
    """Return the table in a run's file.

    Raises:
        UserError: it is no Parquet, or broken.
    """
    try:
        return pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not readable: {str(error).splitlines()[0]}") from None


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())

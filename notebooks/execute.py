"""Execute notebooks and tell the seconds of each: `python notebooks/execute.py [NOTEBOOK ...]`. None is written."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

SECONDS = 120  # of a whole notebook, after which it is stopped
QUIET = ["--log-level=ERROR"]  # a kernel warns that what it says on this machine is not encrypted


async def execute(path: Path, turns: asyncio.Semaphore) -> bool:
    """Execute a notebook in its own folder, and return whether that went well."""
    notebook, at, why = nbformat.read(path, as_version=4), [0], ""
    async with turns:
        began = time.monotonic()
        # What a notebook leaves behind goes with it. Files as sockets: a port that was free when it was chosen may be
        # taken when the kernel begins to listen; the path of such a file has 107 characters at most.
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/tmp") as near:
            sockets = Config(KernelManager={"transport": "ipc", "ip": f"{near}/socket"})
            inside = {"metadata": {"path": str(path.parent)}}
            client = NotebookClient(notebook, resources=inside, extra_arguments=QUIET, config=sockets)
            client.on_cell_start = lambda cell, cell_index: at.append(cell_index)
            try:
                await asyncio.wait_for(client.async_execute(env={**os.environ, "TMPDIR": folder}), SECONDS)
            except (TimeoutError, CellExecutionError, DeadKernelError) as error:  # one that is stopped is dead, too
                why = str(error) if time.monotonic() - began < SECONDS else f"more than {SECONDS} s"
    cell = f": cell {at[-1] + 1} ({notebook.cells[at[-1]].id}): {why}" if why else ""
    print(f"{path.name}: {time.monotonic() - began:.0f} s{cell}", flush=True)
    return not why


async def main() -> int:
    parser = argparse.ArgumentParser(description="Execute notebooks; exit status 1 if one fails.")
    parser.add_argument("notebooks", type=Path, nargs="*", metavar="NOTEBOOK", help="default: all")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="at a time")
    options = parser.parse_args()
    paths = options.notebooks or sorted(Path(__file__).parent.glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"there is no {', '.join(missing)}")
    turns = asyncio.Semaphore(options.parallel)
    return int(not all(await asyncio.gather(*(execute(path, turns) for path in paths))))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

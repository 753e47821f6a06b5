"""The command line on small planted data: as a process of its own, or in this one, which has imported Lightning."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_vq.__main__ import main

SMALL = [
    "--data.init_args.planted={users: 150, items: 90, branching: [4, 3], mean_length: 12}",
    "--quantization.quantizers.user.init_args.codebook_sizes=[12, 4]",
    "--quantization.quantizers.item.init_args.codebook_sizes=[12, 4]",
    "--trainer.enable_progress_bar=false",
]


def run(
    *arguments: str, expect: int = 0, folder: Path | None = None, launcher: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own, in a folder."""
    process = subprocess.run(
        [sys.executable, *launcher, "-m", "lightning_vq", *arguments],
        cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip
    assert process.returncode == expect, process.stdout + process.stderr
    return process


@contextlib.contextmanager
def begun(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a process of Python in a session of its own. Should the test fail meanwhile, it is stopped."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([sys.executable, *command], text=True, start_new_session=True, **pipes) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise


def ended(process: subprocess.Popen[str], expect: int) -> str:
    """Return what a process has printed by its end."""
    text, _ = process.communicate(timeout=240)
    assert process.returncode == expect, text
    return text


def done(*arguments: str, expect: int = 0, folder: Path | None = None) -> str:
    """Run a command in this process, in a folder; return what it prints. It takes a fraction of the time of `run`."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", ["lightning_vq", *arguments])
        patch.chdir(folder or Path.cwd())
        assert main() == expect, said.getvalue()
    return said.getvalue()


def checked_again(folder: Path, **tolerance: float) -> dict[str, Any]:
    """Hold `test` and `validate` of a run folder alone against its metrics.json, which is returned."""
    summary: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    done("test", "--run", str(folder))
    assert json.loads((folder / "test.json").read_text()) == pytest.approx(summary["test"], **tolerance)
    done("validate", "--run", str(folder))
    validated = json.loads((folder / "validate.json").read_text())
    assert validated == pytest.approx({name: summary["best"][name] for name in validated}, **tolerance)
    return summary


def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that a command ends with in this process, with status 2."""
    monkeypatch.setattr(sys, "argv", ["lightning_vq", *arguments])
    assert main() == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    return line

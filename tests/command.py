"""The command line on small planted data, for tests that start real processes."""

import os
import subprocess
import sys

import pytest

from lightning_vq.__main__ import main

SMALL = [
    "--data.init_args.planted={users: 150, items: 90, branching: [4, 3], mean_length: 12}",
    "--quantization.quantizers.user.init_args.codebook_sizes=[12, 4]",
    "--quantization.quantizers.item.init_args.codebook_sizes=[12, 4]",
    "--trainer.enable_progress_bar=false",
]


def run(
    *arguments: str, expect: int = 0, launcher: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "lightning_vq", *arguments],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that a command ends with in this process, with status 2."""
    monkeypatch.setattr(sys, "argv", ["lightning_vq", *arguments])
    assert main() == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    return line

"""The plain base model of a quantized run: the same config, seed and budget, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from lightning_vq.errors import UserError
from lightning_vq.runs import HANDED_DOWN, QUIET

DISTRIBUTED_VARIABLES = (
    "LOCAL_", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "PL_GLOBAL_SEED",
)  # fmt: skip


def train_baseline(run: Path) -> Path:
    """Train the base model of a run folder into <run>/baseline, or go on with it where it was stopped.

    Raises:
        UserError: its run failed.
        KeyboardInterrupt: it was stopped.
    """
    base = run / "baseline"
    base.mkdir(exist_ok=True)
    print("\nThe same config without quantizers, for comparison:", flush=True)
    # Its own process, with no trace of the ranks of this one: Lightning starts ranks by running the command again.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(DISTRIBUTED_VARIABLES)}
    command = [sys.executable, "-m", "lightning_vq", "fit"]
    if (base / "last.ckpt").is_file():
        command += ["--run", str(base)]
    else:
        command += ["--config", str(run / "config.yaml"), "--quantization.quantizers={}", "--baseline=false"]
    child = subprocess.Popen(command, env={**environment, HANDED_DOWN: str(base), QUIET: "1"})
    try:
        status = child.wait()
    except KeyboardInterrupt:  # the child has had it too, and saves
        status = child.wait()
    if status == 130:
        print(f"To go on: python -m lightning_vq fit --run {run}", file=sys.stderr)
        raise KeyboardInterrupt
    if status:
        raise UserError(f"the base model's run failed with status {status}; see above and {base}")
    return base

"""The plain base model of a quantized run: the same config, seed and budget, in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lightning_vq.errors import UserError
from lightning_vq.runs import HANDED_DOWN, QUIET, read_yaml

DISTRIBUTED_VARIABLES = (
    "LOCAL_", "NODE_RANK", "RANK", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "PL_GLOBAL_SEED",
    "SLURM_", "PMI_", "PMIX_", "OMPI_", "JSM_",
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
        # What a run may be gone on with otherwise than it was begun: the base gets the same.
        config = read_yaml(run / "config.yaml")
        epochs, patience = config["trainer"]["max_epochs"], config["patience"]
        command += ["--run", str(base), f"--trainer.max_epochs={epochs}"]
        command += [f"--patience={'null' if patience is None else patience}"]
    else:
        command += ["--config", str(run / "config.yaml"), "--quantization.quantizers={}", "--baseline=false"]
    # In a session of its own: Ctrl-C in a terminal reaches this process alone, as `kill` does, and is passed on once.
    environment |= {HANDED_DOWN: str(base), QUIET: "1", "WANDB_JOB_TYPE": "baseline"}
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    before = {n: signal.signal(n, lambda *_: child.send_signal(signal.SIGINT)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if status == 130:
        print(f"To go on: python -m lightning_vq fit --run {run}", file=sys.stderr)
        raise KeyboardInterrupt
    if status:
        raise UserError(f"the base model's run failed with status {status}; see above and {base}")
    return base

"""The plain base model of a quantized run: the same config, seed and budget, in a process of its own."""

import sys
from pathlib import Path

from lightning_vq.child import fit_in_child
from lightning_vq.errors import UserError
from lightning_vq.runs import QUIET, read_yaml


def train_baseline(run: Path) -> Path:
    """Train the base model of a run folder into <run>/baseline, or go on with it where it was stopped.

    Raises:
        UserError: its run failed.
        KeyboardInterrupt: it was stopped.
    """
    base = run / "baseline"
    base.mkdir(exist_ok=True)
    print("\nThe same config without quantizers, for comparison:", flush=True)
    if (base / "last.ckpt").is_file():
        # What a run may be gone on with otherwise than it was begun: the base gets the same.
        config = read_yaml(run / "config.yaml")
        epochs, patience = config["trainer"]["max_epochs"], config["patience"]
        arguments = ["--run", str(base), f"--trainer.max_epochs={epochs}"]
        arguments += [f"--patience={'null' if patience is None else patience}"]
    else:
        arguments = ["--config", str(run / "config.yaml"), "--quantization.quantizers={}", "--baseline=false"]
    status = fit_in_child(arguments, base, **{QUIET: "1", "WANDB_JOB_TYPE": "baseline"})
    if status == 130:
        print(f"To go on: python -m lightning_vq fit --run {run}", file=sys.stderr)
        raise KeyboardInterrupt
    if status:
        raise UserError(f"the base model's run failed with status {status}; see above and {base}")
    return base

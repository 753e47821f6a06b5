"""Trials that train nothing, and a process that works on a study of them: `stub.py trial|worker ...`."""

import json
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def trial(options: list[str]) -> int:
    """Report as a fit does, and leave its metrics.json. What to do is in the options: --x=0.3 --epochs=5 --status=1."""
    told = dict(option.removeprefix("--").split("=", 1) for option in options if "=" in option)
    run = Path(os.environ["LIGHTNING_VQ_RUN_FOLDER"])
    with (run.parent.parent / "ran.txt").open("a") as file:
        file.write(f"{run.name} {told['x']} {os.environ['OMP_NUM_THREADS']}\n")
    reports = Connection(int(os.environ["LIGHTNING_VQ_TRIAL"].split(",")[0]))
    time.sleep(float(told.get("seconds", 0)))
    status = int(told.get("status", 0))
    if status and not (told.get("once") and (run / "crashed").is_file()):
        (run / "crashed").touch()
        print("error: x is out of luck")
        return status
    value = 1 - (float(told["x"]) - 0.3) ** 2
    for epoch in range(int(told.get("epochs", 2))):
        reports.send((epoch, value))
        if reports.recv():
            (run / "metrics.json").write_text('{"state": "pruned", "seconds": 0.1, "train_seconds": 0.05}')
            return 0
    metrics = {
        "state": "finished",
        "best": {"val/ndcg@10/full": value},
        "bytes": 100 * float(told["x"]),
        "seconds": 0.1,
        "train_seconds": 0.05,
    }
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "config.yaml").write_text("trainer: {}\n")
    return 0


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, on a busy machine for long."""
    until = time.time() + 180
    while not condition():
        assert time.time() < until, "it did not happen"
        time.sleep(0.05)


def settings(root: Path, **changes: Any) -> Any:
    from optuna.samplers import RandomSampler

    from lightning_vq.sweep.settings import Settings

    made: dict[str, Any] = {
        "base": [], "space": {"x": {"low": 0.0, "high": 1.0}}, "objectives": {"val/ndcg@10/full": "maximize"},
        "sampler": RandomSampler(0), "root": str(root), "name": "stub", "parallel": 2,
    }  # fmt: skip
    return Settings(**{**made, **changes})


def work(told: Any, options: list[str] = (), resume: bool = False) -> Any:  # type: ignore[assignment]
    """Work on a study of stubs to its end, and return it."""
    import io

    from rich.console import Console

    from lightning_vq.sweep.devices import Devices
    from lightning_vq.sweep.live import LiveTable
    from lightning_vq.sweep.loop import Worker
    from lightning_vq.sweep.space import read_space
    from lightning_vq.sweep.study import open_study

    space = read_space(told.space)
    study = open_study(told, space, resume)
    table = LiveTable(told, 2, Console(file=io.StringIO()))
    command = (sys.executable, __file__, "trial")
    Worker(told, study, space, list(options), Devices([]), False, table, command).work()
    return study


if __name__ == "__main__":
    if sys.argv[1] == "trial":
        sys.exit(trial(sys.argv[2:]))
    changes = json.loads(sys.argv[3])
    work(settings(Path(sys.argv[2]), **changes), sys.argv[4:], resume="--resume" in sys.argv)

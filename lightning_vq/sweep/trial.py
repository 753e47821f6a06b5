"""One trial at work: a `fit` in a process group of its own, for each seed in turn, and the line to it."""

import contextlib
import hashlib
import math
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.study import StudyDirection

from lightning_vq.child import DISTRIBUTED_VARIABLES
from lightning_vq.runs import HANDED_DOWN, QUIET, TRIAL, read_json
from lightning_vq.sweep.processes import begin_fit


class Place(NamedTuple):
    """Where and how a trial's processes run."""

    warm: bool  # forked from the warm process; else a command, which starts its ranks by starting itself again
    devices: tuple[str, ...]  # CUDA devices; none on the CPU
    threads: int  # of each process


class Running:
    """A trial at work.

    Args:
        trial: Optuna's.
        options: of `fit`, all but the seed's.
        folder: of the trial; each seed's run lies there, or is it where there is one seed.
        seeds: a fit for each.
        place: where it runs.
        study: name and token of the study, for W&B.
        command: that takes the options in place of `fit`; tests have one.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        options: list[str],
        folder: Path,
        seeds: list[int],
        place: Place,
        study: tuple[str, str],
        command: tuple[str, ...] | None = None,
    ) -> None:
        self.trial, self.options, self.folder, self.seeds, self.place = trial, options, folder, seeds, place
        self.study, self.command = study, command or (sys.executable, "-m", "lightning_vq", "fit")
        self.started = time.time()
        self.done: list[Path] = []  # run folders of finished seeds
        self.epoch, self.best, self.pruned = -1, float("nan"), False
        self._start()

    @property
    def run(self) -> Path:
        """Return the run folder of the seed at hand, or of the last one."""
        at = min(len(self.done), len(self.seeds) - 1)
        return self.folder if len(self.seeds) == 1 else self.folder / f"seed{self.seeds[at]}"

    def _start(self) -> None:
        """Begin the fit of the next seed, or go on with it where an earlier process was stopped."""
        self.run.mkdir(parents=True, exist_ok=True)
        if (self.run / "last.ckpt").is_file() and (self.run / "config.yaml").is_file():
            arguments = ["--run", str(self.run)]
        else:
            # First: a space that varies the seed has its own after it, which wins.
            arguments = [f"--seed_everything={self.seeds[len(self.done)]}", *self.options]
        self.reports, theirs = mp.Pipe()
        lifeline, self._lifeline = mp.Pipe(duplex=False)
        log = self.run / "log.txt"
        self.process: Any
        if self.place.warm:
            self.process = begin_fit(arguments, self._environment(), log, theirs, lifeline)
        else:
            descriptors = (theirs.fileno(), lifeline.fileno())
            environment = self._environment() | {TRIAL: "{},{}".format(*descriptors)}
            with log.open("a") as file:
                self.process = subprocess.Popen(
                    [*self.command, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=file,
                    stderr=subprocess.STDOUT, pass_fds=descriptors, start_new_session=True,
                )  # fmt: skip
        theirs.close()  # so that its end is heard when the process ends
        lifeline.close()

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(DISTRIBUTED_VARIABLES)}
        name = f"{self.study[0]}-{self.folder.name}" + (f"-{self.run.name}" if len(self.seeds) > 1 else "")
        kept |= {
            HANDED_DOWN: str(self.run.absolute()),
            QUIET: "1",
            "OMP_NUM_THREADS": str(self.place.threads),
            "WANDB_RUN_GROUP": self.study[0],
            "WANDB_NAME": name,
            "WANDB_JOB_TYPE": "trial",
            "WANDB_RUN_ID": hashlib.sha256(f"{self.study[1]} {name}".encode()).hexdigest()[:16],  # also if it goes on
        }
        return kept | ({"CUDA_VISIBLE_DEVICES": ",".join(self.place.devices)} if self.place.devices else {})

    def report(self) -> tuple[int, float] | None:
        """Return (epoch, value) that the trial has sent and waits on an answer to, or None where it has ended."""
        try:
            self.epoch, value = self.reports.recv()
        except (EOFError, OSError):
            return None
        better = min if self.trial.study.directions[0] == StudyDirection.MINIMIZE else max
        self.best = value if self.best != self.best else better(self.best, value)
        return self.epoch, value

    def answer(self, prune: bool) -> None:
        """Let the trial go on, or stop."""
        self.pruned = prune
        with contextlib.suppress(OSError):  # it has died since: seen at the next poll
            self.reports.send(prune)

    def poll(self) -> int | None:
        """Return the exit status of the fit at hand, or None while it runs."""
        status: int | None
        status = self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode
        if status is not None:
            self.signal(signal.SIGKILL)  # ranks that outlive rank 0
            self.reports.close()
            self._lifeline.close()
        return status

    @property
    def last_seed(self) -> bool:
        """Return whether no seed comes after the one at hand."""
        return len(self.done) + 1 >= len(self.seeds)

    def next_seed(self) -> bool:
        """Note that a seed is finished and begin the next one; false if there is none."""
        self.done.append(self.run)
        if len(self.done) == len(self.seeds):
            return False
        self._start()
        return True

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the trial."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:  # ended, or about to lead its own group
            if not isinstance(self.process, subprocess.Popen) and self.process.exitcode is None:
                self.process.kill()

    def values(self, objectives: list[str]) -> tuple[list[list[float]] | None, str]:
        """Return each seed's values of the objectives, or None and why there are none."""
        each = []
        for run in self.done:
            summary = read_json(run / "metrics.json")
            if summary["state"] != "finished":
                return None, f"{run / 'metrics.json'} says {summary['state']}, not finished"
            found = [(summary["best"] if name.startswith("val/") else summary).get(name) for name in objectives]
            bad = [name for name, value in zip(objectives, found) if value is None or not math.isfinite(value)]
            if bad:
                return None, f"{run / 'metrics.json'} has no finite {bad[0]}"
            each.append([float(value) for value in found])
        return each, ""

    def spent(self) -> dict[str, float]:
        """Return the seconds of the fits: all in, and of training alone."""
        runs = [*self.done, self.run] if self.pruned else self.done
        summaries = [read_json(run / "metrics.json") for run in runs]
        return {
            "fit_seconds": sum(summary["seconds"] for summary in summaries),
            "train_seconds": sum(summary["train_seconds"] for summary in summaries),
        }

    def last_words(self) -> str:
        """Return the last line that the fit has printed."""
        log = self.run / "log.txt"
        lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

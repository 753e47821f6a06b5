"""`python -m lightning_vq sweep`: run, join or go on with a study, and say what it found."""

import os
import shlex
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from lightning_vq.child import DISTRIBUTED_VARIABLES
from lightning_vq.errors import UserError
from lightning_vq.runs import read_yaml, replacing
from lightning_vq.sweep.devices import Devices
from lightning_vq.sweep.live import LiveTable, duration
from lightning_vq.sweep.loop import Worker
from lightning_vq.sweep.outcome import best_trials, run_folder, write_outcome
from lightning_vq.sweep.processes import illustrated, rehearsed
from lightning_vq.sweep.settings import Settings, read_settings
from lightning_vq.sweep.space import Parameter, option, read_space
from lightning_vq.sweep.spelling import told_options
from lightning_vq.sweep.study import Study, counted, finished, open_study
from lightning_vq.sweep.workers import living


def main(arguments: list[str], brief: bool = False) -> None:
    """Run the verb; `brief` leaves it to the caller to say what was found, and how to go on."""
    for name in [name for name in os.environ if name.startswith(DISTRIBUTED_VARIABLES)]:
        del os.environ[name]  # of the job that this process is; its trials are jobs of their own
    settings, resume, text = read_settings(arguments)
    space = checked_space(settings)
    base = [read_yaml(Path(file)) for file in settings.base]
    options = trial_options(settings)
    found = rehearsed(options, variants(settings, space))
    wanted = settings.parallel * settings.devices
    if found.devices and wanted > len(found.devices):
        raise UserError(
            f"parallel {settings.parallel} trials of {settings.devices} devices need {wanted}, "
            f"but {len(found.devices)} are visible: {', '.join(found.devices)}"
        )
    # A trial trains no base model; the best config does if the base config says so.
    baseline = [bool(config["baseline"]) for config in base if "baseline" in config][-1:] == [True]
    try:
        study = open_study(settings, space, resume)
        settings.folder.mkdir(parents=True, exist_ok=True)
        with replacing(settings.folder / "sweep.yaml") as path:
            path.write_text(text)
        table = LiveTable(settings, found.epochs)
        worker = Worker(settings, study, space, options, Devices(found.devices), found.forks, table)
        again = shlex.join(
            ["python", "-m", "lightning_vq", "sweep", *(a for a in arguments if a != "--resume"), "--resume"]
        )
        _work(worker, None if brief else again)
        report(settings, study, baseline, time.time() - worker.begun, brief)
    except StorageInternalError as error:
        raise UserError(f"storage: {str(error).splitlines()[0]}; --resume goes on from what it holds") from None


def checked_space(settings: Settings) -> list[Parameter]:
    """Return the parameters of a sweep.

    Raises:
        UserError: a parameter that none can be, or a key that something else sets.
    """
    space = read_space(settings.space)
    for parameter in space:
        settings.check_keys(f"space: {parameter.name!r}", parameter.keys)
        for key in set(parameter.keys) & set(settings.fixed):
            raise UserError(f"space: {parameter.name!r} and fixed both set {key}")
    return space


def _work(worker: Worker, again: str | None) -> None:
    """Show the table while a worker works, and how to go on if it is stopped."""
    settings, study, table = worker.settings, worker.study, worker.table
    table.tell(f"study {settings.name} in {settings.folder}: {finished(study)}{settings.of} trials done so far")
    try:
        with table:
            worker.work()
            table.show(study, [], last=True)
    except KeyboardInterrupt:
        how = "" if again is None else f" To go on: {again}"
        print(f"Stopped: {finished(study)}{settings.of} trials are done.{how}", file=sys.stderr)
        raise


def trial_options(settings: Settings) -> list[str]:
    """Return the options of `fit` that all trials have in common."""
    options = [text for file in settings.base for text in ("--config", file)]
    options += [option(key, value) for key, value in settings.fixed.items()]
    options += [option("monitor", next(iter(settings.objectives))), option("trainer.devices", settings.devices)]
    return [*options, "--baseline=false", "--trainer.enable_progress_bar=false"]


def variants(settings: Settings, space: list[Parameter]) -> list[tuple[str, list[str]]]:
    """Return what is tried before the first trial, each as (what it is, options).

    The other objectives; every edge of each parameter, a range's two ends or each choice; all first and all last edges.
    """
    found = [(f"objective {n!r}", [option("monitor", n)]) for n in settings.objectives if n.startswith("val/")]
    found += [(f"space: {p.name!r} = {value}", p.options(value)) for p in space for value in p.drawn.edges()]
    for at in (0, -1) if len(space) > 1 else ():
        values = [parameter.drawn.edges()[at] for parameter in space]
        text = ", ".join(f"{parameter.name!r} = {value}" for parameter, value in zip(space, values))
        found.append(
            (f"space: {text}", [o for parameter, value in zip(space, values) for o in parameter.options(value)])
        )
    return found


def report(settings: Settings, study: Study, baseline: bool, seconds: float, brief: bool) -> None:
    """Write the outcome and tell of it, of its trials alone if brief."""
    trials = counted(study)
    states = {s.name.lower(): sum(t.state == s for t in trials) for s in TrialState}
    print(", ".join(f"{count} {state}" for state, count in states.items() if count) + f" in {duration(seconds)}")
    best = best_trials(study)
    if not best:
        reasons = {str(t.user_attrs.get("reason")) for t in trials if t.state == TrialState.FAIL}
        raise UserError(f"no trial is complete{': ' + '; '.join(sorted(reasons)) if reasons else ''}")
    if living(study):
        print("Another worker is still at work, and writes the outcome anew when it ends. So far:")
    folders = [run_folder(trial, settings) for trial in best]
    drawing = illustrated([folder for folder in folders if (folder / "best.ckpt").is_file()])
    configs = write_outcome(settings, study, baseline)
    drawing.join()
    if drawing.exitcode:
        print("The figures of the best trials could not be drawn, for the reason above", file=sys.stderr)
    if brief:
        return
    for trial, folder in zip(best, folders):
        values = ", ".join(f"{name} {value:.6g}" for name, value in zip(settings.objectives, trial.values))
        print(f"{'Best' if len(settings.objectives) == 1 else 'On the front'}: trial {trial.number}: {values}")
        print(f"      {', '.join(told_options(trial.user_attrs['options']))}")
        print(f"      {folder}")
    print(f"Figures: {settings.folder / 'figures'}")
    missing = "" if find_spec("optuna_dashboard") else "pip install optuna-dashboard; "
    print(f"In a browser: {missing}optuna-dashboard {settings.storage or settings.folder / 'study.journal'}")
    if configs:
        beside = " (trains its plain base model, too, and compares them)" if baseline else ""
        print(f"Next: python -m lightning_vq fit --config {configs[0]}{beside}")
    else:
        print(f"The best trial was run on another machine; its config.yaml is there, in {best[0].user_attrs['folder']}")

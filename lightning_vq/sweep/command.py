"""`python -m lightning_vq sweep`: run, join or go on with a study, and say what it found."""

import sys
import time
from pathlib import Path

import yaml
from optuna.trial import TrialState

from lightning_vq.errors import UserError
from lightning_vq.runs import read_yaml, replacing
from lightning_vq.sweep.devices import Devices
from lightning_vq.sweep.live import LiveTable, duration, shown
from lightning_vq.sweep.loop import Worker
from lightning_vq.sweep.outcome import best_trials, write_outcome
from lightning_vq.sweep.processes import rehearsed
from lightning_vq.sweep.settings import Settings, read_settings
from lightning_vq.sweep.space import Parameter, option, read_space
from lightning_vq.sweep.study import Study, counted, open_study


def main(arguments: list[str]) -> None:
    """Run the verb."""
    settings, resume = read_settings(arguments)
    space = read_space(settings.space)
    for parameter in space:
        for key in set(parameter.keys) & set(settings.fixed):
            raise UserError(f"space: {parameter.name!r} and fixed both set {key}")
    base = [read_yaml(Path(file)) for file in settings.base]
    options = trial_options(settings)
    found = rehearsed(options, variants(space))
    wanted = settings.parallel * settings.devices
    if found.devices and wanted > len(found.devices):
        raise UserError(
            f"parallel {settings.parallel} trials of {settings.devices} devices need {wanted}, "
            f"but {len(found.devices)} are visible: {', '.join(found.devices)}"
        )
    study = open_study(settings, space, resume)
    settings.folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    table = LiveTable(settings, found.epochs)
    table.tell(f"study {settings.name} in {settings.folder}: {len(counted(study))} of {settings.trials} trials so far")
    worker = Worker(settings, study, space, options, Devices(found.devices), found.forks, table)
    try:
        with table:
            worker.work()
            table.show(study, [], last=True)
    except KeyboardInterrupt:
        done = sum(trial.state.is_finished() for trial in counted(study))
        command = " ".join(["python -m lightning_vq sweep", *(a for a in arguments if a != "--resume"), "--resume"])
        print(f"Stopped: {done} of {settings.trials} trials are done. To go on: {command}", file=sys.stderr)
        raise
    baseline = [bool(config["baseline"]) for config in base if "baseline" in config]  # a trial has none, its best may
    report(settings, study, baseline[-1:] == [True], time.time() - began)


def trial_options(settings: Settings) -> list[str]:
    """Return the options of `fit` that all trials have in common."""
    options = [text for file in settings.base for text in ("--config", file)]
    options += [option(key, value) for key, value in settings.fixed.items()]
    options += [option("monitor", next(iter(settings.objectives))), option("trainer.devices", settings.devices)]
    return [*options, "--baseline=false", "--trainer.enable_progress_bar=false"]


def variants(space: list[Parameter]) -> list[tuple[str, list[str]]]:
    """Return what of the space is tried before the first trial: every edge of each parameter, and all first, all last.

    A range is tried at both its ends, choices each; ends of the whole space together.
    """
    found = [(f"{p.name!r} = {value}", p.options(value)) for p in space for value in p.drawn.edges()]
    for at in (0, -1) if len(space) > 1 else ():
        values = [parameter.drawn.edges()[at] for parameter in space]
        text = ", ".join(f"{parameter.name!r} = {value}" for parameter, value in zip(space, values))
        found.append((text, [o for parameter, value in zip(space, values) for o in parameter.options(value)]))
    return found


def report(settings: Settings, study: Study, baseline: bool, wall_seconds: float) -> None:
    """Write the outcome and tell of it."""
    trials = counted(study)
    states = {s.name.lower(): sum(t.state == s for t in trials) for s in TrialState}
    print(", ".join(f"{count} {state}" for state, count in states.items() if count) + f" in {duration(wall_seconds)}")
    best = best_trials(study)
    if not best:
        reasons = {str(t.user_attrs.get("reason")) for t in trials if t.state == TrialState.FAIL}
        raise UserError(f"no trial is complete{': ' + '; '.join(sorted(reasons)) if reasons else ''}")
    written = write_outcome(settings, study, baseline, wall_seconds)
    for trial in best:
        values = ", ".join(f"{name} {value:.6g}" for name, value in zip(settings.objectives, trial.values))
        print(f"Best: trial {trial.number}: {values}")
        print(f"      {', '.join(f'{name} {shown(value)}' for name, value in trial.params.items())}")
    with replacing(settings.folder / "sweep.yaml") as path:
        kept = {k: getattr(settings, k) for k in ("base", "space", "objectives", "fixed", "trials", "seeds", "name")}
        path.write_text(yaml.safe_dump(kept, sort_keys=False))
    print(f"Figures: {settings.folder / 'figures'}")
    storage = settings.storage or settings.folder / "study.journal"
    print(f"In a browser: optuna-dashboard {storage}")
    configs = [path for path in written if path.suffix == ".yaml"]
    if configs:
        print(f"Next: python -m lightning_vq fit --config {configs[0]}")

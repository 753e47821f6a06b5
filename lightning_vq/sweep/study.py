"""The study: opening, joining, resuming it; its budget; what becomes of trials that nobody runs any more."""

import hashlib
import json
import math
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from lightning_vq.errors import UserError
from lightning_vq.runs import read_yaml
from lightning_vq.sweep.settings import Grid, Settings
from lightning_vq.sweep.space import Parameter
from lightning_vq.sweep.workers import SILENT_SECONDS, WORKER, living, myself

STORAGE_TRIES = 4
MOST_CRASHES = 2  # of one trial: it is tried again once
SURPLUS, CRASHES, TOKEN = "surplus", "crashes", "token"


class Study(optuna.Study):
    """An Optuna study driven by ask and tell. Samplers that have seen it all say so by `stop`."""

    exhausted = False

    def stop(self) -> None:
        """Begin no more trials."""
        self.exhausted = True


def open_study(settings: Settings, space: list[Parameter], resume: bool) -> Study:
    """Create the study of the settings, or join it where others work on it, or go on with it.

    Raises:
        UserError: it is there and nobody works on it, but resume is false; or it was begun with other settings; or
            there is none to go on with; or its storage cannot be reached.
    """
    assert settings.name is not None
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message=".*is already reported.*", category=UserWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = _sampler(settings, space)
    multi = len(settings.objectives) > 1
    if multi and settings.pruner is not None:
        raise UserError("Optuna prunes no study of several objectives: set pruner: null")
    none = UserError(f"there is no study {settings.name!r} in {_where(settings)} to go on with")
    if resume and settings.storage is None and not (settings.folder / "study.journal").is_file():
        raise none  # before a journal is made
    storage = _storage(settings)
    meant = _identity(settings)
    names = [study.study_name for study in storage.get_all_studies()]
    fresh = settings.name not in names
    if fresh and resume:
        raise none
    if fresh:
        directions = [optuna.study.StudyDirection[how.upper()] for how in settings.objectives.values()]
        try:
            created = storage.create_new_study(directions, settings.name)
            storage.set_study_user_attr(created, TOKEN, uuid.uuid4().hex)
            storage.set_study_user_attr(created, "settings", meant)
        except DuplicatedStudyError:  # another process was faster: this one joins
            fresh = False
    study = Study(settings.name, storage, sampler, settings.pruner or optuna.pruners.NopPruner())
    if fresh:
        return study
    before = _settled(study)
    changed = [key for key in meant if before.get(key) != meant[key]]
    if changed:
        raise UserError(f"study {settings.name!r} was begun with another {changed[0]}; for a new one give --name OTHER")
    if not resume and study.trials and not living(study):
        raise UserError(
            f"study {settings.name!r} is there already, with {finished(study)} finished trials, and nobody works on "
            "it; --resume goes on with it, --name OTHER begins another"
        )
    study.exhausted = isinstance(sampler, GridSampler) and sampler.is_exhausted(study)
    sampler.reseed_rng()  # the seed would propose once more what the first process has proposed
    return study


def _settled(study: Study) -> dict[str, Any]:
    for _ in range(50):
        if "settings" in study.user_attrs:
            break
        time.sleep(0.1)  # its creator is about to write them
    return dict(study.user_attrs.get("settings", {}))


def _identity(settings: Settings) -> dict[str, Any]:
    """Return what all workers on a study must agree on."""
    text = json.dumps([read_yaml(Path(file)) for file in settings.base], sort_keys=True)
    base = {"files": settings.base, "digest": hashlib.sha256(text.encode()).hexdigest()[:16]}
    same = {key: getattr(settings, key) for key in ("space", "fixed", "seeds", "devices")}
    return {"base": base, **same, "objectives": [list(pair) for pair in settings.objectives.items()]}


def _where(settings: Settings) -> str:
    return settings.storage or str(settings.folder / "study.journal")


def _storage(settings: Settings) -> BaseStorage:
    if settings.storage is None:
        settings.folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(settings.folder / "study.journal")))
    patient = {"connect_args": {"timeout": 60}} if settings.storage.startswith("sqlite") else {}
    for trial in range(STORAGE_TRIES):
        try:
            return RDBStorage(settings.storage, {"pool_pre_ping": True, **patient})
        except Exception as error:  # SQLAlchemy has a dozen for an address that leads nowhere
            why = str(error).splitlines()[0]
            time.sleep(0.3 * (trial + 1))  # another worker may be making the tables at this very moment
    raise UserError(f"storage {settings.storage!r} cannot be opened: {why}")


def _sampler(settings: Settings, space: list[Parameter]) -> BaseSampler:
    """Return the sampler; where it tries all that there is, the budget is no more than that."""
    sampler = settings.sampler
    if not isinstance(sampler, (Grid, BruteForceSampler)):
        return sampler
    grid: dict[str, Any] = {}
    for parameter in space:
        part = parameter.drawn.grid(parameter.name)
        if part is None:
            raise UserError(
                f"space: {parameter.name!r} has no end of values, which {type(sampler).__name__} must try all of: "
                "give choices, or a step without log"
            )
        grid |= part
    settings.trials = min(settings.budget, math.prod(map(len, grid.values())))
    return sampler.over(grid) if isinstance(sampler, Grid) else sampler


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count against the budget: of one that was run again only the last attempt."""
    trials = study.get_trials(deepcopy=False)
    again = {t.system_attrs["retry_history"][-1] for t in trials if t.system_attrs.get("retry_history")}
    return [t for t in trials if t.number not in again and not t.user_attrs.get(SURPLUS)]


def finished(study: optuna.Study) -> int:
    """Return how many trials of the budget have ended."""
    return sum(trial.state.is_finished() for trial in counted(study))


def ask(study: Study, budget: int) -> Trial | None:
    """Return the next trial to run, or None where none is left."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not waiting and (study.exhausted or len(counted(study)) >= budget):
        return None
    trial = study.ask()
    trial.set_user_attr(WORKER, myself())
    # Two workers that both saw room for one: trials are numbered, and whoever came second steps back.
    again = "failed_trial" in study.get_trials(deepcopy=False)[trial.number].system_attrs
    if not again and sum(t.number < trial.number for t in counted(study)) >= budget:
        trial.set_user_attr(SURPLUS, True)
        tell(study, trial.number, TrialState.FAIL)
        return None
    return trial


def tell(study: Study, number: int, state: TrialState, values: list[float] | None = None) -> bool:
    """Record the end of a trial; false if another worker has done so."""
    try:
        study.tell(number, values, state)
    except (ValueError, UpdateFinishedTrialError):
        if study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING:
            raise
        return False
    return True


def put_back(study: Study, number: int, folder: Path) -> bool:
    """End a trial as failed and queue its like, which goes on from its last checkpoint; false if it had ended.

    Args:
        study: that the trial is of.
        number: of the trial.
        folder: of the study, on this machine.
    """
    if not tell(study, number, TrialState.FAIL):
        return False  # of several workers that see it dead one puts it back
    trial = study.get_trials()[number]
    trial.user_attrs.pop(WORKER, None)
    begun = "folder" in trial.user_attrs and any((folder / trial.user_attrs["folder"]).rglob("last.ckpt"))
    RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=begun)(study, trial)
    return True


def reclaim(study: Study, folder: Path) -> list[int]:
    """Put back the trials that dead workers were running, and return their numbers; `folder` is the study's."""
    alive = living(study) | {myself()}
    found = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        if worker is None:  # asked for a moment ago, or by a worker that died at once
            began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
            dead = time.time() - began > SILENT_SECONDS
        else:
            dead = worker not in alive
        if dead and put_back(study, trial.number, folder):
            found.append(trial.number)
    return found

"""The loop of a worker: begins trials while there is room, answers their reports, records how they ended."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from lightning_vq.errors import UserError
from lightning_vq.sweep.devices import Devices, threads
from lightning_vq.sweep.live import LiveTable
from lightning_vq.sweep.settings import Settings
from lightning_vq.sweep.space import Parameter
from lightning_vq.sweep.study import CRASHES, MOST_CRASHES, TOKEN, Study, ask, counted, put_back, reclaim, tell
from lightning_vq.sweep.trial import Place, Running
from lightning_vq.sweep.workers import BEAT_SECONDS, beat, farewell

TICK_SECONDS = 0.2
GRACE_SECONDS = 15.0  # for a trial that was asked to save and leave
STOP_TOGETHER = 5  # so many failures before any trial has succeeded are the config's fault
COMMAND_STATUS_USER = 2


class Worker:
    """This process's part in a study.

    Args:
        settings: of the sweep.
        study: opened.
        space: its parameters.
        options: of every trial's fit.
        devices: that may be used.
        forks: whether Lightning forks a trial's ranks.
        table: that is shown.
        command: that a trial is, in place of `fit`; tests have one.
    """

    def __init__(
        self,
        settings: Settings,
        study: Study,
        space: list[Parameter],
        options: list[str],
        devices: Devices,
        forks: bool,
        table: LiveTable,
        command: tuple[str, ...] | None = None,
    ) -> None:
        self.settings, self.study, self.space, self.options = settings, study, space, options
        self.devices, self.table, self.command = devices, table, command
        self.warm = command is None and (settings.devices == 1 or forks)
        self.multi = len(settings.objectives) > 1
        self.running: list[Running] = []
        self.begun = time.time()
        self._beaten = 0.0
        self._asked_to_stop = 0

    def work(self) -> None:
        """Run trials until the budget is spent.

        Raises:
            KeyboardInterrupt: the process was told to stop; its trials have been put back into the queue.
            UserError: no trial succeeds.
        """
        with self._signals():
            try:
                while not self._asked_to_stop:
                    self._keep_in_touch()
                    more = self._begin_trials()
                    if not self.running and not more:
                        break
                    self._listen()
                    self._see_who_ended()
                    self.table.show(self.study, self.running)
            finally:
                self._stop_trials()
                farewell(self.study)
        if self._asked_to_stop:  # however late
            raise KeyboardInterrupt

    def _keep_in_touch(self) -> None:
        if time.time() - self._beaten > BEAT_SECONDS:
            beat(self.study)
            self._beaten = time.time()
            for number in reclaim(self.study, self.settings.folder):
                self.table.tell(f"trial {number} was left by a worker that died: it is run again")

    # -- beginning -------------------------------------------------------------------------------------------------

    def _begin_trials(self) -> bool:
        """Fill the free places; return whether there may be more to run later."""
        if self.settings.hours is not None and time.time() - self.begun > 3600 * self.settings.hours:
            return False
        while len(self.running) < self.settings.parallel:
            taken = self.devices.take(self.settings.devices)
            if taken is None:
                return True  # others on this machine have them
            trial = ask(self.study, self.settings.budget)
            if trial is None:
                self.devices.give_back(taken)
                return False
            if not self._begin(trial, taken):
                self.devices.give_back(taken)
        return True

    def _begin(self, trial: optuna.Trial, taken: list[str]) -> bool:
        """Start a trial; false if the same options have been run before, whose values it then has."""
        values = [parameter.drawn.suggest(trial, parameter.name) for parameter in self.space]
        options = [text for parameter, value in zip(self.space, values) for text in parameter.options(value)]
        folder = self._folder(trial)
        trial.set_user_attr("options", options)
        for twin in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if twin.user_attrs.get("options") == options:
                for name, value in twin.user_attrs.items():
                    if name in ("folder", "each_seed"):
                        trial.set_user_attr(name, value)
                trial.set_user_attr("same_as", twin.number)
                tell(self.study, trial.number, TrialState.COMPLETE, twin.values)
                self.table.tell(f"trial {trial.number} has the options of trial {twin.number}, and so its values")
                return False
        trial.set_user_attr("folder", str(folder.relative_to(self.settings.folder.absolute())))
        count = self.settings.devices
        place = Place(self.warm, tuple(taken), threads(self.settings.parallel, count))
        fit, study = [*self.options, *options], (str(self.settings.name), str(self.study.user_attrs[TOKEN]))
        self.running.append(Running(trial, fit, folder, self.settings.seeds, place, study, self.command))
        return True

    def _folder(self, trial: optuna.Trial) -> Path:
        """Return where a trial was begun, if that is on this machine, else a folder that is not there yet."""
        number, folder = 1, self.settings.folder.absolute() / "trials" / f"{trial.number:04}"
        earlier = self.settings.folder.absolute() / trial.user_attrs.get("folder", "nowhere")
        if earlier.is_dir():
            return earlier
        while folder.exists():  # of a study whose storage was removed: its checkpoints are not this trial's
            number += 1
            folder = folder.with_name(f"{trial.number:04}-{number}")
        return folder

    # -- answering -------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        lines = {one.reports: one for one in self.running if not one.reports.closed}
        for line in wait(list(lines), timeout=TICK_SECONDS):
            one = lines[line]  # type: ignore[index]
            told = one.report()
            if told is None:
                one.reports.close()
                continue
            prune = False
            if not self.multi and not one.done:
                try:
                    one.trial.report(told[1], told[0])
                    prune = one.trial.should_prune()
                except (RuntimeError, UpdateFinishedTrialError):  # others took this worker for dead
                    one.signal(signal.SIGKILL)
            one.answer(prune)

    # -- ending ----------------------------------------------------------------------------------------------------

    def _see_who_ended(self) -> None:
        for one in list(self.running):
            status = one.poll()
            if status is None or (status == 0 and not one.pruned and one.next_seed()):
                continue
            self.running.remove(one)
            self.devices.give_back(list(one.place.devices))
            self._record(one, status)

    def _record(self, one: Running, status: int) -> None:
        number, trial = one.trial.number, one.trial
        if self.study.get_trials(deepcopy=False)[number].state != TrialState.RUNNING:
            self.table.tell(f"trial {number} was taken over by another worker")
            return
        values, why = None, one.last_words()
        if status == 0:
            for name, seconds in one.spent().items():
                trial.set_user_attr(name, seconds)
            if not one.pruned:
                values, why = one.values(list(self.settings.objectives))
        if status == 0 and one.pruned:
            tell(self.study, number, TrialState.PRUNED)
        elif values is not None:
            trial.set_user_attr("each_seed", values)
            tell(self.study, number, TrialState.COMPLETE, [sum(column) / len(values) for column in zip(*values)])
        elif status in (0, COMMAND_STATUS_USER):  # what it says would be said again
            trial.set_user_attr("reason", why)
            tell(self.study, number, TrialState.FAIL)
            self.table.tell(f"trial {number} failed: {why}")
        else:
            crashes = trial.user_attrs.get(CRASHES, 0) + 1
            trial.set_user_attr(CRASHES, crashes)
            what = f"trial {number} died with status {status}, see {one.run / 'log.txt'}"
            if crashes < MOST_CRASHES:
                put_back(self.study, number, self.settings.folder)
                self.table.tell(f"{what}; it is tried once more")
            else:
                trial.set_user_attr("reason", f"status {status}: {one.last_words()}")
                tell(self.study, number, TrialState.FAIL)
                self.table.tell(f"{what}, for the second time")
        states = [t.state for t in counted(self.study) if t.state.is_finished()]
        if len(states) >= STOP_TOGETHER and set(states) == {TrialState.FAIL}:
            raise UserError(f"the first {len(states)} trials have all failed; see {one.run / 'log.txt'}")

    # -- stopping --------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ask_to_stop(number: int, frame: object) -> None:
            self._asked_to_stop += 1
            if self._asked_to_stop == 1:
                self.table.tell("stopping: trials save and are put back into the queue; once more kills them")
            else:
                for one in self.running:
                    one.signal(signal.SIGKILL)

        before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_trials(self) -> None:
        """End what still runs, and put it back into the queue: a later worker goes on from its last checkpoint."""
        for one in self.running:
            one.reports.close()  # one that waits for an answer goes on without, to where it can save
            one.signal(signal.SIGTERM)
        until = time.time() + GRACE_SECONDS
        while time.time() < until and any(one.poll() is None for one in self.running):
            time.sleep(0.05)
        for one in self.running:
            if one.poll() == 0 and (one.pruned or one.last_seed):  # it has ended by itself meanwhile
                if not one.pruned:
                    one.next_seed()
                self._record(one, 0)
            else:
                one.signal(signal.SIGKILL)
                put_back(self.study, one.trial.number, self.settings.folder)
        self.running.clear()

"""The table of a study in the terminal, and a line for every trial that ends where there is no terminal."""

import time

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lightning_vq.sweep.settings import Settings
from lightning_vq.sweep.space import short
from lightning_vq.sweep.spelling import shown
from lightning_vq.sweep.study import Study, counted
from lightning_vq.sweep.trial import Running

MOST_ROWS = 12
MIN_SECONDS = 0.5  # between two looks at the storage


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(7), duration(83), duration(7500)
    ('7 s', '1 min 23 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


class LiveTable:
    """Shows trials: parameters, state, epoch, value, the best so far, time left.

    Args:
        settings: of the sweep.
        epochs: of a trial, at most.
        console: to print on.
    """

    def __init__(self, settings: Settings, epochs: int, console: Console | None = None) -> None:
        self.settings, self.epochs = settings, epochs
        self.console = console or Console()
        self.objectives = list(settings.objectives)
        self._live = Live(console=self.console, auto_refresh=False, transient=False)
        self._seen: set[int] | None = None
        self._looked = 0.0
        self._begun = time.time()

    def __enter__(self) -> "LiveTable":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def tell(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(Text(text), soft_wrap=True)

    def show(self, study: Study, running: list[Running], last: bool = False) -> None:
        """Draw the study as it is now."""
        if time.time() - self._looked < MIN_SECONDS and not last:
            return
        self._looked = time.time()
        trials = counted(study)
        if self.console.is_terminal:
            self._live.update(Group(self._table(trials, running), self._summary(trials)), refresh=True)
            return
        ended = [t for t in trials if t.state.is_finished()]
        if self._seen is None:
            times = {t.number: t.datetime_complete.timestamp() for t in ended if t.datetime_complete}
            self._seen = {number for number, at in times.items() if at < self._begun}
        for trial in ended:
            if trial.number not in self._seen:
                self._seen.add(trial.number)
                pairs = ", ".join(f"{name} {shown(value)}" for name, value in trial.params.items())
                value = " ".join(self._values(trial)) or str(trial.user_attrs.get("reason", ""))
                self.tell(f"trial {trial.number} {trial.state.name.lower()} {value} ({pairs})")

    def _values(self, trial: FrozenTrial) -> list[str]:
        return [f"{value:.4f}" if value < 1e4 else f"{value:,.0f}" for value in trial.values or ()]

    def _table(self, trials: list[FrozenTrial], running: list[Running]) -> Table:
        names = list(dict.fromkeys(name for trial in trials for name in trial.params))
        table = Table(title=f"study {self.settings.name}", title_justify="left")
        table.add_column("trial", justify="right")
        for heading in short(names):
            table.add_column(heading, justify="right")
        alone = len(self.objectives) == 1  # of several there is no best, but a front
        for heading in ("state", "epoch", *self.objectives, *["best so far"] * alone, "time"):
            table.add_column(heading, justify="right")
        here = {one.trial.number: one for one in running}
        best: dict[int, str] = {}
        so_far: float | None = None
        for trial in sorted(trials, key=lambda t: (t.datetime_complete is None, t.datetime_complete, t.number)):
            if trial.state == TrialState.COMPLETE and alone:
                higher = self.settings.objectives[self.objectives[0]] == "maximize"
                value = trial.values[0]
                so_far = value if so_far is None else (max if higher else min)(so_far, value)
            best[trial.number] = "" if so_far is None else f"{so_far:.4f}"
        for trial in trials[-MOST_ROWS:]:
            one = here.get(trial.number)
            state = trial.state.name.lower()
            if trial.state == TrialState.RUNNING and one is None:
                state = "running elsewhere"
            epoch = f"{one.epoch + 1}/{self.epochs}" if one else str(len(trial.intermediate_values) or "")
            values = [f"{one.best:.4f}"] if one and one.best == one.best else self._values(trial)
            values += [""] * (len(self.objectives) - len(values)) + [best[trial.number]] * alone
            spent = trial.duration.total_seconds() if trial.duration else time.time() - one.started if one else None
            table.add_row(
                str(trial.number), *(shown(trial.params[n]) if n in trial.params else "" for n in names),
                state, epoch, *values, "" if spent is None else duration(spent),
            )  # fmt: skip
        return table

    def _summary(self, trials: list[FrozenTrial]) -> Text:
        done = [t for t in trials if t.state.is_finished()]
        text = f"{len(done)}{self.settings.of} trials done, {duration(time.time() - self._begun)} gone"
        lengths = [t.duration.total_seconds() for t in done if t.duration and "same_as" not in t.user_attrs]
        if lengths and self.settings.trials is None and self.settings.hours is not None:
            text += f", {duration(max(0.0, 3600 * self.settings.hours - (time.time() - self._begun)))} left"
        elif lengths and len(done) < self.settings.budget:
            active = max(self.settings.parallel, sum(t.state == TrialState.RUNNING for t in trials))
            left = (self.settings.budget - len(done)) * sum(lengths) / len(lengths) / active
            if self.settings.hours is not None:
                left = min(left, max(0.0, 3600 * self.settings.hours - (time.time() - self._begun)))
            text += f", about {duration(left)} left"
        return Text(text)

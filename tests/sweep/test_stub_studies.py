"""Studies of trials that train nothing: budget, workers, retries, pruning, storage, what is refused."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from stub import settings, wait_for, work

from lightning_vq.errors import UserError
from lightning_vq.sweep.outcome import _tell_points, best_trials, write_outcome
from lightning_vq.sweep.settings import Grid
from lightning_vq.sweep.study import ask, counted, open_study, put_back, reclaim, tell
from lightning_vq.sweep.workers import WORKER

STUB = str(Path(__file__).with_name("stub.py"))


def ran(root: Path) -> list[str]:
    """Return the names of the trials that a stub has run for."""
    return [line.split()[0] for line in (root / "runs" / "sweeps" / "stub" / "ran.txt").read_text().splitlines()]


def begun(root: Path) -> int:
    return len(ran(root)) if (root / "runs/sweeps/stub/ran.txt").is_file() else 0


def reopened(root: Path, **changes: Any) -> Any:
    return open_study(settings(root, **changes), [], resume=True)


def worker(root: Path, *options: str, **changes: Any) -> subprocess.Popen[bytes]:
    told = json.dumps(changes)
    return subprocess.Popen([sys.executable, STUB, "worker", str(root), told, *options], start_new_session=True)


@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_two_workers_on_one_study_lose_and_double_nothing(tmp_path: Path, storage: str | None) -> None:
    url = f"sqlite:///{tmp_path}/study.db" if storage else None
    both = [worker(tmp_path, trials=40, storage=url) for _ in range(2)]
    assert [one.wait(120) for one in both] == [0, 0]
    study = reopened(tmp_path, trials=40, storage=url)
    trials = counted(study)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 40
    assert sorted(ran(tmp_path)) == sorted(f"{trial.number:04}" for trial in trials)
    for trial in trials:
        assert trial.value == pytest.approx(1 - (trial.params["x"] - 0.3) ** 2)
    assert len({trial.params["x"] for trial in trials}) == 40  # the second worker does not repeat the first one's seed
    assert len({trial.user_attrs["worker"] for trial in trials}) == 2


def test_a_killed_worker_loses_nothing_and_its_trials_are_run_again(tmp_path: Path) -> None:
    first = worker(tmp_path, "--seconds=0.5", trials=8)
    wait_for(lambda: begun(tmp_path) >= 5)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = reopened(tmp_path, trials=8)
    done = {t.number: t.value for t in before.trials if t.state == TrialState.COMPLETE}
    left = [t.number for t in before.trials if t.state == TrialState.RUNNING]
    assert done
    assert left
    study = work(settings(tmp_path, trials=8), ["--seconds=0"], resume=True)
    trials = counted(study)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 8
    assert {n: study.trials[n].value for n in done} == done
    again = [t for t in trials if t.system_attrs.get("failed_trial") in left]
    assert len(again) == len(left)
    assert all(t.params == study.trials[t.system_attrs["failed_trial"]].params for t in again)


def test_a_stopped_worker_puts_its_trials_back(tmp_path: Path) -> None:
    first = worker(tmp_path, "--seconds=20", trials=4)
    wait_for(lambda: begun(tmp_path) >= 2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) != 0
    study = reopened(tmp_path, trials=4)
    assert Counter(t.state for t in study.trials) == {TrialState.FAIL: 2, TrialState.WAITING: 2}
    assert not subprocess.run(["pgrep", "-f", f"{STUB} trial --seconds=20"], capture_output=True).stdout
    study = work(settings(tmp_path, trials=4), resume=True)
    assert [t.state for t in counted(study)] == [TrialState.COMPLETE] * 4


def test_a_crashed_trial_is_run_once_more(tmp_path: Path) -> None:
    study = work(settings(tmp_path, trials=3), ["--status=1", "--once=yes"])
    assert [t.state for t in counted(study)] == [TrialState.COMPLETE] * 3
    assert Counter(t.state for t in study.trials) == {TrialState.FAIL: 3, TrialState.COMPLETE: 3}
    assert Counter(ran(tmp_path)) == {"0000": 2, "0001": 2, **dict.fromkeys(ran(tmp_path), 2)}


def test_a_trial_that_crashes_twice_has_failed(tmp_path: Path) -> None:
    study = work(settings(tmp_path, trials=2), ["--status=9"])
    assert [t.state for t in counted(study)] == [TrialState.FAIL] * 2
    assert len(ran(tmp_path)) == 4
    assert counted(study)[0].user_attrs["reason"] == "status 9: error: x is out of luck"


def test_what_the_user_must_mend_is_not_tried_twice_and_stops_a_hopeless_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the first 5 trials have all failed"):
        work(settings(tmp_path, trials=30, parallel=1), ["--status=2"])
    assert len(ran(tmp_path)) == 5
    assert reopened(tmp_path, trials=30).trials[0].user_attrs["reason"] == "error: x is out of luck"


def test_a_pruned_trial_ends_early(tmp_path: Path) -> None:
    pruner = optuna.pruners.ThresholdPruner(lower=0.9)
    study = work(settings(tmp_path, trials=12, pruner=pruner), ["--epochs=30"])
    for trial in counted(study):
        poor = 1 - (trial.params["x"] - 0.3) ** 2 < 0.9
        assert trial.state == (TrialState.PRUNED if poor else TrialState.COMPLETE)
        assert len(trial.intermediate_values) == (1 if poor else 30)


@pytest.mark.parametrize("kind", [Grid, optuna.samplers.BruteForceSampler])
def test_an_exhausted_space_ends_the_study(tmp_path: Path, kind: Any) -> None:
    sampler = kind(seed=0)
    space = {"x": {"choices": [0.1, 0.3, 0.5]}, "y": {"low": 1, "high": 2}}
    study = work(settings(tmp_path, space=space, sampler=sampler, trials=50, parallel=1))
    found = [tuple(t.params.values()) for t in counted(study)]
    assert sorted(found) == [(x, y) for x in (0.1, 0.3, 0.5) for y in (1, 2)]
    assert best_trials(study)[0].params["x"] == 0.3


def test_the_same_options_are_not_run_twice(tmp_path: Path) -> None:
    space = {"x": {"choices": [0.1, 0.2]}}
    study = work(settings(tmp_path, space=space, trials=10, parallel=1))
    assert len(counted(study)) == 10
    assert len(ran(tmp_path)) == 2
    twin = next(t for t in study.trials if "same_as" in t.user_attrs)
    assert twin.value == study.trials[twin.user_attrs["same_as"]].value


def test_the_mean_over_seeds_is_the_value(tmp_path: Path) -> None:
    study = work(settings(tmp_path, trials=2, seeds=[0, 1, 2]))
    lines = (tmp_path / "runs/sweeps/stub/trials/ran.txt").read_text().split()[::3]
    assert Counter(lines) == {"seed0": 2, "seed1": 2, "seed2": 2}
    trial = study.trials[0]
    assert len(trial.user_attrs["each_seed"]) == 3
    assert trial.value == pytest.approx(1 - (trial.params["x"] - 0.3) ** 2)


def test_several_objectives(tmp_path: Path) -> None:
    told = settings(tmp_path, trials=20, objectives={"val/ndcg@10/full": "maximize", "bytes": "minimize"})
    study = work(told)
    front = best_trials(study)
    assert 1 < len(front) <= 20
    assert [t.values[0] for t in front] == sorted((t.values[0] for t in front), reverse=True)
    assert [t.values[1] for t in front] == sorted((t.values[1] for t in front), reverse=True)
    (told.folder / "stub_best99.yaml").write_text("of an earlier front")
    written = write_outcome(told, study, False)
    assert [path.name for path in written] == [f"stub_best{i + 1}.yaml" for i in range(len(front))]
    assert sorted(told.folder.glob("*_best*.yaml")) == sorted(written)
    assert {"pareto_front.png", "pareto_front.html", "importance_bytes.png"} <= {
        path.name for path in (told.folder / "figures").iterdir()
    }
    with pytest.raises(UserError, match="several objectives"):
        open_study(settings(tmp_path, objectives=told.objectives, pruner=optuna.pruners.MedianPruner()), [], False)


@pytest.mark.parametrize(
    ("more", "texts"), [({}, ["DPQ(centroids=4)", "none"]), ({"lr": 0.1}, ["4", "7"])], ids=["alone", "of several"]
)
def test_points_of_a_front_are_named(more: dict[str, float], texts: list[str]) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    choices = ["user, item: DPQ(centroids=4)", "none"]
    kinds = {"tables": CategoricalDistribution(choices), **dict.fromkeys(more, FloatDistribution(0.0, 1.0))}
    for choice, values in zip(choices, ([0.1, 1e5], [0.2, 7e5])):
        params = {"tables": choice, **more}
        study.add_trial(optuna.create_trial(params=params, distributions=kinds, values=values))
    axes = Figure().subplots()
    _tell_points(axes, study, [4, 7], ["val/ndcg@10/full", "bytes"])
    assert [one.get_text() for one in axes.texts] == texts
    assert axes.get_yscale() == "log"


def test_the_outcome_of_one_objective(tmp_path: Path) -> None:
    told = settings(tmp_path, trials=10, space={"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}})
    study = work(told)
    write_outcome(told, study, True)
    folder = told.folder
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["trials"]["complete"] == 10
    assert summary["wall_seconds"] <= summary["trial_seconds"]
    assert summary["fit_seconds"] == pytest.approx(1.0)
    assert summary["best"][0]["values"] == [max(t.value for t in study.trials)]
    assert (folder / "stub_best.yaml").read_text().endswith("baseline: true\n")
    for name in ("importance", "parallel_coordinate", "history"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "https://cdn.plot.ly" not in (folder / "figures" / f"{name}.html").read_text()[:4000]


def test_joining_and_going_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no study 'stub' .* to go on with"):
        reopened(tmp_path)
    work(settings(tmp_path, trials=2))
    with pytest.raises(UserError, match="with 2 finished trials, and nobody works on it; --resume goes on"):
        work(settings(tmp_path, trials=3))
    with pytest.raises(UserError, match="begun with another devices"):
        reopened(tmp_path, devices=2)
    with pytest.raises(UserError, match="begun with another space; for a new one give --name OTHER"):
        reopened(tmp_path, space={"x": {"low": 0.0, "high": 2.0}})
    assert len(counted(work(settings(tmp_path, trials=3), resume=True))) == 3


def test_two_workers_that_see_the_same_dead_trial_put_it_back_once(tmp_path: Path) -> None:
    told = settings(tmp_path, trials=1)
    one, other = open_study(told, [], False), open_study(told, [], True)
    trial = ask(one, 1)
    assert trial is not None
    trial.set_user_attr(WORKER, "elsewhere/1/1")  # it has never been heard of
    assert reclaim(other, told.folder) == [0]
    assert reclaim(one, told.folder) == []
    assert not put_back(one, 0, told.folder)
    (again,) = counted(one)
    assert again.state == TrialState.WAITING
    assert WORKER not in again.user_attrs  # else it would look abandoned while it is asked for


def test_a_queued_trial_is_run_whatever_the_budget(tmp_path: Path) -> None:
    told = settings(tmp_path, trials=2)
    study = open_study(told, [], False)
    first, second = ask(study, 2), ask(study, 2)
    assert first is not None
    assert second is not None
    assert ask(study, 2) is None
    tell(study, first.number, TrialState.FAIL)  # as put_back begins; a worker that looks now sees the budget spent
    assert ask(study, 2) is None
    put_back(study, second.number, told.folder)
    again = ask(study, 1)
    assert again is not None
    assert study.trials[again.number].system_attrs["failed_trial"] == second.number
    assert not any("surplus" in t.user_attrs for t in study.trials)


def test_a_worker_that_comes_second_steps_back(tmp_path: Path) -> None:
    study = open_study(settings(tmp_path), [], False)
    raced = ask(study, 2), ask(study, 2)
    third = study.ask()  # as of a worker that had looked before these two had asked
    assert None not in raced
    assert third.number == 2
    assert len(counted(study)) == 3
    assert ask(study, 3) is None


def test_hours_end_a_study(tmp_path: Path) -> None:
    study = work(settings(tmp_path, trials=None, hours=1 / 3600), ["--seconds=0.4"])
    assert 2 <= len(counted(study)) < 20
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}


def test_a_storage_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"storage 'sqlite:////nowhere/at/all.db' cannot be opened"):
        open_study(settings(tmp_path, storage="sqlite:////nowhere/at/all.db"), [], False)


def test_a_space_without_end_has_no_grid(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'x' has no end of values, which Grid must try all of"):
        work(settings(tmp_path, sampler=Grid()))


def test_checkpoints_of_a_removed_study_are_not_gone_on_with(tmp_path: Path) -> None:
    told = settings(tmp_path, trials=1)
    old = told.folder / "trials" / "0000"
    old.mkdir(parents=True)
    for name in ("last.ckpt", "config.yaml"):
        (old / name).write_text("another study's")
    study = work(told)
    assert ran(tmp_path) == ["0000-2"]
    assert study.trials[0].user_attrs["folder"] == "trials/0000-2"


def test_a_value_that_is_none_is_a_failed_trial(tmp_path: Path) -> None:
    study = work(
        settings(
            tmp_path,
            trials=2,
            objectives={"val/ndcg@10/full": "maximize", "train_seconds": "minimize", "val/hr@5/full": "maximize"},
        )
    )
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 2
    assert study.trials[0].user_attrs["reason"].endswith("metrics.json has no finite val/hr@5/full")

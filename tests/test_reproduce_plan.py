"""Many tables within some hours: the plan, what was tuned before, and the end of the hours."""

import os
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from command import done, refused
from small_table import TABLE, reproduce, table

from lightning_vq.reproduce.deadline import Deadline
from lightning_vq.reproduce.files import every_name
from lightning_vq.reproduce.fits import TUNED
from lightning_vq.reproduce.paper import Row, read_paper
from lightning_vq.reproduce.plan import Plan, read_plan
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.reproduce.same import same_row
from lightning_vq.reproduce.steps import read_steps
from lightning_vq.runs import read_json

EVIDENCE = Path("docs/evidence/papers")
STEPS = {"title": "What is printed", "steps": [{"run": "python -c 'print(6 * 7)'", "prints": "answer.txt"}]}


def written(root: Path, told: dict[str, Any], name: str = "plan") -> str:
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    return str(path)


def test_a_plan_runs_the_rows_that_it_names_and_tells_of_all(tmp_path: Path) -> None:
    small, steps = written(tmp_path, TABLE, "small"), written(tmp_path, STEPS, "printed")
    rows = ["Fixed", "Elsewhere", "Absent"]
    parts = [{"name": steps}, {"name": "cove/table4"}, {"name": small, "rows": rows, "seeds": 1}]
    plan = written(tmp_path, {"title": "Some", "about": "Of ours.", "hours": 1, "parts": parts})
    out = tmp_path / "out"
    done("reproduce", plan, "--out", str(out))
    lines = (out / "plan.md").read_text().splitlines()
    fit = out / "small/small/fixed/results.json"
    hours = read_json(fit)["1"]["metrics"]["seconds"] / 3600
    assert lines[:3] == ["### Some", "", "Of ours."]
    assert lines[6:] == [
        f"| {steps} | 1 of 1 |  |  | printed |",
        "| cove/table4 | the runs of cage/table3 |  |  |  |",
        f"| {small} | 1 of 3 | 2 | {hours:.4f} | small/small/table.md |",
    ]
    assert (out / "printed/answer.txt").read_text() == "42\n"
    assert not (out / "small/small/base").exists()
    begun = fit.stat().st_mtime_ns
    assert "There already" in done("reproduce", plan, "--out", str(out))
    assert fit.stat().st_mtime_ns == begun
    more = done("reproduce", plan, "--out", str(out), "--seeds", "2", "--report")
    assert "0 of 3" in more  # of two seeds it has one


def test_a_part_that_fails_leaves_the_others_and_is_told(tmp_path: Path) -> None:
    broken = {**STEPS, "steps": [{"run": "python -c 'raise SystemExit(3)'", "prints": "nothing.txt"}]}
    parts = [{"name": written(tmp_path, broken, "broken")}, {"name": written(tmp_path, STEPS, "printed")}]
    plan = written(tmp_path, {"title": "Some", "hours": 1, "parts": parts})
    told = done("reproduce", plan, "--out", str(tmp_path / "out"), expect=2)
    assert (tmp_path / "out/printed/answer.txt").is_file()
    assert "failed" in told
    assert "status 3" in (tmp_path / "out/plan.md").read_text()


@pytest.mark.parametrize(
    ("told", "options", "said"),
    [
        ({"hours": 1, "parts": [{"name": "cage/table22"}]}, [], "did you mean 'cage/table2'"),
        ({"hours": 0, "parts": []}, [], "hours is 0; it must be above 0"),
        ({"hours": 1, "parts": [{"name": "cage/table2"}] * 2}, [], "'cage/table2' stands twice"),
        ({"hours": 1, "parts": []}, ["--rows", "a"], "--rows: "),
        ({"hours": 1, "parts": []}, ["--tuned", "nowhere"], "--tuned nowhere: there is no such folder"),
    ],
)
def test_what_is_no_plan(
    told: dict[str, Any], options: list[str], said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan = written(tmp_path, {"title": "Some", **told})
    assert said in refused(monkeypatch, capfd, "reproduce", plan, *options)


def test_what_was_tuned_before_is_not_tuned_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    rows = ["--rows", "Base", "Base, refitted", "--seeds", "1"]
    reproduce(first, *rows)
    told = reproduce(second, *rows, "--tuned", str(first / "out"))
    there = first / "out/small/small/base"
    assert f"Base: tuned settings are those of {there}" in told
    row = second / "out/small/small/base"
    assert not (row / "runs/sweeps/tune").exists()
    assert read_json(row / TUNED) == {**read_json(there / TUNED), "taken_from": str(there)}
    for name in ("Base", "Base, refitted"):
        assert table(second)[name, "N@10"] == table(first)[name, "N@10"]
    assert f"Settings tuned before, in {there}: Base." in (row.parent / "table.md").read_text()
    other = {**TABLE, "budgets": {"small": {"trials": 1, "fixed": {"trainer.max_epochs": 2}}}}
    third = tmp_path / "third"
    third.mkdir()
    told = reproduce(third, *rows[:2], "--seeds", "1", "--tuned", str(first / "out"), table=other)
    assert "has nothing tuned of these settings" in told
    assert (third / "out/small/small/base/runs/sweeps/tune").exists()


def test_the_end_of_the_hours_interrupts_and_goes_on_behind() -> None:
    deadline, began = Deadline(0.05 / 3600), time.time()
    with deadline.interrupting():
        time.sleep(60)
    assert deadline.over
    assert time.time() - began < 50
    with pytest.raises(KeyboardInterrupt), Deadline(1).interrupting():
        signal.raise_signal(signal.SIGINT)  # the user's own is not swallowed
    assert not Deadline().over
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_fit_that_the_hours_end_goes_on_later(tmp_path: Path) -> None:
    """The hours end when a fit has saved its first epoch: the clock's own signal is sent by hand."""
    slow = {**TABLE, "budgets": {"small": {"trials": 1, "fixed": {"trainer.max_epochs": 60, "patience": None}}}}
    fit = tmp_path / "out/small/small/fixed/runs/sweeps/seeds-1/trials/0000"

    def ring() -> None:
        while not (fit / "last.ckpt").is_file():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    Thread(target=ring, daemon=True).start()
    options = ["--rows", "Fixed", "--hours", "1"]
    told = reproduce(tmp_path, *options, table=slow)
    assert "1 hours are over" in told
    assert table(tmp_path)["Fixed", "N@10"]["verdict"] == "not run"
    epochs = len((fit / "metrics.csv").read_text().splitlines())
    reproduce(tmp_path, *options, table=slow)
    assert read_json(fit / "metrics.json")["epochs"] == 60 > epochs
    assert table(tmp_path)["Fixed", "N@10"]["n"] == "1"


def shipped() -> Plan:
    plan = read_plan("all")
    assert plan is not None
    return plan


def chosen(plan: Plan) -> list[tuple[RowRuns, Row]]:
    """Return the rows that the plan runs, as docs/evidence has them."""
    found = []
    for part in plan.parts:
        if read_steps(part.name) is None:
            name, paper = read_paper(part.name)
            budget, of = next(iter(paper.budgets.items()))
            folder = EVIDENCE / name / budget
            found += [(RowRuns(paper, row, of, folder / row.slug), row) for row in paper.chosen(part.rows)]
    return found


def test_the_shipped_plan_has_every_part() -> None:
    assert sorted(part.name for part in shipped().parts) == every_name()


def test_the_settings_that_the_shipped_plan_takes_are_there() -> None:
    tuned = [runs for runs, row in chosen(shipped()) if row.space and (runs.folder / TUNED).is_file()]
    assert len(tuned) > 40
    elsewhere = Path("runs/papers")
    assert [r.folder for r in tuned if same_row(EVIDENCE, r.told_settings(), TUNED, elsewhere) is None] == []


def test_the_shipped_plan_fits_into_its_hours_by_what_its_rows_took() -> None:
    plan = shipped()
    spent = [read_json(runs.folder / "results.json")["1"]["metrics"]["seconds"] for runs, row in chosen(plan)
             if row.source is not None and (runs.folder / "results.json").is_file()]  # fmt: skip
    assert len(spent) > 100
    assert sum(spent) / 3600 < 2 * plan.hours - 2  # two at a time; the rest is for stages of chains and for commands

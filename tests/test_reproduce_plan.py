"""Many tables within some hours: the plan, what was tuned before, and the end of the hours."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import done, refused
from small_table import TABLE, reproduce, table

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
    before = tmp_path / "before"
    done("reproduce", small, "--rows", "Base", "--seeds", "1", "--out", str(before))
    rows = ["Base", "Elsewhere", "Absent"]
    parts = [{"name": steps}, {"name": "mgqe/figure8"}, {"name": "mgqe/table3", "rows": ["GMF, MGQE"], "smoke": True},
             {"name": small, "rows": rows, "seeds": 1}]  # fmt: skip
    plan = written(tmp_path, {"title": "Some", "about": "Of ours.", "hours": 1, "parts": parts, "tuned": str(before)})
    out = tmp_path / "out"
    done("reproduce", plan, "--out", str(out))
    lines = (out / "plan.md").read_text().splitlines()
    fit = out / "small/small/base/results.json"
    spent, smoke = (
        read_json(path)["1"]["metrics"]["seconds"] / 3600
        for path in (fit, out / "mgqe/table3/smoke/gmf--mgqe/results.json")
    )
    assert lines[:3] == ["### Some", "", "Of ours."]
    assert lines[6:] == [
        f"| {steps} | 1 of 1 |  |  | printed |",
        "| mgqe/figure8 | the runs of mgqe/table3 |  |  |  |",
        f"| mgqe/table3 | 1 of 1, smoke test |  | {smoke:.4f} | mgqe/table3/smoke/table.md |",
        f"| {small} | 1 of 3 | 2 | {spent:.4f} | small/small/table.md |",
    ]
    assert (out / "printed/answer.txt").read_text() == "42\n"
    assert not (out / "small/small/fixed").exists()
    assert not (out / "small/small/base/runs/sweeps/tune").exists()
    told = (out / "small/small/table.md").read_text()
    assert "1 of 2 seeds" in told  # the plan's seeds are what it runs, not what the table should have
    assert f"Settings tuned before, in {before}, of: Base, Base, refitted." in told
    begun = fit.stat().st_mtime_ns
    done("reproduce", plan, "--out", str(out))
    assert fit.stat().st_mtime_ns == begun
    assert "0 of 3" in done("reproduce", plan, "--out", str(out), "--seeds", "2", "--report")  # it has one of the two


WAITS = """import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
until = time.time() + 120
while not other.exists():
    if time.time() > until:
        sys.exit(3)
    time.sleep(0.05)
"""


def test_two_parts_at_a_time(tmp_path: Path) -> None:
    """Each of two commands waits for the other to begin."""
    (tmp_path / "waits.py").write_text(WAITS)
    a, b = tmp_path / "a", tmp_path / "b"
    parts = []
    for name, mine, other in (("first", a, b), ("second", b, a)):
        step = {"run": f"python {tmp_path}/waits.py {mine} {other}", "prints": "nothing.txt"}
        parts.append({"name": written(tmp_path, {"title": name, "steps": [step]}, name)})
    plan = written(tmp_path, {"title": "Some", "hours": 1, "parts": parts})
    told = done("reproduce", plan, "--parallel", "2", "--out", str(tmp_path / "out"))
    assert "another process is at it; passed over" in told
    for name in ("first", "second"):
        assert read_json(tmp_path / f"out/{name}/steps.json")["nothing.txt"]["state"] == "finished"


def test_a_part_that_is_alone_is_tried_once(tmp_path: Path) -> None:
    tried = tmp_path / "tried.txt"
    fails = {
        **STEPS,
        "steps": [{"run": f'python -c \'open("{tried}", "a").write("once "); 1 / 0\'', "prints": "a.txt"}],
    }
    parts = [{"name": written(tmp_path, STEPS, "printed")}, {"name": written(tmp_path, fails, "fails"), "alone": True}]
    plan = written(tmp_path, {"title": "Some", "hours": 1, "parts": parts})
    done("reproduce", plan, "--parallel", "2", "--out", str(tmp_path / "out"), expect=2)
    assert tried.read_text() == "once "
    assert (tmp_path / "out/printed/answer.txt").is_file()


def test_the_hours_of_two_at_a_time_end(tmp_path: Path) -> None:
    slow = {"run": "python -c 'import time; time.sleep(600)'", "prints": "late.txt"}
    names = [written(tmp_path, {"title": name, "steps": [slow]}, name) for name in ("first", "second")]
    plan = written(tmp_path, {"title": "Some", "hours": 1, "parts": [{"name": name} for name in names]})
    began = time.time()
    told = done("reproduce", plan, "--parallel", "2", "--hours", str(8 / 3600), "--out", str(tmp_path / "out"))
    assert time.time() - began < 300
    assert "hours are over" in told
    assert (tmp_path / "out/plan.md").read_text().count("| 0 of 1 |") == 2


def test_a_row_whose_data_has_gone_does_not_stand_for_one_that_can_run(tmp_path: Path) -> None:
    plays = tmp_path / "plays.csv"
    lines = (f"u{u},i{(u * 7 + i * 13) % 50},{u + i}" for u in range(60) for i in range(6))
    plays.write_text("\n".join(["user,item,timestamp", *lines]) + "\n")
    base = {"base": ["conf/bprmf.yaml"]}
    rows = [{"name": "Own", "source": str(plays), **base}, {"name": "Planted", "source": "planted", **base}]
    budgets = {"small": {"trials": 0, "fixed": {"trainer.max_epochs": 1}}}
    two = written(tmp_path, {**TABLE, "seeds": 1, "budgets": budgets, "rows": rows}, "two")
    for asked, told in ((["Own"], "1 of 1"), ([], "2 of 2")):
        plan = written(tmp_path, {"title": "Some", "hours": 1, "parts": [{"name": two, "rows": asked}]})
        assert told in done("reproduce", plan, "--out", str(tmp_path / "out"))
        plays.unlink(missing_ok=True)


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_a_part_that_fails_leaves_the_others_and_is_told(
    parallel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = {**STEPS, "steps": [{"run": "python -c 'raise SystemExit(3)'", "prints": "nothing.txt"}]}
    parts = [{"name": written(tmp_path, broken, "broken")}, {"name": written(tmp_path, STEPS, "printed")}]
    plan = written(tmp_path, {"title": "Some", "hours": 1, "parts": parts})
    options = ["--out", str(tmp_path / "out"), "--parallel", parallel]
    assert "could not run: " in refused(monkeypatch, capfd, "reproduce", plan, *options)
    assert (tmp_path / "out/printed/answer.txt").is_file()
    assert "| 0 of 1 |" in (tmp_path / "out/plan.md").read_text()


@pytest.mark.parametrize(
    ("told", "options", "said"),
    [
        ({"parts": [{"name": "cage/table22"}]}, [], "did you mean 'cage/table2'"),
        (
            {"parts": [{"name": "cage/table2"}, {"name": "conf/papers/cage/table2.yaml"}]},
            [],
            "'cage/table2' stands twice",
        ),
        ({"parts": [{"name": "cage/table2", "rows": ["Grocry *"]}]}, [], "matches no row"),
        ({"parts": [{"name": "cage/table2", "seeds": 0}]}, [], "has seeds 0; it must be at least 1"),
        ({"parts": [{"name": "cage/table5", "seeds": 1}]}, [], "has no rows of fits"),
        ({"parts": [{"name": "cove/table4"}]}, [], "the runs of 'cage/table3', which the plan has not"),
        ({"parts": [{"name": "all"}]}, [], "'all' is a plan itself"),
        ({"parts": [{"name": "cage/table2", "row": "a"}]}, [], "plan.yaml: "),
        ({"parts": [], "hours": 0}, [], "hours is 0; it must be above 0"),
        ({"parts": []}, ["--hours", "0"], "hours is 0; it must be above 0"),
        ({"parts": []}, ["--hours", "1e10"], "at most 8760"),
        ({"parts": [], "tuned": "nowhere"}, [], "tuned is nowhere: there is no such folder"),
        ({"parts": []}, ["--rows", "a"], "--rows: "),
    ],
)
def test_what_is_no_plan(
    told: dict[str, Any], options: list[str], said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plan = written(tmp_path, {"title": "Some", "hours": 1, **told})
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
    assert read_json(row / TUNED) == {**read_json(there / TUNED), "taken_from": str(first / "out")}
    for name in ("Base", "Base, refitted"):
        assert table(second)[name, "N@10"] == table(first)[name, "N@10"]
    told = (row.parent / "table.md").read_text()
    assert f"Settings tuned before, in {first / 'out'}, of: Base, Base, refitted." in told
    assert f"--seeds 1 --tuned {first / 'out'}`" in told  # the command that makes the table
    other = {**TABLE, "budgets": {"small": {"trials": 1, "fixed": {"trainer.max_epochs": 2}}}}
    third = tmp_path / "third"
    third.mkdir()
    told = reproduce(third, *rows[:2], "--seeds", "1", "--tuned", str(first / "out"), table=other)
    assert "has nothing tuned of these settings" in told
    assert (third / "out/small/small/base/runs/sweeps/tune").exists()


def shipped() -> Plan:
    plan = read_plan("all")
    assert plan is not None
    return plan


def chosen(plan: Plan) -> list[tuple[RowRuns, Row]]:
    """Return the rows that the plan runs, as docs/evidence has them."""
    found = []
    for part in plan.parts:
        if read_steps(part.name) is None and not part.smoke:
            name, paper = read_paper(part.name)
            budget, of = next(iter(paper.budgets.items()))
            folder = EVIDENCE / name / budget
            found += [(RowRuns(paper, row, of, folder / row.slug), row) for row in paper.chosen(part.rows)]
    return found


def test_the_shipped_plan_has_every_part() -> None:
    assert sorted(part.name for part in shipped().parts) == every_name()


def test_the_settings_that_the_shipped_plan_takes_are_there() -> None:
    tuned = [runs for runs, row in chosen(shipped()) if row.space and row.source is not None]
    assert len(tuned) > 40
    elsewhere = Path("runs/papers")
    for runs in tuned:
        there = same_row(EVIDENCE, runs.told_settings(), TUNED, elsewhere)
        assert there is not None, runs.folder
        assert (there / runs.best.name).is_file()


def test_the_shipped_plan_fits_into_its_hours_by_what_its_rows_took() -> None:
    """Two at a time, with an hour for stages of chains and commands, and 20 minutes for a row that never ran."""
    plan = shipped()
    paths = {runs.folder / "results.json" for runs, row in chosen(plan) if row.source is not None}
    spent = [read_json(path)["1"]["metrics"]["seconds"] for path in paths if path.is_file()]
    assert len(spent) > 0.9 * len(paths)
    assert sum(spent) / 3600 + (len(paths) - len(spent)) * 0.35 < 2 * (plan.hours - 1)
